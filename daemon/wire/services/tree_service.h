// The Tree service of canopy.proto: raw files, for the mount. Every method runs on the loop of its
// connection, with that loop's store; open files are the connection's.
#pragma once

#include <memory>
#include <unordered_map>

#include "daemon/store/store.h"
#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"
#include "daemon/wire/services/tree_changes.h"
#include "daemon/wire/services/tree_intents.h"
#include "daemon/wire/services/tree_locks.h"
#include "daemon/wire/services/tree_once.h"
#include "daemon/wire/services/tree_open_files.h"

namespace canopy::wire {

// Of the process' limit of open files (RLIMIT_NOFILE) the files that clients of the tree have open may take
// one part in so many, and those of one connection one part in so many.
inline constexpr size_t kTreeHandlesShare = 2;
inline constexpr size_t kTreeHandlesPerConnectionShare = 4;

class TreeService {
 public:
  explicit TreeService(Node& node) : node_(node), open_files_(node.open_files()) {}
  void add_to(MethodTable& table);  // this must outlive the server
  // Before the server serves. Begins and ends on the first shard's loop.
  Task<Result<void>> start();
  // Removes what nobody needs any more, until `over`. On the first shard's loop.
  Task<void> sweep(const std::atomic<bool>& over);
  Task<void> sweep_once(Shard& shard);

 private:
  struct OpenFile {
    std::string path;
    std::unique_ptr<File> file;
    bool guarded;  // changing it needs a look at the account each time
    FileIdentity identity;
    Loop& loop;
    TreeOpenFiles& table;
    std::atomic<size_t>& count;  // of all that are open
    bool closed = false;         // by the client
    uint64_t last_change = 0;    // that others were told of

    OpenFile(std::string at, std::unique_ptr<File> opened, bool is_guarded, FileIdentity which, Loop& on,
             TreeOpenFiles& in, std::atomic<size_t>& of_all)
        : path(std::move(at)),
          file(std::move(opened)),
          guarded(is_guarded),
          identity(which),
          loop(on),
          table(in),
          count(of_all) {
      table.opened(identity);
      ++count;
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    ~OpenFile() {
      --count;
      table.gone(identity, closed, loop.now());
    }
  };
  using OpenFileRef = std::shared_ptr<OpenFile>;
  struct SessionOfConnection {
    std::string session;  // empty: none yet
  };
  struct OpenFiles {  // of one connection
    std::unordered_map<uint64_t, OpenFileRef> by_handle;
  };

  Task<Result<v1::TreeAttributes>> get_attributes(CallContext& call, const v1::TreePath& request);
  Task<Result<v1::TreeAttributes>> set_attributes(CallContext& call,
                                                  const v1::TreeSetAttributesRequest& request);
  Task<Result<v1::TreeListResponse>> list(CallContext& call, const v1::TreeListRequest& request);
  Task<Result<v1::TreeReadLinkResponse>> read_link(CallContext& call, const v1::TreePath& request);
  Task<Result<v1::TreeAttributes>> make(CallContext& call, const v1::TreeMakeRequest& request);
  Task<Result<v1::Empty>> remove(CallContext& call, const v1::TreeRemoveRequest& request);
  Task<Result<v1::Empty>> rename(CallContext& call, const v1::TreeRenameRequest& request);
  Task<Result<v1::TreeSpace>> get_space(CallContext& call, const v1::TreePath& request);

  Task<Result<v1::TreeAttributes>> open(CallContext& call, const v1::TreeOpenRequest& request);
  Result<void> may_open_more(const std::string& path, size_t on_connection) const;
  Task<Result<Attributes>> create_file(Loop& loop, const v1::TreeOpenRequest& request,
                                       std::unique_ptr<File>& into);
  Task<Result<Attributes>> open_file(Loop& loop, const v1::TreeOpenRequest& request,
                                     std::unique_ptr<File>& into);
  Task<Result<v1::TreeReadResponse>> read(CallContext& call, const v1::TreeReadRequest& request);
  Task<Result<v1::TreeWriteResponse>> write(CallContext& call, const v1::TreeWriteRequest& request);
  Task<Result<v1::TreeAttributes>> allocate(CallContext& call, const v1::TreeAllocateRequest& request);
  Task<Result<v1::TreeSeekResponse>> seek(CallContext& call, const v1::TreeSeekRequest& request);
  Task<Result<v1::Empty>> sync(CallContext& call, const v1::TreeSyncRequest& request);
  Result<v1::Empty> close(CallContext& call, const v1::TreeCloseRequest& request);

