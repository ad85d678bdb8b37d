#include "daemon/wire/services/tree_service.h"

#include <sys/stat.h>

#include "daemon/tree/layout.h"
#include "daemon/wire/services/tree_guard.h"

namespace canopy::wire {
namespace {

uint32_t type_bits(FileType type) {
  switch (type) {
    case FileType::kRegular: return S_IFREG;
    case FileType::kDirectory: return S_IFDIR;
    case FileType::kSymlink: return S_IFLNK;
    case FileType::kOther: return S_IFIFO;
  }
  return S_IFREG;
}

void fill_time(const FileTime& time, v1::TreeTime& out) {
  out.set_seconds(time.seconds);
  out.set_nanoseconds(time.nanoseconds);
}

std::optional<FileTime> time_of(bool given, const v1::TreeTime& time) {
  if (!given) return std::nullopt;
  return FileTime{time.seconds(), time.nanoseconds()};
}

void fill_attributes(const Attributes& in, v1::TreeAttributes& out) {
  out.set_mode(in.mode | type_bits(in.type));
  out.set_links(in.links);
  out.set_uid(in.uid);
  out.set_gid(in.gid);
  out.set_size(in.size);
  out.set_allocated(in.allocated);
  out.set_file_id(in.file_id);
  fill_time(in.accessed, *out.mutable_accessed());
  fill_time(in.modified, *out.mutable_modified());
  fill_time(in.changed, *out.mutable_changed());
  fill_time(in.born, *out.mutable_born());
}

}  // namespace

v1::TreeAttributes tree_attributes(const Attributes& attributes) {
  v1::TreeAttributes out;
  fill_attributes(attributes, out);
  return out;
}

void TreeService::add_to(MethodTable& table) {
  constexpr std::string_view kService = "canopy.v1.Tree";
  table.add<v1::TreePath, v1::TreeAttributes>(kService, "GetAttributes", this, &TreeService::get_attributes);
  table.add<v1::TreeSetAttributesRequest, v1::TreeAttributes>(kService, "SetAttributes", this,
                                                              &TreeService::set_attributes);
  table.add<v1::TreeListRequest, v1::TreeListResponse>(kService, "List", this, &TreeService::list);
  table.add<v1::TreePath, v1::TreeReadLinkResponse>(kService, "ReadLink", this, &TreeService::read_link);
  table.add<v1::TreeMakeRequest, v1::TreeAttributes>(kService, "Make", this, &TreeService::make);
  table.add<v1::TreeRemoveRequest, v1::Empty>(kService, "Remove", this, &TreeService::remove);
  table.add<v1::TreeRenameRequest, v1::Empty>(kService, "Rename", this, &TreeService::rename);
  table.add<v1::TreePath, v1::TreeSpace>(kService, "GetSpace", this, &TreeService::get_space);
  table.add<v1::TreeOpenRequest, v1::TreeAttributes>(kService, "Open", this, &TreeService::open);
  table.add<v1::TreeReadRequest, v1::TreeReadResponse>(kService, "Read", this, &TreeService::read);
  table.add<v1::TreeWriteRequest, v1::TreeWriteResponse>(kService, "Write", this, &TreeService::write);
  table.add<v1::TreeAllocateRequest, v1::TreeAttributes>(kService, "Allocate", this, &TreeService::allocate);
  table.add<v1::TreeSeekRequest, v1::TreeSeekResponse>(kService, "Seek", this, &TreeService::seek);
  table.add<v1::TreeSyncRequest, v1::Empty>(kService, "Sync", this, &TreeService::sync);
  table.add<v1::TreeCloseRequest, v1::Empty>(kService, "Close", this, &TreeService::close);
}

Task<Result<v1::TreeAttributes>> TreeService::attributes_of(std::string path) {
  auto found = co_await store().attributes(std::move(path));
  if (!found) co_return fail(std::move(found).error());
  co_return tree_attributes(*found);
}

// What the daemon makes belongs to its own user at first.
Task<Result<void>> TreeService::give_to(std::string path, uint32_t uid, uint32_t gid) {
  if (uid == geteuid() && gid == getegid()) co_return Result<void>();
  co_return co_await store().set_attributes(std::move(path), SetAttributes{.uid = uid, .gid = gid},
                                            Durable::kNo);
}

Task<Result<v1::TreeAttributes>> TreeService::get_attributes(CallContext& call, const v1::TreePath& request) {
  if (request.handle() != 0) {
    CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
    auto found = co_await open->file->attributes();
    if (!found) co_return fail(std::move(found).error());
    co_return tree_attributes(*found);
  }
  CANOPY_CO_TRY(check_raw_path(request.path()));
  co_return co_await attributes_of(request.path());
}

Task<Result<v1::TreeAttributes>> TreeService::set_attributes(CallContext& call,
                                                             const v1::TreeSetAttributesRequest& request) {
  SetAttributes change;
  if ((request.which() & 1) != 0) change.mode = request.mode() & 07777;
  if ((request.which() & 2) != 0) change.uid = request.uid();
  if ((request.which() & 4) != 0) change.gid = request.gid();
  if ((request.which() & 8) != 0) change.size = request.size();
  change.accessed = time_of(request.has_accessed(), request.accessed());
  change.modified = time_of(request.has_modified(), request.modified());
  for (const auto* time : {&change.accessed, &change.modified}) {
    if (*time && (*time)->nanoseconds >= 1'000'000'000)
      co_return fail(Code::kInvalidArgument, "nanoseconds", "they are below 1,000,000,000");
  }
  if (request.handle() != 0) {
    CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
    CANOPY_CO_TRY(co_await may_write(call, *open));
    CANOPY_CO_TRY(co_await open->file->set_attributes(change, Durable::kNo));
    auto after = co_await open->file->attributes();
    if (!after) co_return fail(std::move(after).error());
    co_return tree_attributes(*after);
  }
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  CANOPY_CO_TRY(co_await store().set_attributes(request.path(), change, Durable::kNo));
  co_return co_await attributes_of(request.path());
}

Task<Result<v1::TreeListResponse>> TreeService::list(CallContext&, const v1::TreeListRequest& request) {
  CANOPY_CO_TRY(check_raw_path(request.path()));
  auto page = co_await store().list(request.path(), request.cookie(), Listing::kAttributes);
  if (!page) co_return fail(std::move(page).error());
  v1::TreeListResponse out;
  for (size_t i = 0; i < page->entries.size(); ++i) {
    v1::TreeEntry* entry = out.add_entries();
    entry->set_name(std::move(page->entries[i].name));
    fill_attributes(page->attributes[i], *entry->mutable_attributes());
  }
  out.set_next_cookie(page->next_cookie);
  out.set_end(page->end);
  co_return out;
}

Task<Result<v1::TreeReadLinkResponse>> TreeService::read_link(CallContext&, const v1::TreePath& request) {
  CANOPY_CO_TRY(check_raw_path(request.path()));
  auto target = co_await store().read_symlink(request.path());
  if (!target) co_return fail(std::move(target).error());
  v1::TreeReadLinkResponse out;
  out.set_target(std::move(*target));
  co_return out;
}

Task<Result<v1::TreeAttributes>> TreeService::make(CallContext& call, const v1::TreeMakeRequest& request) {
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  switch (request.kind()) {
    case v1::TreeMakeRequest::DIRECTORY:
      CANOPY_CO_TRY(co_await store().make_directory(request.path(), request.mode() & 07777, Durable::kNo));
      CANOPY_CO_TRY(co_await give_to(request.path(), request.uid(), request.gid()));
      break;
    case v1::TreeMakeRequest::SYMLINK:
      CANOPY_CO_TRY(co_await store().make_symlink(request.target(), request.path(), Durable::kNo));
      CANOPY_CO_TRY(co_await give_to(request.path(), request.uid(), request.gid()));
      break;
    case v1::TreeMakeRequest::LINK:
      // A second name of an account's file would be a way around the account.
      CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.target()));
      CANOPY_CO_TRY(co_await store().link(request.target(), request.path(), Durable::kNo));
      break;
    default: co_return fail(Code::kInvalidArgument, "kind", "it is DIRECTORY, SYMLINK or LINK");
  }
  co_return co_await attributes_of(request.path());
}

