#include "daemon/account/settings_files.h"

#include <xxhash.h>

#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/mounts.h"

namespace canopy {

constexpr size_t kStagedAtOnceMax = 1u << 20;  // of one slot; what was deleted waits there for its removal

static std::string stage_of(uint64_t epoch) { return fmt::format("{}/{}", kStageRoot, hex64(epoch)); }

Task<Result<dict::VersionedDict>> SettingsFiles::read(std::string path) {
  CANOPY_CO_TRY(co_await settle(path));
  CANOPY_CO_TRY(co_await keep_newest(path));
  auto text = co_await read_file(store_, path, kDictBytesMax);
  if (!text) co_return fail(std::move(text).error());
  co_return dict::parse_versioned(*text, path);
}

// What has been left at `from`, a place of `path`. Where a request may arrive late, a removal could take what
// has been brought back there since: there it goes into a directory that is made for this alone, and which is
// gone before anything can be put there.
static Task<Result<void>> put_away(SettingsFiles& files, Store& store,
                                   std::map<std::string, std::string>& undecided, uint32_t slot,
                                   std::string path, std::string from) {
  if (!store.shared_at(from)) co_return co_await store.remove(from, Durable::kYes);
  auto aside = co_await files.stage_path(slot, from);
  if (!aside) co_return fail(std::move(aside).error());
  auto made = co_await store.make_directory(*aside, 0700, Durable::kNo);
  if (!made) co_return fail(co_await files.fenced_if_gone(*aside, std::move(made).error()));
  undecided[path] = *aside;
  auto put = co_await store.rename(from, *aside + "/left", RenameMode::kReplace, Durable::kYes);
  if (!put) {  // settle() before the next use
    const Error error = co_await files.fenced_if_gone(*aside, std::move(put).error());
    if (error.code() != Code::kNotFound) co_return fail(error);
  }
  undecided.erase(path);
  (void)co_await remove_tree(store, *aside);  // or it goes with the stage
  co_return Result<void>();
}

// A file that is on its way from store to store is at both for a moment. What a crash has left at the wrong
// one goes, as a later table may put that first.
Task<Result<void>> SettingsFiles::keep_newest(std::string path) {
  const std::vector<StoreSite> parts = store_.parts_of(path);
  if (parts.size() == 1 || object_of(path) != path) co_return Result<void>();
  std::optional<dict::Version> newest;
  std::string kept;
  for (const StoreSite& part : parts) {
    auto text = co_await read_file(store_, part.path, kDictBytesMax);
    if (!text) continue;  // absent, or its store is away: then what the others hold is served
    auto file = dict::parse_versioned(*text, part.path);
    if (!file) continue;  // named when it is read
    if (!newest) {
      newest = file->version;
      kept = part.path;
      continue;
    }
    const bool later = *newest < file->version;
    CANOPY_CO_TRY(co_await put_away(*this, store_, undecided_, 0, path, later ? kept : part.path));
    if (!later) continue;
    newest = file->version;
    kept = part.path;
  }
  co_return Result<void>();
}

Task<Result<void>> SettingsFiles::move_to_newest_store(uint32_t slot, std::string path) {
  auto held = co_await read(path);  // of two the later one stays
  if (!held && held.error().code() == Code::kNotFound) co_return Result<void>();
  if (!held) co_return fail(std::move(held).error());
  CANOPY_CO_ASSIGN(const StoreSite now, co_await store_.site_of(path));
  const std::string next = store_.parts_of(path).front().path;
  if (now.path == next) co_return Result<void>();
  CANOPY_CO_TRY(co_await make_directories(store_, std::string(store_parent_of(next)), 0700, Durable::kYes));
  CANOPY_CO_TRY(co_await copy(slot, path, now.path, next));
  co_return co_await put_away(*this, store_, undecided_, slot, path, now.path);
}

Task<Result<void>> SettingsFiles::copy(uint32_t slot, std::string path, std::string from, std::string to) {
  CANOPY_CO_TRY(co_await settle(path));
  CANOPY_CO_ASSIGN(std::string text, co_await read_file(store_, from, kDictBytesMax));
  auto staged = co_await stage_file(slot, to, std::move(text));
  if (!staged) co_return fail(std::move(staged).error());
  undecided_[path] = *staged;
  auto moved = co_await store_.rename(*staged, to, RenameMode::kReplace, Durable::kYes);
  if (!moved) {
    (void)co_await settle(path);
    co_return fail(co_await fenced_if_gone(*staged, std::move(moved).error()));
  }
  undecided_.erase(path);
  co_return Result<void>();
}

// Create, then list: a successor makes its stage before it removes the older ones, so either it finds ours,
// or we find its.
Task<Result<void>> SettingsFiles::begin_stage(StoreSite site, std::string stage) {
  if (begun_.contains(stage)) co_return Result<void>();
  // Its name need not survive a crash: what is staged counts only once it has been renamed.
  CANOPY_CO_TRY(co_await make_directories(store_, stage, 0700, Durable::kNo));
  if (store_.shared_at(stage)) {
    CANOPY_CO_ASSIGN(auto stages, co_await list_all(store_, site.at(kStageRoot), kSlots * 64));
    for (const DirectoryEntry& other : stages) {
      if (parse_hex64(other.name).value_or(0) <= epoch_) continue;
      (void)co_await store_.remove_directory(stage, Durable::kNo);
      co_return fail(Code::kFenced, stage, "a later process has begun to serve");
    }
  }
  begun_.insert(std::move(stage));
  co_return Result<void>();
}

Task<Result<void>> SettingsFiles::check_not_succeeded(uint32_t slot, std::string target) {
  if (!store_.shared_at(target)) co_return Result<void>();
  CANOPY_CO_ASSIGN(const std::string staged, co_await stage_path(slot, std::move(target)));
  auto stage = co_await store_.attributes(std::string(store_parent_of(staged)));
  if (stage) co_return Result<void>();
  co_return fail(co_await fenced_if_gone(staged, std::move(stage).error()));
}

Task<Error> SettingsFiles::fenced_if_gone(std::string staged, Error error) {
  if (error.code() != Code::kNotFound) co_return error;
  const std::string slot_stage = std::string(store_parent_of(staged));
  auto stage = co_await store_.attributes(slot_stage);
  if (stage) co_return error;
  if (stage.error().code() != Code::kNotFound) co_return stage.error();  // nobody knows
  co_return Error(Code::kFenced, std::string(store_parent_of(slot_stage)),
                  "a later process has begun to serve and removed it");
}

Task<Result<std::string>> SettingsFiles::stage_path(uint32_t slot, std::string target) {
  CANOPY_CO_ASSIGN(const StoreSite site, co_await store_.site_of(target));
  const std::string stage = site.at(stage_of(epoch_));
  CANOPY_CO_TRY(co_await begin_stage(site, stage));
  // Slots have directories of their own where they are handed from process to process. Elsewhere all share
  // one: each more that is changed is a block more for the file system's journal.
  const std::string directory = fmt::format("{}/{}", stage, store_.shared_at(target) ? slot : 0);
  std::string staged = fmt::format("{}/{}.{}", directory, writer_, next_++);
  if (slot_stages_.contains(directory)) co_return staged;
  auto made = co_await store_.make_directory(directory, 0700, Durable::kNo);
  if (!made && made.error().code() != Code::kAlreadyExists)
    co_return fail(co_await fenced_if_gone(std::move(staged), std::move(made).error()));
  slot_stages_.insert(directory);
  co_return staged;
}

std::string SettingsFiles::passages_at(const StoreSite& site) const {
  return site.at(fmt::format("{}/{}", stage_of(epoch_), kPassagesElement));
}

Task<Result<std::string>> SettingsFiles::passage(std::string target) {
  CANOPY_CO_ASSIGN(const StoreSite site, co_await store_.site_of(std::move(target)));
  CANOPY_CO_TRY(co_await begin_stage(site, site.at(stage_of(epoch_))));
  const std::string all = passages_at(site);
  std::string own = fmt::format("{}/{}.{}", all, writer_, next_++);
  if (!slot_stages_.contains(all)) {
    auto made = co_await store_.make_directory(all, 0700, Durable::kYes);
    if (!made && made.error().code() != Code::kAlreadyExists)
      co_return fail(co_await fenced_if_gone(std::move(own), std::move(made).error()));
    slot_stages_.insert(all);
  }
  auto made = co_await store_.make_directory(own, 0700, Durable::kYes);
  if (!made) co_return fail(co_await fenced_if_gone(std::move(own), std::move(made).error()));
  co_return own;
}

Task<Result<void>> SettingsFiles::settle_below(std::string directory) {
  std::vector<std::string> below;
  directory += '/';
  for (const auto& [path, staged] : undecided_)
    if (path.starts_with(directory)) below.push_back(path);
  for (const std::string& path : below) CANOPY_CO_TRY(co_await settle(path));
  co_return Result<void>();
}

Task<Result<std::string>> SettingsFiles::stage_file(uint32_t slot, std::string target, std::string text) {
  auto path = co_await stage_path(slot, std::move(target));
  if (!path) co_return fail(std::move(path).error());
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  auto file = co_await store_.open(*path, options);
  if (!file) co_return fail(co_await fenced_if_gone(*path, std::move(file).error()));
  std::string_view piece = text;
  auto written = co_await (*file)->write(0, std::span(&piece, 1), Durable::kYes);
  if (!written) co_return fail(co_await fenced_if_gone(*path, std::move(written).error()));
  co_return *path;
}

// A rename that was not answered may have happened, or happen yet, after newer ones. Without what it renames
// it cannot; and when it did happen, it is made durable before anybody is shown it.
Task<Result<void>> SettingsFiles::settle(std::string path) {
  auto undecided = undecided_.find(path);
  if (undecided == undecided_.end()) co_return Result<void>();
  const std::string staged = undecided->second;
  auto there = co_await store_.attributes(staged);
  if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  if (there && there->type == FileType::kDirectory) {  // of put_away()
    CANOPY_CO_TRY(co_await remove_tree(store_, staged));
    CANOPY_CO_TRY(co_await store_.sync_directory(std::string(store_parent_of(staged))));
  } else if (there) {
    auto gone = co_await store_.remove(staged, Durable::kYes);
    if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  }
  CANOPY_CO_ASSIGN(const StoreSite site, co_await store_.site_of(path));
  auto synced = co_await store_.sync_directory(std::string(store_parent_of(site.path)));
  if (!synced && synced.error().code() != Code::kNotFound) co_return synced;  // no folder: nothing came there
  undecided_.erase(path);
  co_return Result<void>();
}

std::string ChangeRequest::key() const {
  return is_none(id) ? std::string() : std::string(reinterpret_cast<const char*>(id.data()), id.size());
}

// One request creates up to a thousand accounts: the name tells them apart.
std::string mark_of(const RequestId& id, std::string_view name, Loop& loop) {
  std::string mark;
  if (!is_none(id)) {
    std::string of = ChangeRequest{id}.key().append(name);
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(of.data(), of.size()));
    return mark.assign(reinterpret_cast<const char*>(bytes.digest), sizeof bytes.digest);
  }
  while (mark.size() < kRequestIdBytes) put_le(mark, loop.random());
  return mark;
}

