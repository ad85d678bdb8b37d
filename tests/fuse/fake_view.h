// A view for tests: one directory with as many entries as it is told, in pages.
#pragma once

#include "fuse/view.h"

namespace canopy::mount {

class FakeView final : public View {
 public:
  explicit FakeView(size_t entries = 0, size_t a_page = 10) : entries_(entries), a_page_(a_page) {}

  size_t pages = 0;  // so many were asked for

  Task<Result<Found>> lookup(NodeRef, std::string name) override {
    co_return Found{name, {}, false, nullptr};
  }
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef) override {
    co_return Found{node->key, {}, false, nullptr};
  }
  Task<Result<Page>> list(NodeRef, std::string from, Listed) override {
    ++pages;
    const size_t first = from.empty() ? 0 : std::stoul(from);
    Page page;
    for (size_t i = first; i < std::min(first + a_page_, entries_); ++i)
      page.entries.push_back(Entry{std::to_string(i), S_IFREG, std::nullopt});
    page.next = std::to_string(first + page.entries.size());
    page.end = first + page.entries.size() == entries_;
    co_return page;
  }
  Task<Result<OpenFileRef>> open(NodeRef, int) override { co_return std::make_shared<OpenFile>(); }
  Task<Result<std::string>> read(OpenFileRef, uint64_t, size_t) override { co_return std::string(); }

 private:
  size_t entries_, a_page_;
};

}  // namespace canopy::mount
