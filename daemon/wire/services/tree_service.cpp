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

void fill_names(const DirectoryPage& page, v1::TreeListResponse& out) {
  constexpr int kTypeShift = 12;
  std::string& names = *out.mutable_names();
  std::string& types = *out.mutable_types();
  out.mutable_file_ids()->Reserve(static_cast<int>(page.entries.size()));
  out.mutable_cookies()->Reserve(static_cast<int>(page.entries.size()));
  const bool cookies = !page.entries.empty() && page.entries.front().cookie != 0;
  for (const DirectoryEntry& entry : page.entries) {
    names.append(entry.name).push_back('\0');
    out.add_file_ids(entry.file_id);
    if (cookies) out.add_cookies(entry.cookie);
    types.push_back(static_cast<char>(type_bits(entry.type) >> kTypeShift));
  }
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
  table.add<v1::TreeXattrRequest, v1::TreeXattrValue>(kService, "GetXattr", this, &TreeService::get_xattr);
  table.add<v1::TreePath, v1::TreeXattrNames>(kService, "ListXattrs", this, &TreeService::list_xattrs);
  table.add<v1::TreeSetXattrRequest, v1::Empty>(kService, "SetXattr", this, &TreeService::set_xattr);
  table.add<v1::TreeXattrRequest, v1::Empty>(kService, "RemoveXattr", this, &TreeService::remove_xattr);
  table.add<v1::TreeLockRequest, v1::TreeLockResponse>(kService, "Lock", this, &TreeService::lock);
  table.add<v1::TreeWatchRequest, v1::TreeWatchResponse>(kService, "Watch", this, &TreeService::watch);
}

Task<Result<v1::TreeAttributes>> TreeService::attributes_of(std::string path) {
  auto found = co_await store().attributes(std::move(path));
  if (!found) co_return fail(std::move(found).error());
  co_return tree_attributes(seen(*found));
}

Task<Result<v1::TreeAttributes>> TreeService::get_attributes(CallContext& call, const v1::TreePath& request) {
  if (request.handle() != 0) {
    CANOPY_CO_ASSIGN(OpenFileRef open, file_of(call, request.handle()));
    auto found = co_await open->file->attributes();
    if (!found) co_return fail(std::move(found).error());
    co_return tree_attributes(seen(*found));
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
    tell_content(call, open->identity);
    co_return tree_attributes(seen(*after));
  }
  CANOPY_CO_TRY(co_await may_change(node_, call.loop(), request.path()));
  CANOPY_CO_TRY(co_await store().set_attributes(request.path(), change, Durable::kNo));
  auto after = co_await store().attributes(request.path());
  if (!after) co_return fail(std::move(after).error());
  tell_content(call, identity_of(*after));
  co_return tree_attributes(seen(*after));
}

Task<Result<v1::TreeListResponse>> TreeService::list(CallContext&, const v1::TreeListRequest& request) {
  CANOPY_CO_TRY(check_raw_path(request.path()));
  v1::TreeListResponse out;
  Result<DirectoryPage> page;
  if (request.names_only()) {
    page = co_await store().list(request.path(), request.cookie(), Listing::kNames);
    if (page) fill_names(*page, out);
  } else {
    const size_t most = request.entries_max() == 0 ? kStoreDirectoryPageEntries : request.entries_max();
    page = co_await store().list_few(request.path(), request.cookie(), most);
    for (size_t i = 0; page && i < page->entries.size(); ++i) {
      v1::TreeEntry* entry = out.add_entries();
      entry->set_name(std::move(page->entries[i].name));
      fill_attributes(seen(page->attributes[i]), *entry->mutable_attributes());
    }
  }
  if (!page) co_return fail(std::move(page).error());
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

Task<Result<v1::TreeSpace>> TreeService::get_space(CallContext&, const v1::TreePath& request) {
  const bool whole = request.path().empty();
  if (!whole) CANOPY_CO_TRY(check_raw_path(request.path()));
  auto space = co_await (whole ? store().space() : store().space_at(request.path()));
  if (!space) co_return fail(std::move(space).error());
  v1::TreeSpace out;
  out.set_bytes_total(space->bytes_total);
  out.set_bytes_free(space->bytes_free);
  out.set_files_total(space->files_total);
  out.set_files_free(space->files_free);
  co_return out;
}

}  // namespace canopy::wire