// An info that is as long as the one before can be overwritten (Replacement): spaces before its last line's
// end make it so, mostly.
static void pad_info(std::string& text, std::string_view path) {
  constexpr size_t kStep = 1024, kPaddedMax = 4096;
  const size_t padded = (text.size() + kStep - 1) / kStep * kStep;
  if (path.ends_with(".info") && padded <= kPaddedMax)
    text.insert(text.size() - 1, padded - text.size(), ' ');
}

Task<Result<dict::VersionedDict>> SettingsFiles::replace(uint32_t slot, std::string path,
                                                         dict::VersionedDict file, ChangeRequest request,
                                                         bool in_place) {
  CANOPY_CO_TRY(co_await settle(path));
  CANOPY_CO_ASSIGN(file.version, file.version.next(epoch_));
  file.remember(request.key(), request.unix_seconds);
  CANOPY_CO_ASSIGN(std::string text, dict::print_versioned(file, path));
  pad_info(text, path);
  auto staged = co_await stage_path(slot, path);
  if (!staged) co_return fail(std::move(staged).error());
  undecided_[path] = *staged;
  auto replaced = co_await store_.replace({*staged, path, std::move(text), in_place});
  if (!replaced) {
    (void)co_await settle(path);  // again before the next use when it fails
    co_return fail(co_await fenced_if_gone(*staged, std::move(replaced).error()));
  }
  undecided_.erase(path);
  if (lease_held_ && !lease_held_()) {
    co_return fail(Code::kFenced, path, "the lease ended before the replacement was answered");
  }
  co_return file;
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

// What is in a slot's stage. A directory goes as a whole, into the trash: emptied here, a late rename could
// still put what is left of it into its place, an account without settings.
static Task<Result<void>> clear_slot_stage(Store& store, std::string path, std::string trash_prefix) {
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store, path, kStagedAtOnceMax));
  for (const DirectoryEntry& entry : entries) {
    const std::string inside = path + "/" + entry.name;
    Result<void> gone;
    if (entry.type == FileType::kDirectory) {
      gone = co_await store.rename(inside, trash_prefix + entry.name, RenameMode::kReplace, Durable::kNo);
    } else {
      gone = co_await store.remove(inside, Durable::kNo);
    }
    if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  }
  co_return co_await store.remove_directory(path, Durable::kNo);
}

