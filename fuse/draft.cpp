#include "fuse/draft.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "daemon/base/limits.h"
#include "fuse/view.h"

namespace canopy::mount {

struct Draft::Spool {
  UringLoop& loop;
  int fd = -1;
  Spool(UringLoop& on, int opened) : loop(on), fd(opened) {}
  Spool(const Spool&) = delete;
  // To give a large file's room back takes a while.
  ~Spool() {
    io_uring_sqe* sqe = loop.entry_of_nobody();
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_ASYNC;
  }
};

static std::string draft_directory() {
  const char* configured = std::getenv("TMPDIR");
  return configured != nullptr && *configured != '\0' ? configured : "/var/tmp";
}

Result<void> check_draft_directory() {
  const std::string directory = draft_directory();
  std::string path = directory + "/canopy-mount.XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0)
    return fail_errno(errno, "TMPDIR=" + directory, "what is written under accounts/ cannot wait there");
  ::unlink(path.c_str());
  ::close(fd);
  return {};
}

void Draft::touch() {
  clock_gettime(CLOCK_REALTIME, &changed);
  if (!dated) modified = changed;
}

Task<Result<void>> Draft::open() {
  const std::string directory = draft_directory();
  int fd = co_await loop_.submit([&](io_uring_sqe* sqe) {
    io_uring_prep_openat(sqe, AT_FDCWD, directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  });
  if (fd == -EOPNOTSUPP || fd == -EISDIR) {
    std::string path = directory + "/canopy-mount.XXXXXX";
    fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) fd = -errno;
    if (fd >= 0) ::unlink(path.c_str());
  }
  if (fd < 0) co_return refuse(-fd, directory, "no temporary file can be made there");
  spool_ = std::make_shared<Spool>(loop_, fd);
  size_ = 0;
  broken.reset();
  message_ = Place();
  dated = false;
  touch();
  co_return Result<void>();
}

Task<Result<void>> Draft::write(uint64_t offset, std::string bytes) {
  const std::shared_ptr<Spool> spool = spool_;
  Result<void> done;
  if (offset > kMessageBytesMax || bytes.size() > kMessageBytesMax - offset)
    done = refuse(EFBIG, name, fmt::format("a message has at most {} bytes", kMessageBytesMax));
  for (size_t at = 0; done && at < bytes.size();) {
    const int put = co_await loop_.submit([&](io_uring_sqe* sqe) {
      io_uring_prep_write(sqe, spool->fd, bytes.data() + at, static_cast<unsigned>(bytes.size() - at),
                          offset + at);
    });
    if (put > 0)
      at += static_cast<size_t>(put);
    else if (put != -EINTR && put != -EAGAIN)
      done = refuse(put == 0 ? EIO : -put, name, "its temporary file cannot be written");
  }
  if (spool != spool_) co_return refuse(EIO, name, "it was emptied or delivered meanwhile");
  if (done) {
    size_ = std::max(size_, offset + bytes.size());
    touch();
  } else {
    broken = done.error();  // a program that stops here closes the file too
  }
  co_return done;
}

Task<Result<std::string>> Draft::read(uint64_t offset, size_t bytes) const {
  const std::shared_ptr<Spool> spool = spool_;
  std::string out(offset >= size_ ? 0 : std::min<uint64_t>(bytes, size_ - offset), '\0');
  for (size_t done = 0; done < out.size();) {
    const int got = co_await loop_.submit([&](io_uring_sqe* sqe) {
      io_uring_prep_read(sqe, spool->fd, out.data() + done, static_cast<unsigned>(out.size() - done),
                         offset + done);
    });
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got < 0) co_return refuse(-got, name, "its temporary file cannot be read");
    if (got == 0) co_return refuse(EIO, name, "its temporary file has been cut");
    done += static_cast<size_t>(got);
  }
  co_return out;
}

