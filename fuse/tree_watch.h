// TreeWatch: follows what others change in the raw tree, and tells the kernel. While it does, the kernel may
// keep what it was told for longer. For the mount's loop.
#pragma once

#include "fuse/node_table.h"
#include "fuse/notifier.h"
#include "fuse/raw_view.h"

namespace canopy::mount {

// The kernel is to ask again for every name below that directory: while it had no name, or another one than
// was known here, nothing was told of them.
void expire_below(const NodeTable& nodes, Notifier& notifier, const Node& directory);

class TreeWatch {
 public:
  TreeWatch(Backend& backend, NodeTable& nodes, RawView& raw, Notifier& notifier)
      : backend_(backend), nodes_(nodes), raw_(raw), notifier_(notifier) {}

  Task<void> run();  // for ever
  // Changes are being followed, and none has come for a moment: an answer that is on its way is not older
  // than a change that the kernel was already told of.
  bool settled() const;

 private:
  void apply(const v1::TreeChange& change);
  void name_changed(const std::string& path, const std::string& key_now);
  void name_moved(const v1::TreeChange& change);
  void forget_name(const NodeRef& directory, const std::string& name);
  void expire_all();
  // The directory that holds the path's last element, when the kernel knows it.
  NodeRef directory_of(std::string_view path) const;

  Backend& backend_;
  NodeTable& nodes_;
  RawView& raw_;
  Notifier& notifier_;
  bool live_ = false;
  uint64_t epoch_ = 0, cursor_ = 0;
  Nanos changed_ = 0;  // when the last change came
};

}  // namespace canopy::mount