// Passages are never put away as they are: a domain could still be renamed into one.
static Task<Result<void>> clear_passages(Store& store, std::string path, std::string stage,
                                         std::string into) {
  CANOPY_CO_ASSIGN(auto passages, co_await list_all(store, path, kPassagesMax));
  for (const DirectoryEntry& passage : passages) {
    const std::string from = fmt::format("{}/{}", path, passage.name);
    CANOPY_CO_ASSIGN(auto inside, co_await list_all(store, from, kStagedAtOnceMax));
    for (const DirectoryEntry& entry : inside) {
      // Of this time alone: what may still be on its way to its place must not find it.
      // Its name has as many bytes however often processes end on the way.
      const uint64_t hash = XXH3_64bits(passage.name.data(), passage.name.size());
      const std::string ours = fmt::format("{}/{}.{:016x}", into, stage, hash);
      CANOPY_CO_TRY(co_await make_directories(store, ours, 0700, Durable::kYes));
      auto taken = co_await store.rename(fmt::format("{}/{}", from, entry.name),
                                         fmt::format("{}/{}", ours, entry.name), RenameMode::kNoReplace,
                                         Durable::kYes);
      if (!taken && taken.error().code() != Code::kNotFound) co_return taken;
    }
    auto gone = co_await store.remove_directory(from, Durable::kYes);
    if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  }
  co_return co_await store.remove_directory(path, Durable::kYes);
}

