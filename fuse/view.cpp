#include "fuse/view.h"

#include <cerrno>

namespace canopy::mount {

std::unexpected<Error> refuse(int error_number, std::string object, std::string message) {
  return std::unexpected<Error>(
      Error(code_from_errno(error_number), std::move(object), std::move(message), error_number));
}

namespace {

std::unexpected<Error> not_here(std::string object) {
  return refuse(EPERM, std::move(object), "this part of the mount does not offer that operation");
}
std::unexpected<Error> lacking(std::string object) {
  return refuse(EOPNOTSUPP, std::move(object), "this part of the mount does not offer that operation");
}

}  // namespace

Task<Result<Found>> View::set_attributes(NodeRef node, OpenFileRef, AttributeChange) {
  co_return not_here(node->key);
}
Task<Result<Created>> View::create(NodeRef, std::string name, mode_t, int, Caller) {
  co_return not_here(name);
}
Task<Result<View::Written>> View::write(OpenFileRef file, uint64_t, std::string, bool) {
  co_return not_here(file->node->key);
}
Task<Result<void>> View::sync(OpenFileRef) { co_return Result<void>(); }
Task<Result<void>> View::flush(OpenFileRef, Closer) { co_return Result<void>(); }
Task<Result<void>> View::sync_directory(NodeRef) { co_return Result<void>(); }
Task<Result<Found>> View::make_directory(NodeRef, std::string name, mode_t, Caller) {
  co_return not_here(name);
}
Task<Result<Found>> View::make_symlink(NodeRef, std::string name, std::string, Caller) {
  co_return not_here(name);
}
Task<Result<Found>> View::link(NodeRef, NodeRef, std::string name) { co_return not_here(name); }
Task<Result<void>> View::remove(NodeRef, std::string name, bool) { co_return not_here(name); }
Task<Result<void>> View::rename(NodeRef, std::string name, NodeRef, std::string, unsigned) {
  co_return not_here(name);
}
Task<Result<std::string>> View::read_link(NodeRef node) {
  co_return refuse(EINVAL, node->key, "not a symbolic link");
}
Task<Result<void>> View::allocate(OpenFileRef file, int, uint64_t, uint64_t) {
  co_return lacking(file->node->key);
}
Task<Result<uint64_t>> View::seek(OpenFileRef file, uint64_t, bool) { co_return lacking(file->node->key); }
Task<Result<std::string>> View::get_xattr(NodeRef node, std::string) {
  co_return refuse(ENODATA, node->key, "it has no such attribute");
}
Task<Result<std::vector<std::string>>> View::list_xattr(NodeRef) { co_return std::vector<std::string>(); }
Task<Result<void>> View::set_xattr(NodeRef node, std::string, std::string, int) {
  co_return lacking(node->key);
}
Task<Result<void>> View::remove_xattr(NodeRef node, std::string) { co_return lacking(node->key); }
Task<Result<void>> View::lock(NodeRef node, FileLock, wire::Cancellation&) { co_return lacking(node->key); }
Task<Result<void>> View::unlock(NodeRef, FileLock) { co_return Result<void>(); }
Task<Result<std::optional<FileLock>>> View::lock_in_the_way(NodeRef node, FileLock) {
  co_return lacking(node->key);
}
bool View::holds_lock(const Node&, const FileLock&) const { return false; }

}  // namespace canopy::mount
