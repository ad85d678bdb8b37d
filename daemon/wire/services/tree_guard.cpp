#include "daemon/wire/services/tree_guard.h"

#include "daemon/account/suspended_marks.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"

namespace canopy::wire {
namespace {

bool lies_in(std::string_view path, std::string_view root) {
  return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

// Whether the account is suspended as far as its mark says: its settings do not parse.
Task<Result<bool>> is_marked(Node& node, AccountAddress address) {
  Shard& shard = node.shard_of(address);
  co_await shard.loop.switch_to();
  auto mark = co_await suspended_mark(*shard.store, std::move(address));
  if (!mark) co_return fail(std::move(mark).error());
  co_return mark->has_value();
}

Task<Result<void>> account_may_change(Node& node, Loop& loop, std::string path, AccountAddress address) {
  auto found = co_await node.find(address);
  Result<bool> marked = false;
  if (!found && found.error().code() == Code::kDamaged) marked = co_await is_marked(node, address);
  co_await loop.switch_to();
  if (!marked) co_return fail(std::move(marked).error());
  if (*marked) co_return Result<void>();  // the hands that it was suspended for can put them right
  if (!found) {
    if (found.error().code() == Code::kDamaged)
      co_return fail(Code::kDamaged, found.error().object(),
                     fmt::format("{}; canopyctl check {} --repair puts the file aside",
                                 found.error().message(), address.to_string()));
    if (found.error().code() == Code::kNotFound) co_return Result<void>();  // nobody works on it
    co_return fail(std::move(found).error());
  }
  if (found->address.account != address.account)
    co_return Result<void>();  // an alias: no directory bears its name
  if (found->settings->use == AccountUse::kSuspended) co_return Result<void>();
  co_return fail(Code::kBusy, path,
                 fmt::format("suspend the account first: canopyctl account suspend {}", address.to_string()));
}

}  // namespace

Result<void> check_raw_path(const std::string& path) {
  CANOPY_TRY(check_store_path(path));
  if (lies_in(path, kTreeRoot) || lies_in(path, kSettingsRoot)) return {};
  return fail(Code::kNotFound, path, fmt::format("raw paths begin with {} or {}", kTreeRoot, kSettingsRoot));
}

bool depends_on_account(const std::string& path) {
  const TreePlaceKind kind = describe_path(path).kind;
  return kind == TreePlaceKind::kAccount || kind == TreePlaceKind::kInsideAccount ||
         kind == TreePlaceKind::kAccountFile;
}

Task<Result<void>> may_change(Node& node, Loop& loop, std::string path) {
  CANOPY_CO_TRY(check_raw_path(path));
  const TreePlace place = describe_path(path);
  switch (place.kind) {
    case TreePlaceKind::kBase:
    case TreePlaceKind::kTreeRoot: co_return fail(Code::kBusy, path, "the root of the tree stays as it is");
    case TreePlaceKind::kHeartbeat: co_return fail(Code::kBusy, path, "it is the backends' own register");
    case TreePlaceKind::kDomainSettings:
      co_return fail(Code::kBusy, path,
                     fmt::format("the daemon keeps it; change it by canopyctl domain set {}", place.domain));
    case TreePlaceKind::kSettings:
      if (path == kSettingsRoot || path.ends_with(kSettingsSuffix) || path.ends_with(".data"))
        co_return fail(Code::kBusy, path, "the daemon keeps it; change it by canopyctl settings set");
      co_return Result<void>();
    case TreePlaceKind::kAccount:
    case TreePlaceKind::kInsideAccount:
    case TreePlaceKind::kAccountFile: {
      AccountAddress address{std::string(place.account), std::string(place.domain)};
      co_return co_await account_may_change(node, loop, std::move(path), std::move(address));
    }
    case TreePlaceKind::kFolder:
    case TreePlaceKind::kDomain:
    case TreePlaceKind::kOther: co_return Result<void>();
  }
  co_return Result<void>();
}

Task<Result<void>> guard_open_files(Node& node, Shard& shard, AccountAddress address) {
  TreeOpenFiles& open = node.open_files();
  if (!open.any_open()) co_return Result<void>();
  CANOPY_CO_ASSIGN(const AccountPlace place, co_await shard.accounts.place(address));
  std::vector<std::string> directories = {place.directory};
  for (const std::string& path : {place.settings_file, place.info_file}) {
    auto found = co_await shard.store->attributes(path);
    if (found) open.belongs_to(identity_of(*found), path);
  }
  while (!directories.empty()) {
    const std::string directory = std::move(directories.back());
    directories.pop_back();
    DirectoryPage page;
    do {
      auto next = co_await shard.store->list(directory, page.next_cookie, Listing::kAttributes);
      if (!next && next.error().code() == Code::kNotFound) break;
      if (!next) co_return fail(std::move(next).error());
      page = std::move(*next);
      for (size_t i = 0; i < page.entries.size(); ++i) {
        const std::string path = directory + "/" + page.entries[i].name;
        if (page.entries[i].type == FileType::kDirectory)
          directories.push_back(path);
        else
          open.belongs_to(identity_of(page.attributes[i]), path);
      }
    } while (!page.end);
  }
  co_return Result<void>();
}

namespace {

// Empty: it belongs to none.
std::string account_of_path(const std::string& path) {
  if (!depends_on_account(path)) return {};
  const TreePlace place = describe_path(path);
  return fmt::format("{}@{}", place.account, place.domain);
}

std::unexpected<Error> stays_in_account(const std::string& path, std::string_view what) {
  return fail(Code::kCrossStore, path, fmt::format("{}; copy it across the border of an account", what));
}

}  // namespace

Result<void> may_have_both_names(const std::string& name, const std::string& other) {
  if (account_of_path(name) == account_of_path(other)) return {};
  return stays_in_account(other, "a file of an account has no names elsewhere");
}

Task<Result<void>> may_cross(Store& store, Attributes thing, std::string from, std::string to) {
  if (account_of_path(from) == account_of_path(to)) co_return Result<void>();
  if (thing.type != FileType::kDirectory) {
    if (thing.links <= 1) co_return Result<void>();
    co_return stays_in_account(from, fmt::format("it has {} names", thing.links));
  }
  auto page = co_await store.list(from, 0);
  if (!page) co_return fail(std::move(page).error());
  if (page->entries.empty()) co_return Result<void>();
  co_return stays_in_account(from, "a directory with files goes one by one");
}

Task<Result<void>> may_move(Node& node, Loop& loop, std::string path) {
  CANOPY_CO_TRY(co_await may_change(node, loop, path));
  const TreePlaceKind kind = describe_path(path).kind;
  if (kind != TreePlaceKind::kFolder && kind != TreePlaceKind::kDomain && kind != TreePlaceKind::kAccount)
    co_return Result<void>();
  auto page = co_await node.here().store->list(path, 0);
  if (!page) {
    // The operation itself says what is wrong with the name.
    if (page.error().code() == Code::kNotFound || page.error().code() == Code::kNotDirectory)
      co_return Result<void>();
    co_return fail(std::move(page).error());
  }
  if (page->entries.empty()) co_return Result<void>();
  co_return fail(Code::kBusy, path, "a directory of the tree moves by canopyctl only, unless it is empty");
}

}  // namespace canopy::wire
