#include "fuse/raw_view.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>

#include "daemon/base/limits.h"
#include "daemon/tree/layout.h"

namespace canopy::mount {

// The inode number of a removed file comes back; with the time of its birth it does not.
std::string key_of(const v1::TreeIdentity& of) {
  return fmt::format("{}.{}.{}", of.file_id(), of.born().seconds(), of.born().nanoseconds());
}

void fill_identity(const std::string& key, v1::TreeIdentity& out) {
  uint64_t file_id = 0;
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  const char* at = key.data();
  const char* const end = at + key.size();
  auto take = [&](auto& number) {
    const auto [behind, error] = std::from_chars(at, end, number);
    at = behind + (behind != end && *behind == '.' ? 1 : 0);
    return error == std::errc();
  };
  if (!take(file_id) || !take(seconds) || !take(nanoseconds) || at != end) return;
  out.set_file_id(file_id);
  out.mutable_born()->set_seconds(seconds);
  out.mutable_born()->set_nanoseconds(nanoseconds);
}

namespace {

// The daemon tells what changes there; of what it keeps itself it does not.
bool is_told(std::string_view path) { return describe_path(path).kind == TreePlaceKind::kOther; }

timespec timespec_of(const v1::TreeTime& time) {
  return timespec{static_cast<time_t>(time.seconds()), static_cast<long>(time.nanoseconds())};
}

void fill_time(const std::optional<timespec>& time, v1::TreeTime* (v1::TreeSetAttributesRequest::*field)(),
               v1::TreeSetAttributesRequest& request) {
  if (!time) return;
  v1::TreeTime& out = *(request.*field)();
  out.set_seconds(time->tv_sec);
  out.set_nanoseconds(static_cast<uint32_t>(time->tv_nsec));
}

ContentState content_of(const v1::TreeAttributes& in) {
  auto nanos = [](const v1::TreeTime& time) { return time.seconds() * kSecond + time.nanoseconds(); };
  return {static_cast<int64_t>(in.size()), nanos(in.modified()), nanos(in.changed())};
}

Found found_of(const v1::TreeAttributes& in, bool told) {
  Found out;
  v1::TreeIdentity identity;
  identity.set_file_id(in.file_id());
  *identity.mutable_born() = in.born();
  out.key = key_of(identity);
  out.told = told;
  struct stat& to = out.attributes;
  to.st_ino = in.file_id();
  to.st_mode = in.mode();
  to.st_nlink = in.links();
  to.st_uid = in.uid();
  to.st_gid = in.gid();
  to.st_size = static_cast<off_t>(in.size());
  to.st_blocks = static_cast<blkcnt_t>(in.allocated() / 512);
  to.st_blksize = 4096;
  to.st_atim = timespec_of(in.accessed());
  to.st_mtim = timespec_of(in.modified());
  to.st_ctim = timespec_of(in.changed());
  return out;
}

// Of an answer without attributes.
Result<void> take_names(const v1::TreeListResponse& listed, const std::string& path, Page& page) {
  constexpr int kTypeShift = 12;
  std::string_view names = listed.names();
  const auto count = static_cast<int>(listed.types().size());
  const bool cookies = listed.cookies_size() != 0;
  const bool whole = listed.file_ids_size() == count && (!cookies || listed.cookies_size() == count);
  page.entries.reserve(static_cast<size_t>(count));
  for (int i = 0; whole && i < count && !names.empty(); ++i) {
    const size_t length = std::min(names.find('\0'), names.size() - 1);
    Entry& added = page.entries.emplace_back();
    added.name = names.substr(0, length);
    added.type = static_cast<mode_t>(listed.types()[static_cast<size_t>(i)]) << kTypeShift & S_IFMT;
    added.inode = listed.file_ids(i);
    if (cookies) added.after = listed.cookies(i);
    names.remove_prefix(length + 1);
  }
  if (page.entries.size() == static_cast<size_t>(count) && names.empty()) return {};
  return fail(Code::kInternal, path, "the server's list does not tell the same number of names as of types");
}

// Nothing is there, or something of another kind.
bool is_gone(const Error& error) {
  const Code code = error.code();
  return code == Code::kNotFound || code == Code::kNotDirectory || code == Code::kIsDirectory ||
         code == Code::kLoop;
}

}  // namespace

struct RawView::File final : OpenFile {
  File(RawView& in, uint64_t as) : view(in), handle(as) {}
  ~File() override {
    view.files_.erase(this);
    view.backend_.loop().spawn(close(view.backend_, handle));
  }

