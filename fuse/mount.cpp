#include "fuse/mount.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "daemon/base/log.h"
#include "fuse/answer.h"
#include "fuse/connection.h"
#include "fuse/operations.h"

namespace canopy::mount {
namespace {

constexpr Nanos kSpaceWaitMax = kSecond;

bool is_forget(const fuse_buf& request) {
  fuse_in_header header;
  if (request.size < sizeof header) return false;
  memcpy(&header, request.mem, sizeof header);
  return header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET;
}

// As an option's value, which a comma would end.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// With allow_root, too, they come in as far as the kernel is concerned: libfuse looks at requests, and what
// is known to the kernel makes none.
bool lets_others_in(const std::vector<std::string>& options) {
  return std::ranges::any_of(
      options, [](const std::string& option) { return option == "allow_other" || option == "allow_root"; });
}

}  // namespace

Mount::Mount(UringLoop& loop, Backend& backend, NodeTable& nodes, MountOptions options)
    : loop_(loop),
      backend_(backend),
      nodes_(nodes),
      options_(std::move(options)),
      modes_checked_(geteuid() != 0 || lets_others_in(options_.fuse_options)) {}

Mount::~Mount() {
  if (session_ == nullptr) return;
  unmount();
  notifier_.stop();
  fuse_session_destroy(session_);
  std::free(buffer_.mem);
}

Result<void> Mount::begin() {
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  auto add = [&](const std::string& text) { fuse_opt_add_arg(&arguments, text.c_str()); };
  add("canopy-mount");
  add("-ofsname=" + escaped(options_.source) + ",subtype=canopy");
  if (modes_checked_) add("-odefault_permissions");
  for (const std::string& option : options_.fuse_options) add("-o" + option);
  session_ = fuse_session_new(&arguments, &fuse_operations(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&arguments);
  if (session_ == nullptr) return fail(Code::kInvalidArgument, "-o", "libfuse refuses one of the options");
  if (fuse_session_mount(session_, options_.directory.c_str()) != 0)
    return fail(Code::kIo, options_.directory, "it cannot be mounted there; libfuse has said why above");
  mounted_ = true;
  connection_ = connection_of(options_.directory);
  notifier_.start([session = session_](const Notification& what) { tell_kernel(session, what); });
  const int fd = fuse_session_fd(session_);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
    return fail_errno(errno, "/dev/fuse", "fcntl");
  return {};
}

// Operations that are under way end with it. The kernel holds locks of theirs for which the notifier may
// wait; while it does, not even the end of this process would close /dev/fuse.
void Mount::unmount() {
  if (!mounted_) return;
  mounted_ = false;
  pollfd device = {.fd = fuse_session_fd(session_), .events = 0, .revents = 0};
  const bool gone = poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0;
  const bool ended = gone || umount2(options_.directory.c_str(), MNT_FORCE | MNT_DETACH) == 0;
  if (ended) notifier_.stop();     // nothing holds it up any more, and /dev/fuse is closed next
  fuse_session_unmount(session_);  // by fusermount3, where only that may
  if (!ended && connection_) abort_connection(*connection_);
}

// A read that finds nothing is a system call for nothing: after one request another is looked for only now
// and then, and for as long as there are more. Behind a FORGET usually comes what its sender has asked next.
bool Mount::read_requests() {
  constexpr int kMost = 64;
  constexpr unsigned kLookAgain = 16;
  const bool more = many_waited_ || ++reads_ % kLookAgain == 0;
  int read = 0;
  int forgets = 0;
  while (read < (more ? kMost : std::min(1 + forgets, kMost))) {
    const int got = fuse_session_receive_buf(session_, &buffer_);
    if (got > 0) {
      if (is_forget(buffer_)) ++forgets;
      fuse_session_process_buf(session_, &buffer_);
      ++read;
      continue;
    }
    if (got == -EINTR) continue;
    if (got == -EAGAIN) break;
    if (got != 0 && got != -ENODEV)
      log_event(LogLevel::kError, "mount-lost", options_.directory, {{"error", strerror(-got)}});
    return false;
  }
  if (more) many_waited_ = read - forgets > 1;
  return true;
}

Task<void> Mount::serve() {
  const int fd = fuse_session_fd(session_);
  while (mounted_ && fuse_session_exited(session_) == 0) {
    if (!read_requests()) break;
    co_await loop_.submit([fd](io_uring_sqe* sqe) { io_uring_prep_poll_add(sqe, fd, POLLIN); });
  }
}

double Mount::cache_seconds(const Found& of) const {
  return of.told && is_told() ? options_.told_seconds : options_.cache_seconds;
}

void Mount::let_keep_listing(Node& directory, fuse_file_info& info) const {
  info.cache_readdir = directory.told && is_told();
  if (!info.cache_readdir) return;
  // The bound for a change that slips in between an answer and its arrival in the kernel.
  const Nanos now = loop_.now();
  info.keep_cache = now - directory.listed < static_cast<Nanos>(options_.told_seconds * 1e9);
  if (!info.keep_cache) directory.listed = now;
}

// Two states that look the same are the same unless a file was written twice within a tick of the store's
// clock: so that of a file that was changed just now is not kept in mind.
bool Mount::keeps_content(Node& node, const OpenFile& file) const {
  constexpr int64_t kChangedJustNow = 2 * kSecond;
  if (!file.content) return false;
  const bool same = node.content == file.content;
  node.content.reset();
  if (loop_.wall_clock_ns() - file.content->changed > kChangedJustNow) node.content = file.content;
  return same;
}

Task<Result<v1::TreeSpace>> Mount::space(std::string path) {
  wire::CallOptions options = backend_.options();
  options.deadline = std::min(options.deadline, loop_.now() + kSpaceWaitMax);
  v1::TreePath request;
  request.set_path(path);
  auto answer = co_await backend_.tree().get_space(request, options);
  if (!path.empty()) co_return answer;
  if (answer)
    space_ = *answer;
  else if (space_ && errno_of(answer.error()) == EIO)
    co_return *space_;
  co_return answer;
}

// What the kernel does not forget because somebody uses it comes again later. A directory loses its name by
// that for those who stand in it (getcwd(3)), so directories go only where there are hardly any files to go.
void Mount::shed_nodes() {
  constexpr size_t kLookedAt = 8;
  constexpr size_t kWaitingMax = 1'000;
  if (nodes_.size() <= options_.nodes_max || notifier_.waiting() > kWaitingMax) return;
  const bool many_directories = nodes_.size() > options_.nodes_max + options_.nodes_max / 4;
  for (const NodeRef& node : nodes_.old_ones(kLookedAt, many_directories))
    for (const NodeName& name : node->names) notifier_.drop_name(name.parent->number, name.name);
}

uint64_t Mount::keep(OpenFileRef file) {
  file->node->open.push_back(next_handle_);
  files_[next_handle_] = std::move(file);
  return next_handle_++;
}

uint64_t Mount::keep(std::shared_ptr<OpenDirectory> directory) {
  directories_[next_handle_] = std::move(directory);
  return next_handle_++;
}

OpenFileRef Mount::file(uint64_t handle) const {
  auto found = files_.find(handle);
  return found == files_.end() ? nullptr : found->second;
}

std::shared_ptr<OpenDirectory> Mount::directory(uint64_t handle) const {
  auto found = directories_.find(handle);
  return found == directories_.end() ? nullptr : found->second;
}

void Mount::release(uint64_t handle) {
  if (OpenFileRef file = this->file(handle)) std::erase(file->node->open, handle);
  files_.erase(handle);
  directories_.erase(handle);
}

}  // namespace canopy::mount
