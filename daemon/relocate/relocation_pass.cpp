#include "daemon/relocate/relocation_pass.h"

#include <algorithm>
#include <span>

namespace canopy {

bool may_have_to_move(const Domain& domain, const SeenAccount& seen) {
  if (domain.layout.fast_index() != 0) return true;
  for (const TreeLayout& older : domain.older)
    if (older.fast_index() != 0) return true;
  return seen.directory != domain.layout.account_directory(seen.address);
}

Task<Result<bool>> RelocationPass::run() {
  CANOPY_CO_ASSIGN(const bool whole, co_await walk(domain_->directory(), 0));
  if (!whole) co_return false;
  co_return co_await visit_remembered();
}

Task<Result<bool>> RelocationPass::walk(std::string directory, uint32_t depth) {
  std::vector<std::string> folders;
  DirectoryPage page;
  do {
    auto next = co_await store_.list(directory, page.next_cookie);
    if (!next && next.error().code() == Code::kNotFound && depth != 0) co_return true;  // removed meanwhile
    if (!next) co_return fail(std::move(next).error());
    page = std::move(*next);
    directories_.push_back(directory);
    for (const DirectoryEntry& entry : page.entries) {
      if (entry.type != FileType::kDirectory) continue;
      const TreeElement kind = classify_element(entry.name, true);
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) folders.push_back(entry.name);
      if (kind != TreeElement::kAccount) continue;
      names_.push_back({entry.file_id, static_cast<uint32_t>(directories_.size() - 1), entry.name});
      ++remembered_.count;
    }
    const bool enough = names_.size() >= kWindow || remembered_.count >= NamesRemembered::kMost;
    if (enough && !co_await visit_remembered()) co_return false;
  } while (!page.end);
  for (const std::string& folder : folders) {
    auto whole = co_await walk(directory + "/" + folder, depth + 1);
    if (!whole || !*whole) co_return whole;
  }
  co_return true;
}

Task<bool> RelocationPass::visit_remembered() {
  std::ranges::sort(names_, {}, &Name::file_id);
  bool go_on = true;
  for (size_t at = 0; go_on && at < names_.size(); at += kVisited) {
    std::vector<SeenAccount> page;
    for (const Name& name : std::span(names_).subspan(at, std::min(kVisited, names_.size() - at)))
      page.push_back({{std::string(account_of_element(name.element)), domain_->name},
                      directories_[name.directory] + "/" + name.element});
    go_on = co_await visit_(std::move(page));
  }
  forget();
  co_return go_on;
}

void RelocationPass::forget() {
  remembered_.count -= names_.size();
  names_.clear();
  directories_.clear();
}

}  // namespace canopy