  RawView& view;
  uint64_t handle;
  bool write = false;
  v1::TreeIdentity identity;
};

Task<void> RawView::close(Backend& backend, uint64_t handle) {
  v1::TreeCloseRequest request;
  request.set_handle(handle);
  // A lost connection has closed it.
  (void)co_await backend.tree().close(request, backend.options());
}

Result<std::string> RawView::path_of(const Node& node) const {
  std::vector<const std::string*> elements;
  for (const Node* at = &node; at->number != NodeTable::kRoot; at = at->names.front().parent.get()) {
    if (at->names.empty()) return refuse(ESTALE, node.key, "it has no name any more");
    if (elements.size() > kRawPathElementsMax) return refuse(ESTALE, node.key, "nobody knows where it lies");
    elements.push_back(&at->names.front().name);
  }
  std::string path;
  for (size_t i = elements.size(); i-- > 0;) {
    path += *elements[i];
    if (i != 0) path += '/';
  }
  return path;
}

Result<std::string> RawView::path_in(const Node& directory, const std::string& name) const {
  auto path = path_of(directory);
  if (path) *path += "/" + name;
  return path;
}

// Sent again after a lost connection, it is carried out once.
template <class Request>
void RawView::name_request(Request& request) const {
  request.set_request_id(backend_.new_request_id());
  request.set_epoch(backend_.epoch());
}

bool RawView::is_open(const NodeRef& directory, const std::string& name) const {
  const Node* known = nodes_->named(directory, name);
  return known != nullptr && !known->open.empty();
}

// What lies under the name, as far as anybody knows: usually the kernel has just asked.
Task<void> RawView::expect(NodeRef directory, std::string name, v1::TreeIdentity* into) {
  if (const Node* known = nodes_->named(directory, name)) {
    fill_identity(known->key, *into);
    co_return;
  }
  auto found = co_await lookup(directory, std::move(name));
  if (found) fill_identity(found->key, *into);
}

// `path` has led to something else than the node, which somebody else may have renamed.
Result<void> RawView::next_name(Node& node, const std::string& path) {
  CANOPY_ASSIGN(const std::string now, path_of(node));
  if (now != path || nodes_->try_next_name(node)) return {};
  return refuse(ESTALE, path, "something else has taken its name, or nothing");
}

Task<Result<Found>> RawView::top(std::string name) {
  v1::TreePath request;
  request.set_path(std::move(name));
  auto found = co_await backend_.tree().get_attributes(request, backend_.options());
  if (!found) co_return fail(std::move(found).error());
  co_return found_of(*found, is_told(request.path()));
}

Task<Result<Found>> RawView::lookup(NodeRef directory, std::string name) {
  CANOPY_CO_ASSIGN(std::string path, path_in(*directory, name));
  // What the daemon does not tell of, and names that it refuses, it is asked for.
  const bool told = name.size() <= NAME_MAX && path.size() <= kRawPathBytesMax && is_told(path);
  if (told && names_.is_absent(*directory, name))
    co_return refuse(ENOENT, std::move(path), "the directory has no such name");
  auto found = co_await top(std::move(path));
  if (told && !found && found.error().code() == Code::kNotFound) names_.missed(directory);
  co_return found;
}

Task<Result<Found>> RawView::attributes(NodeRef node, OpenFileRef file) {
  while (file == nullptr) {
    CANOPY_CO_ASSIGN(const std::string path, path_of(*node));
    auto found = co_await top(path);
    const bool other = found ? found->key != node->key : is_gone(found.error());
    if (!other) co_return found;
    CANOPY_CO_TRY(next_name(*node, path));
  }
  v1::TreePath request;
  auto found = co_await on_handle(file, &wire::TreeStub::get_attributes, request);
  if (!found) co_return fail(std::move(found).error());
  co_return found_of(*found, is_told(path_of(*node).value_or("")));
}

Task<Result<Page>> RawView::list(NodeRef directory, std::string from, Listed what, size_t wanted) {
  v1::TreeListRequest request;
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_of(*directory));
  if (!from.empty()) request.set_cookie(std::stoull(from));
  request.set_names_only(what == Listed::kNames);
  if (what == Listed::kAttributes) request.set_entries_max(static_cast<uint32_t>(wanted));
  auto listed = co_await backend_.tree().list(request, backend_.options());
  if (!listed) co_return fail(std::move(listed).error());
  Page page;
  CANOPY_CO_TRY(take_names(*listed, request.path(), page));
  page.entries.reserve(static_cast<size_t>(listed->entries_size()));
  const bool all_told = is_told(request.path());
  for (v1::TreeEntry& entry : *listed->mutable_entries()) {
    Entry& added = page.entries.emplace_back();
    added.type = entry.attributes().mode() & S_IFMT;
    const bool told = all_told || is_told(request.path() + "/" + entry.name());
    added.found = std::make_unique<Found>(found_of(entry.attributes(), told));
    added.name = std::move(*entry.mutable_name());
  }
  // Whoever has read a name finds it, also one that nobody has told of.
  if (directory->known_names != nullptr)
    for (const Entry& entry : page.entries) names_.came(*directory, entry.name);
  page.next = std::to_string(listed->next_cookie());
  page.end = listed->end();
  co_return page;
}

