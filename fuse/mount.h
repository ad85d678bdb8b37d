// Mount: the kernel's requests answered through the views. It reads /dev/fuse on its loop, starts a task for
// each request, and the task answers; no request waits for another one. For the loop's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "fuse/backend.h"
#include "fuse/node_table.h"
#include "fuse/notifier.h"
#include "fuse/open_directory.h"
#include "fuse/operations.h"
#include "fuse/tree_watch.h"

namespace canopy::mount {

struct MountOptions {
  std::string directory;
  std::string source;                     // as /proc/mounts shows it
  std::vector<std::string> fuse_options;  // "allow_other", "ro", …: as for mount(8)
  double cache_seconds = 0.05;            // how long the kernel may answer from its caches without asking
  double told_seconds = 60;               // the same for what the daemon tells changes of
  size_t nodes_max = 250'000;             // beyond it the kernel is asked to forget some
};

inline constexpr uint32_t kWriteBytesMax = 1u << 20;  // of one request from the kernel, and of a read
// Of requests that nobody waits for in person, as those for what is read ahead, under way at once. Others
// wait behind them: more than those who read from a store that does not answer are likely to send.
inline constexpr uint16_t kBackgroundMax = 1024;

class Mount {
 public:
  // `nodes` is what the views were told of; the root view answers for the mount's own directory.
  Mount(UringLoop& loop, Backend& backend, NodeTable& nodes, MountOptions options);
  ~Mount();

  Result<void> begin();  // mounts
  Task<void> serve();    // until it is unmounted, by anybody
  void unmount();        // serve() ends then

  // For the operations (operations.cpp).
  Loop& loop() const { return loop_; }
  Backend& backend() const { return backend_; }
  NodeTable& nodes() const { return nodes_; }
  double cache_seconds(const Found& of) const;
  // By the kernel, which then asks for a directory's attributes after each change in it. Where only root can
  // come in, modes keep nobody out.
  bool modes_checked() const { return modes_checked_; }
  // Whether the kernel may answer readdir() by what it read before, and whether it may go on to.
  void let_keep_listing(Node& directory, fuse_file_info& info) const;
  // Whether what the kernel has read of the file is what it is now, when it is opened.
  bool keeps_content(Node& node, const OpenFile& file) const;
  Notifier& notifier() { return notifier_; }
  void follow(const TreeWatch& watch) { watch_ = &watch; }  // it must outlive this
  // Of the stores of a raw path; empty: of all. That of all is as the backend said last when it does not
  // answer soon: umount(8) asks for it, and must not wait long.
  Task<Result<v1::TreeSpace>> space(std::string path);
  void shed_nodes();  // asks the kernel to forget some, when there are too many
  uint64_t keep(OpenFileRef file);
  uint64_t keep(std::shared_ptr<OpenDirectory> directory);
  OpenFileRef file(uint64_t handle) const;
  std::shared_ptr<OpenDirectory> directory(uint64_t handle) const;
  void release(uint64_t handle);

 private:
  bool read_requests();  // false: the mount is gone
  bool is_told() const { return watch_ != nullptr && watch_->settled(); }

  UringLoop& loop_;
  Backend& backend_;
  NodeTable& nodes_;
  const MountOptions options_;
  const bool modes_checked_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  std::optional<uint32_t> connection_;  // the kernel's number of it
  std::unordered_map<uint64_t, OpenFileRef> files_;
  std::unordered_map<uint64_t, std::shared_ptr<OpenDirectory>> directories_;
  uint64_t next_handle_ = 1;
  const TreeWatch* watch_ = nullptr;
  std::optional<v1::TreeSpace> space_;
  fuse_buf buffer_ = {};  // of the request that is being read
  unsigned reads_ = 0;
  bool many_waited_ = false;
  Notifier notifier_;
};

}  // namespace canopy::mount
