// View: one part of what the mount shows, behind the kernel's requests: the raw tree, or the accounts as
// folders of messages. A node is a thing that the kernel knows by number; names and numbers are kept by the
// node table, what lies behind them is the view's. Everything is for the mount's loop. Errors' error_number()
// is what the caller sees.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/runtime/task.h"
#include "daemon/wire/client/rpc_connection.h"
#include "fuse/held_locks.h"

namespace canopy::mount {

class View;
struct Node;
struct KnownNames;
using NodeRef = std::shared_ptr<Node>;

// Under which name a node is found. A file with several links has several.
struct NodeName {
  NodeRef parent;
  std::string name;
};

// A state of a file's bytes, as its attributes tell it.
struct ContentState {
  int64_t size = 0;
  int64_t modified = 0, changed = 0;  // ns
  bool operator==(const ContentState&) const = default;
};

struct Node {
  View* view = nullptr;
  std::string key;              // what it is, unique in its view
  std::vector<NodeName> names;  // empty: its last name is gone
  uint64_t number = 0;          // as the kernel knows it
  uint64_t lookups = 0;         // that the kernel has not forgotten
  std::vector<uint64_t> open;   // the mount's handles of its open files
  bool told = false;            // as in Found
  Nanos listed = 0;             // when the kernel last began to keep the directory's names
  bool directory = false;
  uint64_t links = 1;  // names that it had when that was told last
  // Whose bytes the kernel may have in its cache: those of no earlier state. Empty: not known.
  std::optional<ContentState> content;
  std::shared_ptr<KnownNames> known_names;  // of a directory; null: nothing
};

// What a view found: the kernel's attributes, and which node it is.
struct Found {
  std::string key;
  struct stat attributes = {};
  bool immutable = false;  // content that never changes: the kernel may keep it
  View* view = nullptr;    // whose it is; null: the view that was asked
  bool told = false;       // the daemon tells of changes by others: the kernel may keep it for longer
  std::shared_ptr<KnownNames> known_names = nullptr;  // of a directory that was just made
};

struct Entry {
  std::string name;
  mode_t type = 0;               // S_IFDIR and so on
  std::unique_ptr<Found> found;  // null: not known without asking
  ino_t inode = 0;               // where `found` is null; 0: not known
  uint64_t after = 0;            // in decimal what list() goes on from behind it; 0: not known
};

enum class Listed { kNames, kAttributes };  // kNames: Entry::found may be null

// A page of a directory; `next` goes into the call for the one after it.
struct Page {
  std::vector<Entry> entries;
  std::string next;
  bool end = false;
};

// An open file, as the view needs it. Released on the loop, at any time.
struct OpenFile {
  virtual ~OpenFile() = default;
  NodeRef node;
  bool keep_cache = false;
  std::optional<ContentState> content;  // of the file when it was opened, where the daemon tells of changes
  bool direct = false;
  bool parallel = false;              // with `direct`: writes through it need not wait for one another
  bool no_flush = false;              // closing it has nothing to say
  std::vector<uint64_t> lock_owners;  // who has asked for fcntl(2) locks through it
  uint64_t writer = 0;                // the process that wrote last, by its lock owner; 0: none
};
using OpenFileRef = std::shared_ptr<OpenFile>;

struct AttributeChange {  // what is absent stays; times: nanoseconds in tv_nsec, already resolved ("now" too)
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;
  std::optional<timespec> accessed, modified;
};

struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct Closer {        // waits until it is answered
  uint64_t owner = 0;  // the process, as in OpenFile::writer
  pid_t thread = 0;    // 0: of another pid namespace
};

struct Created {
  Found found;
  OpenFileRef file;
};

// What a view does not offer answers EPERM, or what POSIX gives to a file system that lacks it.
class View {
 public:
  virtual ~View() = default;

  // Whether a file's key may be another one's after its last name and opening are gone.
  virtual bool key_may_return(std::string_view) const { return true; }
  // Whether attributes are rather asked for through an open file, where there is one, than by name.
  virtual bool prefers_open_files() const { return false; }
  // The raw path whose stores' space is a node's; empty: that of the whole tree is.
  virtual std::string space_path(const Node&) const { return ""; }

  virtual Task<Result<Found>> lookup(NodeRef directory, std::string name) = 0;
  virtual Task<Result<Found>> attributes(NodeRef node, OpenFileRef file) = 0;  // file: may be null
  // `from`: empty at first. `wanted`: so many entries are enough where attributes cost something; 0: a page.
  virtual Task<Result<Page>> list(NodeRef directory, std::string from, Listed listed, size_t wanted) = 0;
  virtual Task<Result<OpenFileRef>> open(NodeRef node, int flags) = 0;
  virtual Task<Result<std::string>> read(OpenFileRef file, uint64_t offset, size_t bytes) = 0;

  virtual Task<Result<Found>> set_attributes(NodeRef node, OpenFileRef file, AttributeChange change);
  virtual Task<Result<Created>> create(NodeRef directory, std::string name, mode_t mode, int flags,
                                       Caller caller);
  // append: at the end of the file, wherever that is; `offset` is where the kernel believes that it is.
  struct Written {
    size_t bytes = 0;
    bool elsewhere = false;  // an append went to another place than `offset`
  };
  virtual Task<Result<Written>> write(OpenFileRef file, uint64_t offset, std::string bytes, bool append);
  virtual Task<Result<void>> sync(OpenFileRef file);
  // Some process has closed a descriptor of the file, which may stay open for others: what close() answers.
  virtual Task<Result<void>> flush(OpenFileRef file, Closer closer);
  virtual Task<Result<void>> sync_directory(NodeRef directory);
  virtual Task<Result<Found>> make_directory(NodeRef directory, std::string name, mode_t mode, Caller caller);
  virtual Task<Result<Found>> make_symlink(NodeRef directory, std::string name, std::string target,
                                           Caller caller);
  virtual Task<Result<Found>> link(NodeRef node, NodeRef directory, std::string name);
  virtual Task<Result<void>> remove(NodeRef directory, std::string name, bool is_directory);
  virtual Task<Result<void>> rename(NodeRef from, std::string name, NodeRef to, std::string new_name,
                                    unsigned flags);
  virtual Task<Result<std::string>> read_link(NodeRef node);
  virtual Task<Result<void>> allocate(OpenFileRef file, int mode, uint64_t offset, uint64_t bytes);
  virtual Task<Result<uint64_t>> seek(OpenFileRef file, uint64_t offset, bool hole);
  virtual Task<Result<std::string>> get_xattr(NodeRef node, std::string name);
  virtual Task<Result<std::vector<std::string>>> list_xattr(NodeRef node);
  virtual Task<Result<void>> set_xattr(NodeRef node, std::string name, std::string value, int flags);
  virtual Task<Result<void>> remove_xattr(NodeRef node, std::string name);
  // Waits where the lock says so, until it is cancelled (EINTR).
  virtual Task<Result<void>> lock(NodeRef node, FileLock lock, wire::Cancellation& cancellation);
  virtual Task<Result<void>> unlock(NodeRef node, FileLock range);
  virtual Task<Result<std::optional<FileLock>>> lock_in_the_way(NodeRef node, FileLock lock);
  virtual bool holds_lock(const Node& node, const FileLock& of) const;  // of its owner and kind
};

// An errno with the object that it is about.
std::unexpected<Error> refuse(int error_number, std::string object, std::string message);

}  // namespace canopy::mount