Task<Result<v1::Empty>> TreeService::remove(CallContext& call, const v1::TreeRemoveRequest& request) {
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  if (request.directory())
    CANOPY_CO_TRY(co_await store().remove_directory(request.path(), Durable::kNo));
  else
    CANOPY_CO_TRY(co_await store().remove(request.path(), Durable::kNo));
  co_return v1::Empty();
}

Task<Result<v1::Empty>> TreeService::rename(CallContext& call, const v1::TreeRenameRequest& request) {
  CANOPY_CO_TRY(co_await may_move(node_, call.loop(), request.from()));
  if (request.mode() == v1::TreeRenameRequest::EXCHANGE)
    CANOPY_CO_TRY(co_await may_move(node_, call.loop(), request.to()));
  else
    CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.to()));
  RenameMode mode = RenameMode::kReplace;
  switch (request.mode()) {
    case v1::TreeRenameRequest::REPLACE: break;
    case v1::TreeRenameRequest::NO_REPLACE: mode = RenameMode::kNoReplace; break;
    case v1::TreeRenameRequest::EXCHANGE: mode = RenameMode::kExchange; break;
    default: co_return fail(Code::kInvalidArgument, "mode", "it is REPLACE, NO_REPLACE or EXCHANGE");
  }
  CANOPY_CO_TRY(co_await store().rename(request.from(), request.to(), mode, Durable::kNo));
  co_return v1::Empty();
}

Task<Result<v1::TreeSpace>> TreeService::get_space(CallContext&, const v1::TreePath& request) {
  if (!request.path().empty()) CANOPY_CO_TRY(check_raw_path(request.path()));
  auto space = co_await store().space();
  if (!space) co_return fail(std::move(space).error());
  v1::TreeSpace out;
  out.set_bytes_total(space->bytes_total);
  out.set_bytes_free(space->bytes_free);
  out.set_files_total(space->files_total);
  out.set_files_free(space->files_free);
  co_return out;
}

}  // namespace canopy::wire
