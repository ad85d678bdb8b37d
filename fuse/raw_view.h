// RawView: SharedDomains and Settings as they lie, through the Tree service (docs/protocol/tree.md).
#pragma once

#include "fuse/backend.h"
#include "fuse/known_names.h"
#include "fuse/node_table.h"
#include "fuse/view.h"

namespace canopy::mount {

inline constexpr size_t kRawPathBytesMax = 4000;  // docs/protocol/tree.md
// No path has more. Names that are out of date may lead around in a circle: whoever goes up from a node ends
// there.
inline constexpr size_t kRawPathElementsMax = kRawPathBytesMax / 2;

// A raw node's key is its inode and its birth.
std::string key_of(const v1::TreeIdentity& of);
void fill_identity(const std::string& key, v1::TreeIdentity& out);

class RawView final : public View {
 public:
  RawView(Backend& backend, NodeTable*& nodes)
      : backend_(backend), nodes_(nodes), names_(backend.loop(), [this](NodeRef directory, std::string from) {
          return list(std::move(directory), std::move(from), Listed::kNames, 0);
        }) {}

  // The node for SharedDomains or Settings.
  Task<Result<Found>> top(std::string name);

  bool prefers_open_files() const override { return true; }  // others may have changed the names
  std::string space_path(const Node& node) const override { return path_of(node).value_or(""); }
  // Only where the store does not tell when a file was born.
  bool key_may_return(std::string_view key) const override { return key.ends_with(".0.0"); }
  Task<Result<Found>> lookup(NodeRef directory, std::string name) override;
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef file) override;
  Task<Result<Page>> list(NodeRef directory, std::string from, Listed listed, size_t wanted) override;
  Task<Result<OpenFileRef>> open(NodeRef node, int flags) override;
  Task<Result<std::string>> read(OpenFileRef file, uint64_t offset, size_t bytes) override;
  Task<Result<Found>> set_attributes(NodeRef node, OpenFileRef file, AttributeChange change) override;
  Task<Result<Created>> create(NodeRef directory, std::string name, mode_t mode, int flags,
                               Caller caller) override;
  Task<Result<Written>> write(OpenFileRef file, uint64_t offset, std::string bytes, bool append) override;
  Task<Result<void>> sync(OpenFileRef file) override;
  Task<Result<void>> sync_directory(NodeRef directory) override;
  Task<Result<Found>> make_directory(NodeRef directory, std::string name, mode_t mode,
                                     Caller caller) override;
  Task<Result<Found>> make_symlink(NodeRef directory, std::string name, std::string target,
                                   Caller caller) override;
  Task<Result<Found>> link(NodeRef node, NodeRef directory, std::string name) override;
  Task<Result<void>> remove(NodeRef directory, std::string name, bool is_directory) override;
  Task<Result<void>> rename(NodeRef from, std::string name, NodeRef to, std::string new_name,
                            unsigned flags) override;
  Task<Result<std::string>> read_link(NodeRef node) override;
  Task<Result<void>> allocate(OpenFileRef file, int mode, uint64_t offset, uint64_t bytes) override;
  Task<Result<uint64_t>> seek(OpenFileRef file, uint64_t offset, bool hole) override;
  Task<Result<std::string>> get_xattr(NodeRef node, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattr(NodeRef node) override;
  Task<Result<void>> set_xattr(NodeRef node, std::string name, std::string value, int flags) override;
  Task<Result<void>> remove_xattr(NodeRef node, std::string name) override;
  Task<Result<void>> lock(NodeRef node, FileLock lock, wire::Cancellation& cancellation) override;
  Task<Result<void>> unlock(NodeRef node, FileLock range) override;
  Task<Result<std::optional<FileLock>>> lock_in_the_way(NodeRef node, FileLock lock) override;
  bool holds_lock(const Node& node, const FileLock& of) const override;

  KnownDirectories& names() { return names_; }

  // After a lost connection, with which the daemon has lost them.
  Task<void> reopen_all();
  Task<void> take_locks_again();

 private:
  struct File;

  Result<std::string> path_of(const Node& node) const;
  Result<void> next_name(Node& node, const std::string& path);
  Result<std::string> path_in(const Node& directory, const std::string& name) const;
  Task<Result<void>> reopen(File& file);
  Task<Result<void>> reopen_if_lost(OpenFileRef file);
  v1::TreeLockRequest lock_request(const std::string& key, const FileLock& lock) const;
  Task<Result<void>> send_unlock(std::string key, FileLock range);
  Task<Result<bool>> put_back_locks(NodeRef node, FileLock wanted);
  Task<Result<Created>> open_at(std::string path, bool create, bool exclusive, mode_t mode, int flags,
                                Caller caller, std::string expected = {});
  template <class Request>
  void name_request(Request& request) const;
  bool is_open(const NodeRef& directory, const std::string& name) const;
  Task<void> expect(NodeRef directory, std::string name, v1::TreeIdentity* into);
  static Task<void> close(Backend& backend, uint64_t handle);
  // Calls a method of the Tree service with the file's handle; opens the file again when the connection on
  // which it was open has gone.
  template <class Request, class Response>
  using Method = Task<Result<Response>> (wire::TreeStub::*)(const Request&, wire::CallOptions) const;
  template <class Request, class Response>
  Task<Result<Response>> on_handle(OpenFileRef file, Method<Request, Response> method, Request& request);

  template <class Request, class Response>
  Task<Result<Response>> on_node(NodeRef node, Method<Request, Response> method, Request& request);

  Backend& backend_;
  NodeTable*& nodes_;
  KnownDirectories names_;
  HeldLocks locks_;
  std::unordered_map<const OpenFile*, std::weak_ptr<OpenFile>> files_;  // that are open
};

}  // namespace canopy::mount
