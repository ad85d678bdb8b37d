#include "daemon/relocate/folders.h"

#include <functional>
#include <set>

#include "daemon/account/domain_move.h"

namespace canopy {
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
    auto next = co_await store.list(directory, page.next_cookie);
    if (!next && next.error().code() == Code::kNotFound) co_return Result<void>();
    if (!next) co_return fail(std::move(next).error());
    page = std::move(*next);
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

Task<Result<void>> sync_one(Store& store, std::string directory, bool) {
  auto done = co_await store.sync_directory(std::move(directory));
  if (!done && done.error().code() == Code::kNotFound) co_return Result<void>();
  co_return done;
}

Task<Result<void>> remove_one(Store& store, std::string directory, bool empty) {
  if (!empty) co_return Result<void>();
  auto done = co_await store.remove_directory(std::move(directory), Durable::kNo);
  if (!done && (done.error().code() == Code::kNotEmpty || done.error().code() == Code::kNotFound))
    co_return Result<void>();
  co_return done;
}

}  // namespace

Task<Result<void>> sync_folders(Store& store, std::shared_ptr<const Domain> domain) {
  for (const std::string& root : roots_of(*domain))
    CANOPY_CO_TRY(co_await visit_folders(store, root, 0, sync_one));
  co_return Result<void>();
}

Task<Result<void>> remove_empty_folders(Store& store, std::shared_ptr<const Domain> domain) {
  for (const std::string& root : roots_of(*domain)) {
    CANOPY_CO_TRY(co_await visit_folders(store, root, 0, remove_one));
    if (root != domain->directory()) co_await remove_empty_parents(store, root);
  }
  co_return Result<void>();
}

}  // namespace canopy
