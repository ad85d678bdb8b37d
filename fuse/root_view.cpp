#include "fuse/root_view.h"

#include <cerrno>

#include "daemon/tree/layout.h"

namespace canopy::mount {

constexpr std::string_view kAccountsName = "accounts";

Task<Result<Found>> RootView::lookup(NodeRef, std::string name) {
  if (name == kAccountsName) {
    Found found = accounts_.top();
    found.view = &accounts_;
    co_return found;
  }
  if (name != kTreeRoot && name != kSettingsRoot) co_return refuse(ENOENT, name, "there is no such thing");
  auto found = co_await raw_.top(std::move(name));
  if (found) found->view = &raw_;
  co_return found;
}

Task<Result<Found>> RootView::attributes(NodeRef, OpenFileRef) {
  Found found = accounts_.top();
  found.key.clear();
  found.attributes.st_ino = NodeTable::kRoot;
  found.attributes.st_mode = S_IFDIR | 0755;
  found.attributes.st_nlink = 5;
  co_return found;
}

Task<Result<Page>> RootView::list(NodeRef, std::string, Listed, size_t) {
  Page page;
  for (std::string_view name : {kTreeRoot, kSettingsRoot, kAccountsName})
    page.entries.push_back(Entry{std::string(name), S_IFDIR, nullptr});
  page.end = true;
  co_return page;
}

Task<Result<OpenFileRef>> RootView::open(NodeRef, int) { co_return refuse(EISDIR, "/", "is a directory"); }

Task<Result<std::string>> RootView::read(OpenFileRef, uint64_t, size_t) {
  co_return refuse(EISDIR, "/", "is a directory");
}

}  // namespace canopy::mount