// ------------------------------------------------------------------------------------------------ open files

Task<Result<Created>> RawView::open_at(std::string path, bool create, bool exclusive, mode_t mode, int flags,
                                       Caller caller, std::string expected) {
  auto file = std::make_shared<File>(*this, backend_.new_handle());
  file->write = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  file->direct = file->parallel = (flags & O_DIRECT) != 0;
  v1::TreeOpenRequest request;
  const bool told = is_told(path);
  request.set_path(std::move(path));
  request.set_handle(file->handle);
  request.set_write(file->write || create);
  request.set_create(create);
  request.set_exclusive(exclusive);
  request.set_request_id(backend_.new_request_id());
  request.set_truncate((flags & O_TRUNC) != 0);
  request.set_mode(mode & 07777);
  request.set_uid(caller.uid);
  request.set_gid(caller.gid);
  v1::TreeIdentity identity;
  fill_identity(expected, identity);
  request.set_file_id(identity.file_id());
  if (identity.file_id() != 0) *request.mutable_born() = identity.born();
  auto opened = co_await backend_.tree().open(request, backend_.options());
  if (!opened) co_return fail(std::move(opened).error());
  file->identity.set_file_id(opened->file_id());
  *file->identity.mutable_born() = opened->born();
  files_.emplace(file.get(), file);
  if (told) file->content = content_of(*opened);
  co_return Created{found_of(*opened, told), std::move(file)};
}

Task<Result<void>> RawView::reopen(File& file) {
  v1::TreeOpenRequest request;
  if (!file.node->names.empty()) {
    CANOPY_CO_ASSIGN(*request.mutable_path(), path_of(*file.node));
  }
  const uint64_t lost = file.handle;
  const uint64_t handle = backend_.new_handle();
  request.set_handle(handle);
  request.set_write(file.write);
  request.set_file_id(file.identity.file_id());
  *request.mutable_born() = file.identity.born();
  auto opened = co_await backend_.tree().open(request, backend_.options());
  if (!opened) co_return fail(std::move(opened).error());
  if (file.handle == lost)
    file.handle = handle;
  else  // somebody else was faster
    backend_.loop().spawn(close(backend_, handle));
  co_return Result<void>();
}

Task<Result<void>> RawView::reopen_if_lost(OpenFileRef file) {
  v1::TreePath request;  // answered by whoever knows the handle
  auto known = co_await on_handle(std::move(file), &wire::TreeStub::get_attributes, request);
  if (!known) co_return fail(std::move(known).error());
  co_return Result<void>();
}

template <class Request, class Response>
Task<Result<Response>> RawView::on_handle(OpenFileRef file, Method<Request, Response> method,
                                          Request& request) {
  File& of = static_cast<File&>(*file);
  const wire::CallOptions options = backend_.options();
  while (true) {
    const uint64_t handle = of.handle;
    request.set_handle(handle);
    auto answer = co_await (backend_.tree().*method)(request, options);
    if (answer) co_return answer;
    const Code code = answer.error().code();
    const bool late = backend_.loop().now() >= options.deadline;
    if (late || (code != Code::kConnectionLost && code != Code::kConflict)) co_return answer;
    if (of.handle != handle) continue;  // somebody else has opened it again meanwhile
    auto opened = co_await reopen(of);
    if (!opened && opened.error().code() != Code::kConnectionLost) co_return fail(std::move(opened).error());
  }
}