static Task<Result<void>> clear_stage(Store& store, std::string name, std::string own_stage) {
  const std::string path = fmt::format("{}/{}", kStageRoot, name);
  CANOPY_CO_ASSIGN(auto slots, co_await list_all(store, path, kSlots * 2));
  for (const DirectoryEntry& slot : slots) {
    const std::string slot_path = fmt::format("{}/{}", path, slot.name);
    auto gone = slot.name == kPassagesElement
                    ? co_await clear_passages(store, slot_path, name,
                                              fmt::format("{}/{}", own_stage, kPassagesElement))
                    : co_await clear_slot_stage(store, slot_path,
                                                fmt::format("{}/{}.{}.", kTrashRoot, name, slot.name));
    if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  }
  co_return co_await store.remove_directory(path, Durable::kNo);
}

// Until nobody puts anything into it any more: its process may not know yet that it is over.
static Task<Result<void>> remove_stage(Store& store, std::string name, std::string own_stage) {
  constexpr int kAttemptsMax = 100;
  Result<void> gone;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    gone = co_await clear_stage(store, name, own_stage);
    if (!gone && gone.error().code() == Code::kNotFound) co_return Result<void>();
    if (gone || gone.error().code() != Code::kNotEmpty) co_return gone;
  }
  co_return gone;
}

Task<Result<uint32_t>> remove_older_stages(Store& store, uint64_t epoch) {
  CANOPY_CO_TRY(co_await make_directories(store, stage_of(epoch), 0700, Durable::kYes));
  uint32_t removed = 0;
  CANOPY_CO_ASSIGN(auto listed, co_await list_all(store, std::string(kStageRoot), kSlots * 64));
  // Oldest first: a domain on the way goes from older stages to newer ones, and so comes before whoever
  // clears them.
  std::ranges::sort(listed, {},
                    [](const DirectoryEntry& entry) { return parse_hex64(entry.name).value_or(0); });
  for (const DirectoryEntry& entry : listed) {
    auto of = parse_hex64(entry.name);
    if (of && *of > epoch)
      co_return fail(Code::kFenced, stage_of(epoch), "a later process has begun to serve");
    if (of && *of == epoch) continue;
    if (removed == 0)
      CANOPY_CO_TRY(co_await make_directories(store, std::string(kTrashRoot), 0700, Durable::kNo));
    CANOPY_CO_TRY(co_await remove_stage(store, entry.name, stage_of(epoch)));
    ++removed;
  }
  if (removed == 0) co_return removed;
  // Durable before anything is served: a crash of the store must not bring back what a late rename could
  // find.
  CANOPY_CO_TRY(co_await store.sync_directory(std::string(kTrashRoot)));
  CANOPY_CO_TRY(co_await store.sync_directory(std::string(kStageRoot)));
  co_return removed;
}

Task<Result<bool>> holds_domains(Store& store) {
  auto stages = co_await list_all(store, std::string(kStageRoot), kSlots * 64);
  if (!stages && stages.error().code() == Code::kNotFound) co_return false;
  if (!stages) co_return fail(std::move(stages).error());
  for (const DirectoryEntry& stage : *stages) {
    const std::string all = fmt::format("{}/{}/{}", kStageRoot, stage.name, kPassagesElement);
    auto passages = co_await list_all(store, all, kPassagesMax);
    if (!passages && passages.error().code() == Code::kNotFound) continue;
    if (!passages) co_return fail(std::move(passages).error());
    for (const DirectoryEntry& passage : *passages) {
      CANOPY_CO_ASSIGN(auto page, co_await store.list(all + "/" + passage.name, 0));
      if (!page.entries.empty()) co_return true;
    }
  }
  co_return false;
}

}  // namespace canopy
