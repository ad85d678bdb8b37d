// Extended attributes in the Tree service.
#include <algorithm>
#include <cerrno>

#include "daemon/wire/services/tree_guard.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {
namespace {

// security.* is one machine's own business, and would give files of this machine rights (capabilities).
bool is_offered(std::string_view name) {
  return name.starts_with("user.") || name.starts_with("trusted.") || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

Result<void> check_offered(const std::string& name) {
  if (is_offered(name)) return {};
  return fail(Code::kUnsupported, name, "attributes here are user., trusted. and system.posix_acl_");
}

Result<XattrMode> mode_of(v1::TreeSetXattrRequest::Mode mode) {
  switch (mode) {
    case v1::TreeSetXattrRequest::ANY: return XattrMode::kAny;
    case v1::TreeSetXattrRequest::CREATE: return XattrMode::kCreate;
    case v1::TreeSetXattrRequest::REPLACE: return XattrMode::kReplace;
    default: return fail(Code::kInvalidArgument, "mode", "it is ANY, CREATE or REPLACE");
  }
}

}  // namespace

// Where the store has what a request means. An open file that has lost its last name has one in
// .canopy/unlinked; what bears the name under which it was opened is perhaps another by now.
Task<Result<std::string>> TreeService::path_of(CallContext& call, std::string path, uint64_t handle) {
  if (handle == 0) {
    CANOPY_CO_TRY(check_raw_path(path));
    co_return path;
  }
  CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, handle));
  if (open_files_.is_kept(open->identity)) co_return unlinked_path(open->identity);
  if (co_await named(open->path) == open->identity) co_return open->path;
  co_return std::unexpected<Error>(
      Error(Code::kNotFound, open->path, "the open file has another name now", ESTALE));
}

Task<Result<std::string>> TreeService::path_to_change(CallContext& call, std::string path, uint64_t handle) {
  auto at = co_await path_of(call, std::move(path), handle);
  if (!at) co_return at;
  std::string guarded = *at;
  if (handle != 0) {
    CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, handle));
    guarded = open->path;
  }
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), std::move(guarded)));
  co_return at;
}

Task<Result<v1::TreeXattrValue>> TreeService::get_xattr(CallContext& call,
                                                        const v1::TreeXattrRequest& request) {
  CANOPY_CO_ASSIGN(std::string path, co_await path_of(call, request.path(), request.handle()));
  CANOPY_CO_TRY(check_offered(request.name()));
  auto value = co_await store().xattr(std::move(path), request.name());
  if (!value) co_return fail(std::move(value).error());
  v1::TreeXattrValue out;
  out.set_value(std::move(*value));
  co_return out;
}

Task<Result<v1::TreeXattrNames>> TreeService::list_xattrs(CallContext& call, const v1::TreePath& request) {
  CANOPY_CO_ASSIGN(std::string path, co_await path_of(call, request.path(), request.handle()));
  auto names = co_await store().list_xattrs(std::move(path));
  if (!names) co_return fail(std::move(names).error());
  v1::TreeXattrNames out;
  for (std::string& name : *names)
    if (is_offered(name)) out.add_names(std::move(name));
  co_return out;
}

// Repeated after another process may have done it, what it was to do is what is there.
Task<Result<void>> TreeService::set_xattr_once(std::string path, const v1::TreeSetXattrRequest& request,
                                               XattrMode mode) {
  if (of_another_epoch(request.epoch()) && mode == XattrMode::kCreate) {
    auto there = co_await store().xattr(path, request.name());
    if (there && *there == request.value()) co_return Result<void>();
  }
  co_return co_await store().set_xattr(std::move(path), request.name(), request.value(), mode, Durable::kNo);
}

Task<Result<v1::Empty>> TreeService::set_xattr(CallContext& call, const v1::TreeSetXattrRequest& request) {
  CANOPY_CO_TRY(check_offered(request.name()));
  CANOPY_CO_ASSIGN(const XattrMode mode, mode_of(request.mode()));
  CANOPY_CO_ASSIGN(std::string path, co_await path_to_change(call, request.path(), request.handle()));
  CANOPY_CO_ASSIGN(const bool before, co_await claim(call.loop(), request.request_id()));
  if (before) co_return v1::Empty();
  auto done = co_await set_xattr_once(path, request, mode);
  settle(request.request_id(), done);
  if (!done) co_return fail(std::move(done).error());
  if (auto file = co_await named(std::move(path))) tell_content(call, *file);
  co_return v1::Empty();
}

Task<Result<v1::Empty>> TreeService::remove_xattr(CallContext& call, const v1::TreeXattrRequest& request) {
  CANOPY_CO_TRY(check_offered(request.name()));
  CANOPY_CO_ASSIGN(std::string path, co_await path_to_change(call, request.path(), request.handle()));
  CANOPY_CO_ASSIGN(const bool before, co_await claim(call.loop(), request.request_id()));
  if (before) co_return v1::Empty();
  auto done = co_await store().remove_xattr(path, request.name(), Durable::kNo);
  if (!done && done.error().error_number() == ENODATA && of_another_epoch(request.epoch()))
    done = Result<void>();  // an earlier process has done it, or there is nothing to do
  settle(request.request_id(), done);
  if (!done) co_return fail(std::move(done).error());
  if (auto file = co_await named(std::move(path))) tell_content(call, *file);
  co_return v1::Empty();
}

}  // namespace canopy::wire
