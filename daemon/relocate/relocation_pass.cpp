#include "daemon/relocate/relocation_pass.h"

namespace canopy {

bool may_have_to_move(const Domain& domain, const SeenAccount& seen) {
  if (domain.layout.fast_index() != 0) return true;
  for (const TreeLayout& older : domain.older)
    if (older.fast_index() != 0) return true;
  return seen.directory != domain.layout.account_directory(seen.address);
}

Task<Result<bool>> RelocationPass::run() { co_return co_await walk(domain_->directory(), 0); }

Task<Result<bool>> RelocationPass::walk(std::string directory, uint32_t depth) {
  std::vector<std::string> folders;
  DirectoryPage page;
  do {
    auto next = co_await store_.list(directory, page.next_cookie);
    if (!next && next.error().code() == Code::kNotFound && depth != 0) co_return true;  // removed meanwhile
    if (!next) co_return fail(std::move(next).error());
    page = std::move(*next);
    std::vector<SeenAccount> seen;
    for (const DirectoryEntry& entry : page.entries) {
      if (entry.type != FileType::kDirectory) continue;
      const TreeElement kind = classify_element(entry.name, true);
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) folders.push_back(entry.name);
      if (kind != TreeElement::kAccount) continue;
      SeenAccount account{{std::string(account_of_element(entry.name)), domain_->name},
                          directory + "/" + entry.name};
      seen.push_back(std::move(account));
    }
    if (!seen.empty() && !co_await visit_(std::move(seen))) co_return false;
  } while (!page.end);
  for (const std::string& folder : folders) {
    auto whole = co_await walk(directory + "/" + folder, depth + 1);
    if (!whole || !*whole) co_return whole;
  }
  co_return true;
}

}  // namespace canopy
