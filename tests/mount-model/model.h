// Model: a tree of files in memory that answers as POSIX says, errors included. One thread.
//
// Paths are elements joined by '/', below a root that stays. Symbolic links lead nowhere: their targets are
// names that are never made, so a path through one is ENOENT.
#pragma once

#include <fcntl.h>
#include <time.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace canopy::mount_model {

struct ModelNode;
using ModelNodeRef = std::shared_ptr<ModelNode>;

struct ModelNode {
  enum class Kind { kFile, kDirectory, kSymlink };
  Kind kind = Kind::kFile;
  uint32_t mode = 0;
  uint32_t links = 1;                            // of a file or symbolic link
  std::string content;                           // a file's bytes, a link's target
  std::map<std::string, ModelNodeRef> children;  // of a directory
  std::optional<timespec> modified;              // as it was set, until something changes it

  bool is_file() const { return kind == Kind::kFile; }
  bool is_directory() const { return kind == Kind::kDirectory; }
  // As stat counts them: a directory has two of its own, and one of each directory in it.
  uint32_t links_seen() const;

  void write(size_t offset, std::string_view bytes);
  void truncate(size_t size);
  // Zeros; up to the end of the file only when it keeps its size.
  void clear(size_t offset, size_t bytes, bool keep_size);
};

class Model {
 public:
  struct Found {
    int error = 0;  // of the way to the parent
    ModelNodeRef parent;
    std::string name;
    ModelNodeRef node;  // null: the name is free
    // The error of a call that needs the node: of the way to it, or ENOENT.
    int missing() const;
  };

  // `exchanges`: two names can be.
  explicit Model(bool exchanges);
  const ModelNodeRef& root() const { return root_; }
  Found find(const std::string& path) const;
  size_t names() const { return names_; }  // in the whole tree

  // Each answers 0 or an errno.
  int open(const std::string& path, int flags, uint32_t mode, ModelNodeRef& into);  // always O_NOFOLLOW
  int make(const std::string& path, ModelNode::Kind kind, uint32_t mode, std::string target = {});
  int link(const std::string& from, const std::string& to);
  int unlink(const std::string& path);
  int remove_directory(const std::string& path);
  int rename(const std::string& from, const std::string& to, unsigned flags);

 private:
  void attach(const Found& at, ModelNodeRef node);
  void detach(const Found& at);
  static bool lies_in(const ModelNodeRef& node, const ModelNodeRef& directory);

  ModelNodeRef root_;
  size_t names_ = 0;
  const bool exchanges_;
};

}  // namespace canopy::mount_model
