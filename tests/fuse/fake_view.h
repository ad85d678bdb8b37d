// A view for tests: one directory with as many entries as it is told, in pages.
#pragma once

#include <set>

#include "fuse/view.h"

namespace canopy::mount {

class FakeView final : public View {
 public:
  explicit FakeView(size_t entries = 0, size_t a_page = 10) : entries_(entries), a_page_(a_page) {}

  bool keys_return = true;
  bool key_may_return(std::string_view) const override { return keys_return; }

  size_t pages = 0;  // so many were asked for
  bool has_cookies = true;
  std::set<size_t> gone;

  Task<Result<Found>> lookup(NodeRef, std::string name) override {
    co_return Found{name, {}, false, nullptr};
  }
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef) override {
    co_return Found{node->key, {}, false, nullptr};
  }
  Task<Result<Page>> list(NodeRef, std::string from, Listed listed, size_t wanted) override {
    ++pages;
    const size_t first = from.empty() ? 0 : std::stoul(from);
    const bool few = listed == Listed::kAttributes && wanted != 0;
    Page page;
    size_t i = first;
    for (; i < entries_ && page.entries.size() < (few ? std::min(wanted, a_page_) : a_page_); ++i) {
      if (gone.contains(i)) continue;
      Entry& entry = page.entries.emplace_back(std::to_string(i), S_IFREG);
      if (listed == Listed::kAttributes) entry.found = std::make_unique<Found>();
      if (has_cookies) entry.after = i + 1;
    }
    page.next = std::to_string(i);
    page.end = i >= entries_;
    co_return page;
  }
  Task<Result<OpenFileRef>> open(NodeRef, int) override { co_return std::make_shared<OpenFile>(); }
  Task<Result<std::string>> read(OpenFileRef, uint64_t, size_t) override { co_return std::string(); }

 private:
  size_t entries_, a_page_;
};

}  // namespace canopy::mount
