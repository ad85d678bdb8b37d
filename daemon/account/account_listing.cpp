#include "daemon/account/account_listing.h"

namespace canopy {
namespace {

// Each of two changes of layout on top of each other moves an account once.
constexpr int kWalksUntilEmpty = 3;

Task<Result<void>> walk(Store& store, std::string directory, uint32_t depth, NameWindow& window) {
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await store.list(directory, cookie);
    // A folder that accounts have left goes; whoever moves them tells (AccountNames::moves()).
    if (!page && page.error().code() == Code::kNotFound && depth != 0) co_return Result<void>();
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (entry.type != FileType::kDirectory) continue;
      TreeElement kind = classify_element(entry.name, true);
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) {
        CANOPY_CO_TRY(co_await walk(store, directory + "/" + entry.name, depth + 1, window));
      }
      if (kind == TreeElement::kAccount) window.add(std::string(account_of_element(entry.name)));
    }
  }
  co_return Result<void>();
}

}  // namespace

void NameWindow::add(std::string name) {
  if (name <= after || !name.starts_with(prefix)) return;
  if (found.size() > limit && name >= *found.rbegin()) return;
  found.insert(std::move(name));
  if (found.size() > limit + 1) found.erase(std::prev(found.end()));
}

NamePage NameWindow::page() const {
  NamePage page;
  page.end = found.size() <= limit;
  for (const std::string& name : found) {
    if (page.names.size() == limit) break;
    page.names.push_back(name);
  }
  return page;
}

Task<Result<void>> walk_accounts(Store& store, std::shared_ptr<const Domain> domain, NameWindow& window) {
  co_return co_await walk(store, domain->directory(), 0, window);
}

Task<Result<NamePage>> list_accounts(Store& store, std::shared_ptr<const Domain> domain, std::string after,
                                     std::string prefix, size_t limit) {
  NameWindow window{std::move(after), std::move(prefix), limit, {}};
  CANOPY_CO_TRY(co_await walk_accounts(store, domain, window));
  co_return window.page();
}

Task<Result<bool>> has_accounts(Store& store, std::shared_ptr<const Domain> domain) {
  NameWindow window{"", "", 1, {}};
  for (int walks = 0; walks < kWalksUntilEmpty && window.found.empty(); ++walks)
    CANOPY_CO_TRY(co_await walk_accounts(store, domain, window));
  co_return !window.found.empty();
}

}  // namespace canopy
