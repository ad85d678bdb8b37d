#include "daemon/account/older_stages.h"

#include "daemon/base/bytes.h"
#include "daemon/base/log.h"
#include "daemon/tree/names.h"

namespace canopy {
namespace {

constexpr size_t kTrashEntriesMax = 65536;  // about; what is beyond them is removed at a later start

Task<Result<void>> put_stages_into_trash(Store& store, uint64_t epoch) {
  CANOPY_CO_TRY(co_await make_directories(store, std::string(kTrashRoot), 0700, Durable::kNo));
  std::string target = fmt::format("{}/stage.{}", kTrashRoot, hex64(epoch));
  auto renamed = co_await store.rename(std::string(kStageRoot), target, RenameMode::kReplace, Durable::kNo);
  if (!renamed && renamed.error().code() != Code::kNotFound) co_return renamed;
  co_return Result<void>();
}

}  // namespace

Task<Result<std::vector<std::string>>> retire_older_stages(Store& store, uint64_t epoch) {
  bool by_one = store.shared();
  // Of a time when the store was shared: what is in them must not go with the stages.
  if (!by_one) {
    CANOPY_CO_ASSIGN(by_one, co_await holds_domains(store));
  }
  if (by_one) {
    auto removed = co_await remove_older_stages(store, epoch);
    if (!removed) co_return fail(std::move(removed).error());
  } else {
    CANOPY_CO_TRY(co_await put_stages_into_trash(store, epoch));
  }
  std::vector<std::string> names;
  uint64_t cookie = 0;
  for (bool end = false; !end && names.size() < kTrashEntriesMax;) {
    auto page = co_await store.list(std::string(kTrashRoot), cookie);
    if (!page && page.error().code() == Code::kNotFound) break;
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (DirectoryEntry& entry : page->entries) names.push_back(std::move(entry.name));
  }
  co_return names;
}

Task<void> empty_trash(Store& store, std::vector<std::string> names) {
  for (const std::string& name : names) {
    std::string path = fmt::format("{}/{}", kTrashRoot, name);
    auto gone = co_await remove_tree(store, path);
    if (!gone)
      log_event(LogLevel::kWarning, "trash-not-removed", path, {{"error", gone.error().to_string()}});
  }
}

}  // namespace canopy
