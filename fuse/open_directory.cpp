#include "fuse/open_directory.h"

#include <algorithm>

namespace canopy::mount {

Task<Result<void>> OpenDirectory::load(size_t mark, Listed what) {
  auto page = co_await node_->view->list(node_, marks_[mark].from, what);
  if (!page) co_return fail(std::move(page).error());
  page_ = std::move(*page);
  what_ = what;
  first_ = marks_[mark].first;
  if (mark + 1 == marks_.size() && !page_.end)
    marks_.push_back(Mark{first_ + page_.entries.size(), page_.next});
  co_return Result<void>();
}

Task<Result<void>> OpenDirectory::seek(uint64_t position, Listed what) {
  if (position == 0 || marks_.empty()) {
    marks_.assign(1, Mark{0, {}});
    CANOPY_CO_TRY(co_await load(0, what));
  }
  auto is_here = [&] {
    const bool enough = what == Listed::kNames || what_ == Listed::kAttributes;
    return enough && position >= first_ && position < first_ + page_.entries.size();
  };
  while (!is_here()) {
    // The last page that begins at or before it.
    auto after = std::ranges::upper_bound(marks_, position, {}, &Mark::first);
    const size_t mark = static_cast<size_t>(after - marks_.begin()) - 1;
    if (page_.end && marks_[mark].first == first_ && position >= first_) co_return Result<void>();
    const size_t known = marks_.size();
    CANOPY_CO_TRY(co_await load(mark, what));
    const bool beyond = position >= first_ + page_.entries.size();
    if (beyond && (page_.end || marks_.size() == known)) co_return Result<void>();
  }
  co_return Result<void>();
}

}  // namespace canopy::mount