  Task<Result<v1::TreeXattrValue>> get_xattr(CallContext& call, const v1::TreeXattrRequest& request);
  Task<Result<v1::TreeXattrNames>> list_xattrs(CallContext& call, const v1::TreePath& request);
  Task<Result<v1::Empty>> set_xattr(CallContext& call, const v1::TreeSetXattrRequest& request);
  Task<Result<v1::Empty>> remove_xattr(CallContext& call, const v1::TreeXattrRequest& request);
  Task<Result<void>> set_xattr_once(std::string path, const v1::TreeSetXattrRequest& request, XattrMode mode);
  Task<Result<std::string>> path_of(CallContext& call, std::string path, uint64_t handle);
  Task<Result<std::string>> path_to_change(CallContext& call, std::string path, uint64_t handle);

  Task<Result<v1::TreeLockResponse>> lock(CallContext& call, const v1::TreeLockRequest& request);
  Task<Result<void>> wait_for_lock(CallContext& call, const FileIdentity& file, TreeLocks::Kind kind,
                                   TreeLocks::Range wanted);
  Task<Result<void>> wait_for_grace(CallContext& call);
  Task<Result<void>> start_locks(Store& first);
  Task<Result<void>> mark_locks();
  Task<void> sweep_locks(Shard& shard);

  Task<Result<v1::TreeWatchResponse>> watch(CallContext& call, const v1::TreeWatchRequest& request);
  Result<void> attach(CallContext& call, const std::string& session);
  static const std::string& session_of(CallContext& call);
  // What a call has changed, for the others.
  void tell_name(CallContext& call, const std::string& path, const FileIdentity& now);
  void tell_content(CallContext& call, const FileIdentity& file);
  void tell_written(CallContext& call, OpenFile& file);

  // Something that a request makes under a name.
  struct NewName {
    enum class Kind { kFile, kDirectory, kSymlink } kind = Kind::kFile;
    std::string path, target;
    uint32_t mode = 0, uid = 0, gid = 0;
    std::string request_id;
    std::unique_ptr<File> file;  // of kFile: open for writing, when it was made
  };
  Task<Result<Attributes>> make_new(Loop& loop, NewName& what);
  Task<Result<Attributes>> make_once(Loop& loop, NewName& what);
  Task<Result<Attributes>> make_now(NewName& what);
  Task<Result<Attributes>> find_made(NewName& what, FileIdentity made);
  Task<Result<void>> link_once(Loop& loop, const v1::TreeMakeRequest& request);
  Task<Result<void>> remove_once(Loop& loop, const v1::TreeRemoveRequest& request);
  Task<Result<void>> rename_once(Loop& loop, const v1::TreeRenameRequest& request, RenameMode mode);
  Task<Result<void>> remove_file(Loop& loop, std::string path, const FileIdentity& expected, bool held);
  Task<Result<void>> replace_file(Loop& loop, const v1::TreeRenameRequest& request, RenameMode mode);
  // As clients see it.
  Attributes seen(Attributes of) const;
  Task<Result<void>> may_pass(std::string from, std::string to);
  Task<bool> was_renamed(const v1::TreeRenameRequest& request);
  Task<std::optional<FileIdentity>> named(std::string path);
  // True: the request has been carried out before; an error: refused before. An empty id is always new.
  Task<Result<bool>> claim(Loop& loop, std::string request_id);
  void settle(const std::string& request_id, const Result<void>& done);
  // True when an earlier process may have got the request.
  bool of_another_epoch(uint64_t epoch) const { return epoch != 0 && epoch != node_.epoch(); }

  Store& store() { return *node_.here().store; }
  static Result<OpenFileRef> file_of(CallContext& call, uint64_t handle);
  Task<Result<void>> may_write(CallContext& call, const OpenFile& file);
  // After a change of this name: when it is an account's, the node looks again at what the account is.
  Task<void> look_again(Loop& loop, std::string path);
  Task<Result<v1::TreeAttributes>> attributes_of(std::string path);
  Task<Result<void>> give_to_caller(const NewName& what);

  Node& node_;
  TreeIntents intents_;
  TreeOnce once_;
  TreeNames names_;
  TreeOpenFiles& open_files_;
  std::atomic<size_t> handles_{0};
  TreeLocks locks_;
  TreeChanges changes_;
  Nanos started_ = 0;
  std::atomic<bool> locks_open_{true};     // to those who held none before the restart
  std::atomic<bool> locks_marked_{false};  // kTreeLocksMark is there
};

// The message for what the store said.
v1::TreeAttributes tree_attributes(const Attributes& attributes);

}  // namespace canopy::wire
