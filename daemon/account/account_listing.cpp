#include "daemon/account/account_listing.h"

namespace canopy {
namespace {

struct Walk {
  Store& store;
  std::string after, prefix;
  size_t limit;
  std::set<std::string> found;  // the smallest limit + 1
};

Task<Result<void>> walk(Walk& state, std::string directory, uint32_t depth) {
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await state.store.list(directory, cookie);
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (entry.type != FileType::kDirectory) continue;
      TreeElement kind = classify_element(entry.name, true);
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) {
        CANOPY_CO_TRY(co_await walk(state, directory + "/" + entry.name, depth + 1));
      }
      if (kind != TreeElement::kAccount) continue;
      std::string name(account_of_element(entry.name));
      if (name <= state.after || !name.starts_with(state.prefix)) continue;
      if (state.found.size() > state.limit && name >= *state.found.rbegin()) continue;
      state.found.insert(std::move(name));
      if (state.found.size() > state.limit + 1) state.found.erase(std::prev(state.found.end()));
    }
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<NamePage>> list_accounts(Store& store, std::shared_ptr<const Domain> domain, std::string after,
                                     std::string prefix, size_t limit) {
  Walk state{store, std::move(after), std::move(prefix), limit, {}};
  CANOPY_CO_TRY(co_await walk(state, domain->directory(), 0));
  NamePage page;
  page.end = state.found.size() <= limit;
  for (const std::string& name : state.found) {
    if (page.names.size() == limit) break;
    page.names.push_back(name);
  }
  co_return page;
}

}  // namespace canopy