Task<Result<OpenFileRef>> RawView::open(NodeRef node, int flags) {
  while (true) {
    std::string path;  // empty: of a file without a name, which the server keeps while somebody has it open
    if (!node->names.empty()) {
      CANOPY_CO_ASSIGN(path, path_of(*node));
    }
    auto opened = co_await open_at(path, false, false, 0, flags, {}, node->key);
    if (opened) {
      opened->file->node = std::move(node);
      co_return std::move(opened->file);
    }
    if (!is_gone(opened.error())) co_return fail(std::move(opened).error());
    CANOPY_CO_TRY(next_name(*node, path));
  }
}

Task<Result<Created>> RawView::create(NodeRef directory, std::string name, mode_t mode, int flags,
                                      Caller caller) {
  CANOPY_CO_ASSIGN(const std::string path, path_in(*directory, name));
  const auto coming = names_.comes(*directory, name);
  auto made = co_await open_at(path, true, true, mode, flags, caller);
  if (made || (flags & O_EXCL) != 0 || made.error().code() != Code::kAlreadyExists) co_return made;
  co_return co_await open_at(path, false, false, 0, flags, caller);
}

Task<Result<std::string>> RawView::read(OpenFileRef file, uint64_t offset, size_t bytes) {
  v1::TreeReadRequest request;
  request.set_offset(offset);
  request.set_bytes(static_cast<uint32_t>(bytes));
  auto got = co_await on_handle(file, &wire::TreeStub::read, request);
  if (!got) co_return fail(std::move(got).error());
  co_return std::move(*got->mutable_data());
}

Task<Result<View::Written>> RawView::write(OpenFileRef file, uint64_t offset, std::string bytes,
                                           bool append) {
  const File& of = static_cast<const File&>(*file);
  v1::TreeWriteRequest request;
  request.set_offset(offset);
  request.set_data(std::move(bytes));
  request.set_append(append);
  while (true) {
    const uint64_t handle = of.handle;
    auto done = co_await on_handle(file, &wire::TreeStub::write, request);
    if (!done) co_return fail(std::move(done).error());
    if (!append || done->bytes() != 0 || request.data().empty())
      co_return Written{done->bytes(), request.offset() != offset};
    // The file ends elsewhere: because of others, or of this very request, whose answer was lost.
    if (of.handle != handle) {
      CANOPY_CO_ASSIGN(const std::string there, co_await read(file, request.offset(), request.data().size()));
      if (there == request.data()) co_return Written{there.size(), request.offset() != offset};
    }
    request.set_offset(done->end());
  }
}

