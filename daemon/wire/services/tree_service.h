// The Tree service of canopy.proto: raw files, for the mount. Every method runs on the loop of its
// connection, with that loop's store; open files are the connection's.
#pragma once

#include <memory>
#include <unordered_map>

#include "daemon/store/store.h"
#include "daemon/wire/server/method_table.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

inline constexpr size_t kTreeHandlesPerConnectionMax = 4096;

class TreeService {
 public:
  explicit TreeService(Node& node) : node_(node) {}
  void add_to(MethodTable& table);  // this must outlive the server

 private:
  struct OpenFile {
    std::string path;
    std::unique_ptr<File> file;
    bool guarded;  // writing needs a look at the account each time
  };
  using OpenFileRef = std::shared_ptr<OpenFile>;
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
  Task<Result<v1::TreeReadResponse>> read(CallContext& call, const v1::TreeReadRequest& request);
  Task<Result<v1::TreeWriteResponse>> write(CallContext& call, const v1::TreeWriteRequest& request);
  Task<Result<v1::TreeAttributes>> allocate(CallContext& call, const v1::TreeAllocateRequest& request);
  Task<Result<v1::TreeSeekResponse>> seek(CallContext& call, const v1::TreeSeekRequest& request);
  Task<Result<v1::Empty>> sync(CallContext& call, const v1::TreeSyncRequest& request);
  Result<v1::Empty> close(CallContext& call, const v1::TreeCloseRequest& request);

  Store& store() { return *node_.here().store; }
  static Result<OpenFileRef> file_of(CallContext& call, uint64_t handle);
  Task<Result<void>> may_write(CallContext& call, const OpenFile& file);
  Task<Result<v1::TreeAttributes>> attributes_of(std::string path);
  Task<Result<void>> give_to(std::string path, uint32_t uid, uint32_t gid);

  Node& node_;
};

// The message for what the store said.
v1::TreeAttributes tree_attributes(const Attributes& attributes);

}  // namespace canopy::wire
