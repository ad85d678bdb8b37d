#include "fuse/open_directory.h"

#include <algorithm>

namespace canopy::mount {

// Marks beyond the page are forgotten: if names came or went meanwhile, entries are counted otherwise now.
Task<Result<void>> OpenDirectory::load(size_t mark, Listed what, size_t wanted) {
  auto page = co_await node_->view->list(node_, marks_[mark].from, what, wanted);
  if (!page) co_return fail(std::move(page).error());
  page_ = std::move(*page);
  what_ = what;
  first_ = marks_[mark].first;
  marks_.resize(mark + 1);
  if (!page_.end) marks_.push_back(Mark{first_ + page_.entries.size(), page_.next});
  co_return Result<void>();
}

size_t OpenDirectory::mark_at_or_before(uint64_t position) const {
  auto after = std::ranges::upper_bound(marks_, position, {}, &Mark::first);
  return static_cast<size_t>(after - marks_.begin()) - 1;
}

// What list() goes on from to answer the entry at `position`, which is in the page, and not its first.
std::optional<std::string> OpenDirectory::cookie_before(uint64_t position) const {
  const uint64_t cookie = entry(position - 1).after;
  if (cookie == 0) return std::nullopt;
  return std::to_string(cookie);
}

Task<Result<void>> OpenDirectory::seek(uint64_t position, Listed what, size_t room) {
  const bool goes_on = what_ == Listed::kAttributes && position == first_ + page_.entries.size();
  const size_t wanted = goes_on && position != 0 ? 0 : room;
  if (position == 0 || marks_.empty()) {
    marks_.assign(1, Mark{0, {}});
    CANOPY_CO_TRY(co_await load(0, what, wanted));
  }
  if (has(position) && what == Listed::kAttributes && what_ == Listed::kNames) {
    size_t mark = mark_at_or_before(position);
    if (marks_[mark].first != position) {
      auto from = cookie_before(position);
      if (!from) co_return Result<void>();
      ++mark;
      marks_.insert(marks_.begin() + static_cast<std::ptrdiff_t>(mark), Mark{position, std::move(*from)});
    }
    co_return co_await load(mark, what, wanted);
  }
  while (!has(position)) {
    const size_t mark = mark_at_or_before(position);
    if (page_.end && marks_[mark].first == first_ && position >= first_) co_return Result<void>();
    CANOPY_CO_TRY(co_await load(mark, what, marks_[mark].first == position ? wanted : 0));
  }
  co_return Result<void>();
}

}  // namespace canopy::mount