Task<Result<void>> RawView::sync(OpenFileRef file) {
  v1::TreeSyncRequest request;
  auto done = co_await on_handle(file, &wire::TreeStub::sync, request);
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<void>> RawView::allocate(OpenFileRef file, int mode, uint64_t offset, uint64_t bytes) {
  v1::TreeAllocateRequest request;
  request.set_offset(offset);
  request.set_bytes(bytes);
  switch (mode) {
    case 0: request.set_mode(v1::TreeAllocateRequest::RESERVE); break;
    case FALLOC_FL_KEEP_SIZE: request.set_mode(v1::TreeAllocateRequest::RESERVE_KEEP_SIZE); break;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
      request.set_mode(v1::TreeAllocateRequest::PUNCH_HOLE);
      break;
    case FALLOC_FL_ZERO_RANGE: request.set_mode(v1::TreeAllocateRequest::ZERO); break;
    default: co_return refuse(EOPNOTSUPP, file->node->key, "this way of allocating is not offered");
  }
  auto done = co_await on_handle(file, &wire::TreeStub::allocate, request);
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<uint64_t>> RawView::seek(OpenFileRef file, uint64_t offset, bool hole) {
  v1::TreeSeekRequest request;
  request.set_offset(offset);
  request.set_hole(hole);
  auto found = co_await on_handle(file, &wire::TreeStub::seek, request);
  if (found) co_return found->offset();
  if (found.error().code() == Code::kNotFound)
    co_return refuse(ENXIO, file->node->key, "nothing lies beyond it");
  co_return fail(std::move(found).error());
}

// ------------------------------------------------------------------------------------------------ names

Task<Result<Found>> RawView::set_attributes(NodeRef node, OpenFileRef file, AttributeChange change) {
  v1::TreeSetAttributesRequest request;
  request.set_which((change.mode ? 1u : 0u) | (change.uid ? 2u : 0u) | (change.gid ? 4u : 0u) |
                    (change.size ? 8u : 0u));
  request.set_mode(change.mode.value_or(0));
  request.set_uid(change.uid.value_or(0));
  request.set_gid(change.gid.value_or(0));
  request.set_size(change.size.value_or(0));
  fill_time(change.accessed, &v1::TreeSetAttributesRequest::mutable_accessed, request);
  fill_time(change.modified, &v1::TreeSetAttributesRequest::mutable_modified, request);
  // A size is set through what was opened for writing, the rest through any handle.
  if (file != nullptr && (static_cast<File&>(*file).write || !change.size)) {
    auto done = co_await on_handle(file, &wire::TreeStub::set_attributes, request);
    if (!done) co_return fail(std::move(done).error());
    co_return found_of(*done, is_told(path_of(*node).value_or("")));
  }
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_of(*node));
  auto done = co_await backend_.tree().set_attributes(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  co_return found_of(*done, is_told(request.path()));
}

Task<Result<void>> RawView::sync_directory(NodeRef directory) {
  v1::TreeSyncRequest request;
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_of(*directory));
  auto done = co_await backend_.tree().sync(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<Found>> RawView::make_directory(NodeRef directory, std::string name, mode_t mode, Caller caller) {
  v1::TreeMakeRequest request;
  request.set_kind(v1::TreeMakeRequest::DIRECTORY);
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_in(*directory, name));
  request.set_mode(mode & 07777);
  request.set_uid(caller.uid);
  request.set_gid(caller.gid);
  name_request(request);
  const auto coming = names_.comes(*directory, name);
  const auto begun = names_.now();
  auto made = co_await backend_.tree().make(request, backend_.options());
  if (!made) co_return fail(std::move(made).error());
  Found found = found_of(*made, is_told(request.path()));
  found.known_names = names_.made_since(begun);
  co_return found;
}

Task<Result<Found>> RawView::make_symlink(NodeRef directory, std::string name, std::string target,
                                          Caller caller) {
  v1::TreeMakeRequest request;
  request.set_kind(v1::TreeMakeRequest::SYMLINK);
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_in(*directory, name));
  request.set_target(std::move(target));
  request.set_uid(caller.uid);
  request.set_gid(caller.gid);
  name_request(request);
  const auto coming = names_.comes(*directory, name);
  auto made = co_await backend_.tree().make(request, backend_.options());
  if (!made) co_return fail(std::move(made).error());
  co_return found_of(*made, is_told(request.path()));
}

Task<Result<Found>> RawView::link(NodeRef node, NodeRef directory, std::string name) {
  v1::TreeMakeRequest request;
  request.set_kind(v1::TreeMakeRequest::LINK);
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_in(*directory, name));
  CANOPY_CO_ASSIGN(*request.mutable_target(), path_of(*node));
  fill_identity(node->key, *request.mutable_expected());
  name_request(request);
  const auto coming = names_.comes(*directory, name);
  auto made = co_await backend_.tree().make(request, backend_.options());
  if (!made) co_return fail(std::move(made).error());
  co_return found_of(*made, is_told(request.path()));
}

Task<Result<void>> RawView::remove(NodeRef directory, std::string name, bool is_directory) {
  v1::TreeRemoveRequest request;
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_in(*directory, name));
  request.set_directory(is_directory);
  request.set_held(is_open(directory, name));
  name_request(request);
  co_await expect(directory, name, request.mutable_expected());
  auto done = co_await backend_.tree().remove(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  nodes_->drop_name(*this, directory, name, is_directory);
  co_return Result<void>();
}