Task<Result<void>> Draft::resize(uint64_t size) {
  if (size > kMessageBytesMax)
    co_return refuse(EFBIG, name, fmt::format("a message has at most {} bytes", kMessageBytesMax));
  if (size == 0 && (size_ != 0 || broken)) {
    const timespec kept = modified;
    const bool was_dated = dated;
    CANOPY_CO_TRY(co_await open());
    modified = kept;
    dated = was_dated;
  }
  // io_uring can do this only since Linux 6.9; programs hardly ever do it to what they are writing.
  if (size != size_ && ::ftruncate(spool_->fd, static_cast<off_t>(size)) != 0)
    co_return refuse(errno, name, "its temporary file cannot be written");
  size_ = size;
  touch();
  co_return Result<void>();
}

void Draft::become(Place message) {
  message_ = std::move(message);
  spool_ = nullptr;
}

Place Draft::place() const {
  Place place;
  place.kind = Place::Kind::kDraft;
  place.name = folder.name;
  place.uid = number;
  return place;
}

std::string Drafts::name_key(const Place& folder, const std::string& name) {
  return folder.key() + '\0' + name;
}

bool Drafts::is_over(const Draft& draft, Nanos now) {
  return draft.open_files == 0 && !draft.sending &&
         now - draft.used > (draft.delivered() ? kNameSeconds : kTemporarySeconds);
}

void Drafts::add(const DraftRef& draft, Nanos now) {
  draft->used = now;
  draft->number = next_number_++;
  by_number_[draft->number] = draft;
  by_name_[name_key(draft->folder, draft->name)] = draft;
}

Task<Result<DraftRef>> Drafts::create(Place folder, std::string name, Nanos now) {
  if (by_number_.size() >= kMost) clean(now);
  if (by_number_.size() >= kMost)
    co_return refuse(EMFILE, name, fmt::format("{} files are being written already", kMost));
  auto draft = std::make_shared<Draft>(loop_);
  draft->folder = std::move(folder);
  draft->name = std::move(name);
  CANOPY_CO_TRY(co_await draft->open());
  // The kernel creates one name at a time; should another have come meanwhile, the later one has the name.
  add(draft, now);
  co_return draft;
}

void Drafts::alias(const Place& folder, const std::string& name, const Place& message, Nanos now) {
  if (by_number_.size() >= kMost) clean(now);
  if (by_number_.size() >= kMost) return;
  auto draft = std::make_shared<Draft>(loop_);
  draft->folder = folder;
  draft->name = name;
  draft->become(message);
  add(draft, now);
}

DraftRef Drafts::find(uint32_t number) const {
  auto at = by_number_.find(number);
  return at == by_number_.end() ? nullptr : at->second;
}

DraftRef Drafts::find(const Place& folder, const std::string& name, Nanos now) {
  auto at = by_name_.find(name_key(folder, name));
  if (at == by_name_.end()) return nullptr;
  DraftRef draft = at->second;
  if (!is_over(*draft, now)) return draft;
  drop(draft);
  return nullptr;
}

void Drafts::move(const DraftRef& draft, const Place& folder, const std::string& name) {
  by_name_.erase(name_key(draft->folder, draft->name));
  draft->folder = folder;
  draft->name = name;
  by_name_[name_key(folder, name)] = draft;
}

void Drafts::drop(const DraftRef& draft) {
  const uint32_t number = draft->number;
  auto at = by_name_.find(name_key(draft->folder, draft->name));
  if (at != by_name_.end() && at->second == draft) by_name_.erase(at);  // `draft` may be that very one
  by_number_.erase(number);
}

void Drafts::remove(const DraftRef& draft) {
  draft->removed = true;
  if (draft->open_files == 0) return drop(draft);
  auto at = by_name_.find(name_key(draft->folder, draft->name));
  if (at != by_name_.end() && at->second == draft) by_name_.erase(at);
}

void Drafts::clean(Nanos now) {
  std::vector<DraftRef> over;
  const DraftRef* oldest = nullptr;
  for (const auto& [number, draft] : by_number_) {
    if (is_over(*draft, now)) over.push_back(draft);
    if (oldest == nullptr && draft->delivered() && draft->open_files == 0) oldest = &draft;
  }
  // A name that a message had for a while makes room for what is being written now.
  if (over.empty() && oldest != nullptr) over.push_back(*oldest);
  for (const DraftRef& draft : over) drop(draft);
}

}  // namespace canopy::mount
