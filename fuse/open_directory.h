// OpenDirectory: a directory that somebody reads, page by page. Positions are what readdir and seekdir see: 0
// the start, then the number of the next entry. For the mount's loop; one reader at a time (the kernel sees
// to that).
#pragma once

#include "fuse/view.h"

namespace canopy::mount {

class OpenDirectory {
 public:
  explicit OpenDirectory(NodeRef node) : node_(std::move(node)) {}

  const NodeRef& node() const { return node_; }

  // Makes the entry at `position` available, or finds that the directory ends before it (at_end()). From the
  // start the directory is read anew. The reader has room for `room` entries; while it is not known that it
  // goes on, no more attributes than for those are asked for. Where a reader that had names goes on to ask
  // for attributes, the entries of the page may lack them. Memory: one page, and a mark for each page that
  // was read.
  Task<Result<void>> seek(uint64_t position, Listed what, size_t room);
  bool at_end(uint64_t position) const { return position >= first_ + page_.entries.size(); }
  const Entry& entry(uint64_t position) const { return page_.entries[position - first_]; }

 private:
  struct Mark {
    uint64_t first;
    std::string from;
  };
  Task<Result<void>> load(size_t mark, Listed what, size_t wanted);
  bool has(uint64_t position) const { return position >= first_ && !at_end(position); }
  std::optional<std::string> cookie_before(uint64_t position) const;
  size_t mark_at_or_before(uint64_t position) const;

  NodeRef node_;
  std::vector<Mark>
      marks_;  // where pages begin, in order; the last one is that of the next page, unless none is
  Page page_;
  Listed what_ = Listed::kNames;  // what page_ was asked for
  uint64_t first_ = 0;            // the position of page_'s first entry
};

}  // namespace canopy::mount
