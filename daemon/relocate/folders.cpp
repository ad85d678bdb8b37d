#include "daemon/relocate/folders.h"

#include <algorithm>
#include <ranges>
#include <set>

#include "daemon/account/account_place.h"
#include "daemon/account/domain_move.h"

namespace canopy {

Task<Result<bool>> next_page(Store& store, std::string directory, DirectoryPage& page) {
  auto next = co_await store.list(std::move(directory), page.next_cookie);
  if (!next && next.error().code() == Code::kNotFound) co_return false;
  if (!next) co_return fail(std::move(next).error());
  page = std::move(*next);
  co_return true;
}

namespace {

// Under the domain's directory there may be `fast` and as many folders as a method has levels.
constexpr uint32_t kDepthMax = kFolderingLevelsMax + 1;

using Visit = Task<Result<void>> (*)(Store& store, std::string directory, bool empty);

// Visits folders from the leaves on; `empty`: nothing but what the visits before may have removed was there.
Task<Result<void>> visit_folders(Store& store, std::string directory, uint32_t depth, Visit visit) {
  std::vector<std::string> folders;
  bool empty = true;
  DirectoryPage page;
  do {
    CANOPY_CO_ASSIGN(const bool there, co_await next_page(store, directory, page));
    if (!there) co_return Result<void>();
    for (const DirectoryEntry& entry : page.entries) {
      const TreeElement kind = classify_element(entry.name, true);
      const bool folder = kind == TreeElement::kFolder || kind == TreeElement::kFast;
      if (folder && entry.type == FileType::kDirectory && depth < kDepthMax)
        folders.push_back(entry.name);
      else
        empty = false;
    }
  } while (!page.end);
  for (const std::string& folder : folders)
    CANOPY_CO_TRY(co_await visit_folders(store, directory + "/" + folder, depth + 1, visit));
  co_return co_await visit(store, directory, empty);
}

std::set<std::string> roots_of(const Domain& domain) {
  std::set<std::string> roots = {domain.directory(), domain.layout.domain_fast_directory(domain.name)};
  for (const TreeLayout& older : domain.older) roots.insert(older.domain_fast_directory(domain.name));
  roots.erase("");
  return roots;
}

bool lies_elsewhere(const Domain& domain, const std::string& path, const AccountAddress& address) {
  return path != domain.layout.settings_file(address) && path != domain.layout.info_file(address);
}

Task<Result<void>> visit_files(Store& store, const Domain& domain, std::string directory, uint32_t depth,
                               const VisitAddresses& visit) {
  std::vector<std::string> folders;
  DirectoryPage page;
  do {
    CANOPY_CO_ASSIGN(const bool there, co_await next_page(store, directory, page));
    if (!there) co_return Result<void>();
    std::vector<AccountAddress> elsewhere;
    for (const DirectoryEntry& entry : page.entries) {
      std::string path = directory + "/" + entry.name;
      const TreePlace place = describe_path(path);
      if (place.kind == TreePlaceKind::kAccountFile) {
        AccountAddress address{std::string(place.account), domain.name};
        auto prepared = prepare_account(address.account);
        if (prepared && *prepared == address.account && lies_elsewhere(domain, path, address))
          elsewhere.push_back(std::move(address));
      } else if (place.kind == TreePlaceKind::kFolder && entry.type == FileType::kDirectory &&
                 depth < kDepthMax) {
        folders.push_back(std::move(path));
      }
    }
    if (!elsewhere.empty()) CANOPY_CO_TRY(co_await visit(std::move(elsewhere)));
  } while (!page.end);
  for (const std::string& folder : folders)
    CANOPY_CO_TRY(co_await visit_files(store, domain, folder, depth + 1, visit));
  co_return Result<void>();
}

Task<Result<void>> sync_one(Store& store, std::string directory, bool) {
  auto done = co_await store.sync_directory(std::move(directory));
  if (!done && done.error().code() == Code::kNotFound) co_return Result<void>();
  co_return done;
}

Task<Result<void>> remove_one(Store& store, std::string directory, bool empty) {
  if (!empty) co_return Result<void>();
  auto done = co_await store.remove_directory(std::move(directory), Durable::kNo);
  if (done) co_return done;
  switch (done.error().code()) {
    case Code::kNotEmpty:
    case Code::kAlreadyExists:  // NFS servers may say this of one that is not empty
    case Code::kBusy:           // something is mounted there
    case Code::kNotFound: co_return Result<void>();
    default: co_return done;
  }
}

}  // namespace

Task<Result<void>> sync_folders(Store& store, std::shared_ptr<const Domain> domain, size_t about) {
  if (about > kSyncedOneByOneMax) {
    auto synced = co_await store.sync_all();
    if (synced || synced.error().code() != Code::kUnsupported) co_return synced;
  }
  for (const std::string& root : roots_of(*domain))
    CANOPY_CO_TRY(co_await visit_folders(store, root, 0, sync_one));
  co_return Result<void>();
}

Task<Result<void>> visit_files_elsewhere(Store& store, std::shared_ptr<const Domain> domain,
                                         const VisitAddresses& visit) {
  if (std::ranges::none_of(domain->older, [](const TreeLayout& of) { return of.fast_index() != 0; }))
    co_return Result<void>();
  for (const std::string& root : roots_of(*domain))
    CANOPY_CO_TRY(co_await visit_files(store, *domain, root, 0, visit));
  co_return Result<void>();
}

Task<Result<void>> remove_empty_folders(Loop& loop, Store& store, std::shared_ptr<const Domain> domain,
                                        const std::vector<std::string>* known) {
  if (known != nullptr && !may_lie_apart(*domain) && !is_on_several_stores(store, domain->directory())) {
    for (const std::string& folder : std::views::reverse(*known)) {
      CANOPY_CO_TRY(co_await remove_one(store, folder, true));
      co_await loop.yield();  // a local store is done with it at once
    }
    co_return Result<void>();
  }
  for (const std::string& root : roots_of(*domain)) {
    CANOPY_CO_TRY(co_await visit_folders(store, root, 0, remove_one));
    if (root != domain->directory()) co_await remove_empty_parents(store, root);
  }
  co_return Result<void>();
}

}  // namespace canopy
