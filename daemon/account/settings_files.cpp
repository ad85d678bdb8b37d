#include "daemon/account/settings_files.h"

#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"

namespace canopy {

Task<Result<dict::VersionedDict>> SettingsFiles::read(std::string path) {
  auto text = co_await read_file(store_, path, kDictBytesMax);
  if (!text) co_return fail(std::move(text).error());
  co_return dict::parse_versioned(*text, path);
}

Task<Result<std::string>> SettingsFiles::stage_path(uint32_t slot) {
  std::string directory = fmt::format("{}/{}.{}", kStageRoot, slot, hex64(epoch_));
  if (!stages_.contains(slot)) {
    // Its name need not survive a crash: what is staged counts only once it has been renamed.
    CANOPY_CO_TRY(co_await make_directories(store_, directory, 0700, Durable::kNo));
    stages_.insert(slot);
  }
  co_return fmt::format("{}/{}.{}", directory, writer_, next_++);
}

Task<Result<std::string>> SettingsFiles::stage_file(uint32_t slot, std::string text) {
  auto path = co_await stage_path(slot);
  if (!path) co_return fail(std::move(path).error());
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  auto file = co_await store_.open(*path, options);
  if (!file) co_return fail(std::move(file).error());
  std::string_view piece = text;
  auto written = co_await (*file)->write(0, std::span(&piece, 1), Durable::kYes);
  if (!written) co_return fail(std::move(written).error());
  co_return *path;
}

Task<Result<dict::Version>> SettingsFiles::replace(uint32_t slot, std::string path, dict::Dict dict,
                                                   dict::Version before) {
  dict::VersionedDict file;
  CANOPY_CO_ASSIGN(file.version, before.next(epoch_));
  file.dict = std::move(dict);
  CANOPY_CO_ASSIGN(std::string text, dict::print_versioned(file, path));
  auto staged = co_await stage_file(slot, std::move(text));
  if (!staged) co_return fail(std::move(staged).error());
  CANOPY_CO_TRY(co_await store_.rename(*staged, path, RenameMode::kReplace, Durable::kYes));
  if (lease_held_ && !lease_held_()) {
    co_return fail(Code::kFenced, path, "the lease ended before the replacement was answered");
  }
  co_return file.version;
}

Task<Result<void>> remove_tree(Store& store, std::string path) {
  for (;;) {
    auto page = co_await store.list(path, 0);  // from the start: what was removed shifts the rest
    if (!page) {
      if (page.error().code() == Code::kNotFound) co_return Result<void>();
      co_return fail(std::move(page).error());
    }
    for (const DirectoryEntry& entry : page->entries) {
      std::string inside = path + "/" + entry.name;
      Result<void> gone;
      if (entry.type == FileType::kDirectory) {
        gone = co_await remove_tree(store, inside);
      } else {
        gone = co_await store.remove(inside, Durable::kNo);
      }
      if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
    }
    if (page->end) break;
  }
  auto gone = co_await store.remove_directory(path, Durable::kNo);
  if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  co_return Result<void>();
}

Task<Result<uint32_t>> remove_older_stages(Store& store, uint64_t epoch) {
  uint32_t removed = 0;
  auto listed = co_await list_all(store, std::string(kStageRoot), kSlots * 64);
  if (!listed) {
    if (listed.error().code() == Code::kNotFound) co_return removed;
    co_return fail(std::move(listed).error());
  }
  for (const DirectoryEntry& entry : *listed) {
    size_t dot = entry.name.find('.');
    auto of =
        dot == std::string::npos ? std::nullopt : parse_hex64(std::string_view(entry.name).substr(dot + 1));
    if (of && *of >= epoch) continue;
    CANOPY_CO_TRY(co_await remove_tree(store, fmt::format("{}/{}", kStageRoot, entry.name)));
    ++removed;
  }
  co_return removed;
}

}  // namespace canopy
