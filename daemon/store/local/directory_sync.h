// Group commit of directories: while one fsync of a directory is under way, all who come wait for the next
// one and share it.
#pragma once

#include <coroutine>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/store/local/blocking.h"

namespace canopy::local {

class DirectorySync {
 public:
  explicit DirectorySync(Blocking& calls) : calls_(calls) {}
  ~DirectorySync();

  // Every name changed in the directory before this call is durable when it answers. `fd` is open for
  // reading.
  Task<Result<void>> sync(int fd, std::string object);

  uint64_t asked() const { return asked_; }    // calls of sync()
  uint64_t issued() const { return issued_; }  // fsyncs that the kernel got

 private:
  struct Round;
  struct Waiter;
  struct Group {
    std::shared_ptr<Round> running, next;
  };
  using Key = std::pair<uint64_t, uint64_t>;  // device and inode

  void finish(Key key, Group& group, Result<void> result);

  Blocking& calls_;
  std::map<Key, Group> groups_;  // directories with a sync under way
  uint64_t asked_ = 0, issued_ = 0;
};

}  // namespace canopy::local
