#include "daemon/account/suspended_marks.h"

namespace canopy {

static std::string directory_of(std::string_view domain) {
  return fmt::format("{}/{}", kSuspendedRoot, domain);
}

static std::string path_of(const AccountAddress& address) {
  return directory_of(address.domain) + "/" + address.account;
}

Task<Result<std::optional<std::string>>> suspended_mark(Store& store, AccountAddress address) {
  auto text = co_await read_file(store, path_of(address), kSuspendedMarkBytesMax);
  if (text) co_return std::optional(std::move(*text));
  if (text.error().code() == Code::kNotFound) co_return std::optional<std::string>();
  co_return fail(std::move(text).error());
}

Task<Result<void>> mark_suspended(SettingsFiles& files, AccountAddress address, std::string log_end) {
  const uint32_t slot = slot_of(address);
  CANOPY_CO_TRY(co_await make_directories(files.store(), directory_of(address.domain), 0700, Durable::kYes));
  auto staged = co_await files.stage_file(slot, path_of(address), std::move(log_end));
  if (!staged) co_return fail(std::move(staged).error());
  auto placed = co_await files.store().rename(*staged, path_of(address), RenameMode::kReplace, Durable::kYes);
  if (!placed) co_return fail(co_await files.fenced_if_gone(*staged, std::move(placed).error()));
  co_return Result<void>();
}

Task<Result<void>> unmark_suspended(Store& store, AccountAddress address) {
  auto gone = co_await store.remove(path_of(address), Durable::kYes);
  if (!gone && gone.error().code() != Code::kNotFound) co_return gone;
  co_return Result<void>();
}

Task<Result<void>> copy_suspended_mark(SettingsFiles& files, AccountAddress from, AccountAddress to) {
  auto mark = co_await suspended_mark(files.store(), std::move(from));
  if (!mark) co_return fail(std::move(mark).error());
  if (!*mark) co_return co_await unmark_suspended(files.store(), std::move(to));
  co_return co_await mark_suspended(files, std::move(to), std::move(**mark));
}

Task<Result<void>> copy_suspended_marks(Store& store, std::string from_domain, std::string to_domain) {
  const std::string from = directory_of(from_domain), to = directory_of(to_domain);
  CANOPY_CO_TRY(co_await remove_tree(store, to));
  DirectoryPage page;
  do {
    auto listed = co_await store.list(from, page.next_cookie);
    if (!listed && listed.error().code() == Code::kNotFound) co_return Result<void>();
    if (!listed) co_return fail(std::move(listed).error());
    page = std::move(*listed);
    if (page.entries.empty()) continue;
    CANOPY_CO_TRY(co_await make_directories(store, to, 0700, Durable::kYes));
    for (const DirectoryEntry& entry : page.entries)
      CANOPY_CO_TRY(co_await store.link(from + "/" + entry.name, to + "/" + entry.name, Durable::kNo));
    CANOPY_CO_TRY(co_await store.sync_directory(to));
  } while (!page.end);
  co_return Result<void>();
}

Task<Result<void>> remove_suspended_marks(Store& store, std::string domain) {
  co_return co_await remove_tree(store, directory_of(domain));
}

}  // namespace canopy
