#include "daemon/relocate/relocation_pass.h"

#include "daemon/account/account_place.h"

namespace canopy {

bool may_have_to_move(const Domain& domain, const SeenAccount& seen) {
  return may_lie_apart(domain) || seen.directory != domain.layout.account_directory(seen.address);
}

Task<Result<bool>> RelocationPass::run() {
  auto walked = co_await walk(domain_->directory(), 0);
  if (walked && !*walked) co_return false;
  const bool visited = co_await visit_remembered();
  if (!walked) co_return fail(std::move(walked).error());
  co_return visited;
}

bool RelocationPass::has_enough() const {
  return remembered_ == nullptr || names_.size() >= kWindow || remembered_->count >= NamesRemembered::kMost;
}

bool RelocationPass::is_left_alone(const std::string& directory, const std::string& element) const {
  if (left_alone_ == nullptr) return false;
  return !visit_ || !may_have_to_move(*domain_, {{std::string(account_of_element(element)), domain_->name},
                                                 directory + "/" + element});
}

Task<Result<bool>> RelocationPass::walk(std::string directory, uint32_t depth) {
  std::vector<std::string> folders;
  DirectoryPage page;
  const auto shared = std::make_shared<const std::string>(directory);
  do {
    if (ended_()) co_return false;
    auto next = co_await store_.list(directory, page.next_cookie);
    if (!next && next.error().code() == Code::kNotFound && depth != 0) co_return true;  // removed meanwhile
    if (!next) co_return fail(std::move(next).error());
    page = std::move(*next);
    for (DirectoryEntry& entry : page.entries) {
      if (entry.type != FileType::kDirectory) continue;
      const TreeElement kind = classify_element(entry.name, true);
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) folders.push_back(entry.name);
      if (kind != TreeElement::kAccount) continue;
      if (is_left_alone(directory, entry.name)) {
        left_alone_->fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      names_.emplace(entry.file_id, Name{shared, std::move(entry.name)});
      if (remembered_ != nullptr) ++remembered_->count;
    }
    if (has_enough() && !co_await visit_remembered()) co_return false;
  } while (!page.end);
  folder_count_ += folders.size();
  for (std::string& folder : folders) {
    folder.insert(0, directory + "/");
    if (folders_.size() < kFoldersRemembered) folders_.push_back(folder);
    auto whole = co_await walk(std::move(folder), depth + 1);
    if (!whole || !*whole) co_return whole;
  }
  co_return true;
}

Task<bool> RelocationPass::visit_remembered() {
  while (!names_.empty()) {
    std::vector<SeenAccount> page;
    for (; page.size() < kVisited && !names_.empty(); names_.erase(names_.begin())) {
      const Name& name = names_.begin()->second;
      page.push_back({{std::string(account_of_element(name.element)), domain_->name},
                      *name.directory + "/" + name.element});
      if (remembered_ != nullptr) --remembered_->count;
    }
    if (!co_await visit_(std::move(page))) co_return false;
  }
  co_return true;
}

}  // namespace canopy