Task<Result<void>> RawView::rename(NodeRef from, std::string name, NodeRef to, std::string new_name,
                                   unsigned flags) {
  v1::TreeRenameRequest request;
  CANOPY_CO_ASSIGN(*request.mutable_from(), path_in(*from, name));
  CANOPY_CO_ASSIGN(*request.mutable_to(), path_in(*to, new_name));
  switch (flags) {
    case 0: break;
    case RENAME_NOREPLACE: request.set_mode(v1::TreeRenameRequest::NO_REPLACE); break;
    case RENAME_EXCHANGE: request.set_mode(v1::TreeRenameRequest::EXCHANGE); break;
    default: co_return refuse(EINVAL, request.from(), "a way of renaming that is not offered");
  }
  name_request(request);
  const auto coming = names_.comes(*to, new_name);
  const auto begun = names_.now();
  co_await expect(from, name, request.mutable_expected());
  request.set_held(is_open(to, new_name));
  if (flags == RENAME_EXCHANGE) co_await expect(to, new_name, request.mutable_expected_to());
  auto done = co_await backend_.tree().rename(request, backend_.options());
  if (!done) co_return fail(std::move(done).error());
  if (flags == RENAME_EXCHANGE)
    nodes_->exchange_names(from, name, to, new_name);
  else
    nodes_->move_name(from, name, to, new_name);
  names_.renamed_since(begun);
  co_return Result<void>();
}

Task<Result<std::string>> RawView::read_link(NodeRef node) {
  v1::TreePath request;
  CANOPY_CO_ASSIGN(*request.mutable_path(), path_of(*node));
  auto target = co_await backend_.tree().read_link(request, backend_.options());
  if (!target) co_return fail(std::move(target).error());
  co_return std::move(*target->mutable_target());
}

// ------------------------------------------------------------------------------------------------ attributes

// By its name, or by an open file of it when it has none any more.
template <class Request, class Response>
Task<Result<Response>> RawView::on_node(NodeRef node, Method<Request, Response> method, Request& request) {
  auto path = path_of(*node);
  if (path) {
    request.set_path(std::move(*path));
    co_return co_await (backend_.tree().*method)(request, backend_.options());
  }
  for (const auto& [known, held] : files_) {
    OpenFileRef file = held.lock();
    if (file != nullptr && file->node == node) co_return co_await on_handle(std::move(file), method, request);
  }
  co_return fail(std::move(path).error());
}

Task<Result<std::string>> RawView::get_xattr(NodeRef node, std::string name) {
  // The kernel asks for security.capability at every write.
  if (name.starts_with("security.")) co_return refuse(ENODATA, node->key, "it has no such attribute");
  v1::TreeXattrRequest request;
  request.set_name(std::move(name));
  auto value = co_await on_node(node, &wire::TreeStub::get_xattr, request);
  // The kernel asks when somebody who is not root looks, and refuses him with any error but this one.
  if (!value && value.error().code() == Code::kUnsupported && request.name().starts_with("system.posix_acl_"))
    co_return refuse(ENODATA, node->key, "its store has no access lists");
  if (!value) co_return fail(std::move(value).error());
  co_return std::move(*value->mutable_value());
}

Task<Result<std::vector<std::string>>> RawView::list_xattr(NodeRef node) {
  v1::TreePath request;
  auto listed = co_await on_node(node, &wire::TreeStub::list_xattrs, request);
  if (!listed) co_return fail(std::move(listed).error());
  std::vector<std::string> names;
  for (std::string& name : *listed->mutable_names()) names.push_back(std::move(name));
  co_return names;
}

Task<Result<void>> RawView::set_xattr(NodeRef node, std::string name, std::string value, int flags) {
  v1::TreeSetXattrRequest request;
  request.set_name(std::move(name));
  request.set_value(std::move(value));
  if (flags == XATTR_CREATE) request.set_mode(v1::TreeSetXattrRequest::CREATE);
  if (flags == XATTR_REPLACE) request.set_mode(v1::TreeSetXattrRequest::REPLACE);
  name_request(request);
  auto done = co_await on_node(node, &wire::TreeStub::set_xattr, request);
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<void>> RawView::remove_xattr(NodeRef node, std::string name) {
  v1::TreeXattrRequest request;
  request.set_name(std::move(name));
  name_request(request);
  auto done = co_await on_node(node, &wire::TreeStub::remove_xattr, request);
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

}  // namespace canopy::mount
