#include "fuse/answer.h"

#include <linux/fuse.h>

#include <cerrno>

#include "daemon/base/log.h"

namespace canopy::mount {
namespace {

constexpr uint64_t kDotEntries = 2;          // "." and ".."
constexpr ino_t kUnknownInode = 0xffffffff;  // what the kernel takes for "not known"
constexpr double kImmutableSeconds = 3600;

}  // namespace

int errno_of(const Error& error) {
  switch (error.code()) {
    case Code::kConnectionLost:
    case Code::kDeadlineExceeded:
    case Code::kTryAgain:
    case Code::kStoreUnavailable:
    case Code::kInternal:
    case Code::kFenced: return error.error_number() == ESTALE ? ESTALE : EIO;
    case Code::kSuspended: return EBUSY;
    default: return error.error_number();
  }
}

std::string About::path() const {
  std::string path(name);
  for (const Node* at = &node; !at->names.empty(); at = at->names.front().parent.get()) {
    const std::string& above = at->names.front().name;
    path = path.empty() ? above : above + "/" + path;
  }
  return path.empty() ? "/" : path;  // the mount itself, as df asks about it
}

void answer_error(fuse_req_t request, const Error& error, const About& about) {
  const int error_number = errno_of(error);
  if (error_number == EIO)
    log_event(LogLevel::kError, "operation-failed", about.path(), {{"error", error.to_string()}});
  else if (error_number == EBUSY)
    log_event(LogLevel::kWarning, "operation-refused", error.object(), {{"reason", error.message()}});
  fuse_reply_err(request, error_number);
}

void answer_done(fuse_req_t request, const Result<void>& done, const About& about) {
  if (done)
    fuse_reply_err(request, 0);
  else
    answer_error(request, done.error(), about);
}

void answer_attributes(Mount& mount, fuse_req_t request, const Result<Found>& found, const About& about) {
  if (found)
    fuse_reply_attr(request, &found->attributes,
                    found->immutable ? kImmutableSeconds : mount.cache_seconds(*found));
  else
    answer_error(request, found.error(), about);
}

// libfuse 3.14 has no word for parallel writes, which the kernel knows: the answer as the kernel reads it.
int answer_open(fuse_req_t request, const fuse_file_info& info, bool parallel_writes) {
  if (!parallel_writes) return fuse_reply_open(request, &info);
  fuse_open_out out = {};
  out.fh = info.fh;
  out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

namespace {

void fill_seconds(double seconds, uint64_t& whole, uint32_t& nanoseconds) {
  whole = static_cast<uint64_t>(seconds);
  nanoseconds = static_cast<uint32_t>((seconds - static_cast<double>(whole)) * 1e9);
}

fuse_attr kernel_attributes(const struct stat& of) {
  fuse_attr out = {};
  out.ino = of.st_ino;
  out.mode = of.st_mode;
  out.nlink = static_cast<uint32_t>(of.st_nlink);
  out.uid = of.st_uid;
  out.gid = of.st_gid;
  out.rdev = static_cast<uint32_t>(of.st_rdev);
  out.size = static_cast<uint64_t>(of.st_size);
  out.blksize = static_cast<uint32_t>(of.st_blksize);
  out.blocks = static_cast<uint64_t>(of.st_blocks);
  out.atime = static_cast<uint64_t>(of.st_atim.tv_sec);
  out.mtime = static_cast<uint64_t>(of.st_mtim.tv_sec);
  out.ctime = static_cast<uint64_t>(of.st_ctim.tv_sec);
  out.atimensec = static_cast<uint32_t>(of.st_atim.tv_nsec);
  out.mtimensec = static_cast<uint32_t>(of.st_mtim.tv_nsec);
  out.ctimensec = static_cast<uint32_t>(of.st_ctim.tv_nsec);
  return out;
}

}  // namespace

int answer_create(fuse_req_t request, const fuse_entry_param& entry, const fuse_file_info& info,
                  bool parallel_writes) {
  if (!parallel_writes) return fuse_reply_create(request, &entry, &info);
  struct {
    fuse_entry_out entry = {};
    fuse_open_out open = {};
  } out;
  out.entry.nodeid = entry.ino;
  out.entry.generation = entry.generation;
  fill_seconds(entry.entry_timeout, out.entry.entry_valid, out.entry.entry_valid_nsec);
  fill_seconds(entry.attr_timeout, out.entry.attr_valid, out.entry.attr_valid_nsec);
  out.entry.attr = kernel_attributes(entry.attr);
  out.open.fh = info.fh;
  out.open.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

fuse_entry_param enter(Mount& mount, const Found& found, const NodeRef& parent, const std::string& name) {
  View& view = found.view == nullptr ? *parent->view : *found.view;
  fuse_entry_param entry = {};
  // A directory that turns up under a name that nobody has told of, with what the kernel knows below it.
  const NodeRef before = S_ISDIR(found.attributes.st_mode) ? mount.nodes().known(view, found.key) : nullptr;
  constexpr long kOwners = 2;  // the table and `before`; what lies below it are others
  if (before != nullptr && before.use_count() > kOwners && mount.nodes().named(parent, name) != before.get())
    expire_below(mount.nodes(), mount.notifier(), *before);
  const NodeRef node = mount.nodes().enter(view, found.key, parent, name);
  node->told = found.told;
  node->directory = S_ISDIR(found.attributes.st_mode);
  node->links = found.attributes.st_nlink;
  if (node->known_names == nullptr) node->known_names = found.known_names;
  entry.ino = node->number;
  entry.attr = found.attributes;
  entry.entry_timeout = mount.cache_seconds(found);
  entry.attr_timeout = found.immutable ? kImmutableSeconds : entry.entry_timeout;
  mount.shed_nodes();
  return entry;
}

void answer_entry(Mount& mount, fuse_req_t request, const Result<Found>& found, const NodeRef& parent,
                  const std::string& name) {
  if (!found) {
    answer_error(request, found.error(), {*parent, name});
    return;
  }
  const fuse_entry_param entry = enter(mount, *found, parent, name);
  if (fuse_reply_entry(request, &entry) == -ENOENT) mount.nodes().forget(entry.ino, 1);
}

Task<Result<std::string>> fill_directory(Mount& mount, fuse_req_t request, OpenDirectory& directory,
                                         size_t bytes, uint64_t position, bool with_attributes) {
  std::string out(bytes, '\0');
  const size_t least_entry = fuse_add_direntry_plus(request, nullptr, 0, "x", nullptr, 0);
  size_t used = 0;
  auto room_for = [&](const std::string& name) {
    return used + (with_attributes ? fuse_add_direntry_plus(request, nullptr, 0, name.c_str(), nullptr, 0)
                                   : fuse_add_direntry(request, nullptr, 0, name.c_str(), nullptr, 0)) <=
           bytes;
  };
  auto add = [&](const std::string& name, const fuse_entry_param& entry) {
    const auto next = static_cast<off_t>(position + 1);
    char* at = out.data() + used;
    used += with_attributes ? fuse_add_direntry_plus(request, at, bytes - used, name.c_str(), &entry, next)
                            : fuse_add_direntry(request, at, bytes - used, name.c_str(), &entry.attr, next);
    ++position;
  };
  while (position < kDotEntries) {
    const std::string name = position == 0 ? "." : "..";
    fuse_entry_param entry = {};
    entry.attr.st_ino = kUnknownInode;
    entry.attr.st_mode = S_IFDIR;
    if (!room_for(name)) break;
    add(name, entry);
  }
  while (position >= kDotEntries) {
    CANOPY_CO_TRY(co_await directory.seek(
        position - kDotEntries, with_attributes ? Listed::kAttributes : Listed::kNames, bytes / least_entry));
    if (directory.at_end(position - kDotEntries)) break;
    const Entry& each = directory.entry(position - kDotEntries);
    if (!room_for(each.name)) break;
    fuse_entry_param entry = {};
    if (each.found && with_attributes) {
      entry = enter(mount, *each.found, directory.node(), each.name);
    } else {
      const ino_t inode = each.found ? each.found->attributes.st_ino : each.inode;
      entry.attr.st_ino = inode != 0 ? inode : kUnknownInode;
      entry.attr.st_mode = each.type;
    }
    add(each.name, entry);
  }
  out.resize(used);
  co_return out;
}

}  // namespace canopy::mount
