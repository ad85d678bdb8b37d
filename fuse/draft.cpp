#include "fuse/draft.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "daemon/base/limits.h"
#include "fuse/view.h"

namespace canopy::mount {

Draft::~Draft() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Draft::open() {
  const char* configured = std::getenv("TMPDIR");
  const std::string directory = configured != nullptr && *configured != '\0' ? configured : "/var/tmp";
  fd_ = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = directory + "/canopy-mount.XXXXXX";
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  if (fd_ < 0) return refuse(errno, directory, "no temporary file can be made there");
  size_ = 0;
  cut = false;
  message_ = Place();
  dated = false;
  modified = {};
  return {};
}

Result<void> Draft::write(uint64_t offset, std::string_view bytes) {
  if (offset > kMessageBytesMax || bytes.size() > kMessageBytesMax - offset)
    return refuse(EFBIG, name, fmt::format("a message has at most {} bytes", kMessageBytesMax));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put =
        ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return refuse(errno, name, "its temporary file cannot be written");
    done += static_cast<size_t>(put);
  }
  size_ = std::max(size_, offset + bytes.size());
  return {};
}

Result<std::string> Draft::read(uint64_t offset, size_t bytes) const {
  std::string out(offset >= size_ ? 0 : std::min<uint64_t>(bytes, size_ - offset), '\0');
  for (size_t done = 0; done < out.size();) {
    const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(errno, name, "its temporary file cannot be read");
    if (got == 0) return refuse(EIO, name, "its temporary file has been cut");
    done += static_cast<size_t>(got);
  }
  return out;
}

Result<void> Draft::resize(uint64_t size) {
  if (size > kMessageBytesMax)
    return refuse(EFBIG, name, fmt::format("a message has at most {} bytes", kMessageBytesMax));
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
    return refuse(errno, name, "its temporary file cannot be written");
  size_ = size;
  if (size == 0) cut = false;
  return {};
}

void Draft::become(Place message) {
  message_ = std::move(message);
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
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

Result<DraftRef> Drafts::create(const Place& folder, const std::string& name, Nanos now) {
  if (by_number_.size() >= kMost) clean(now);
  if (by_number_.size() >= kMost)
    return refuse(EMFILE, name, fmt::format("{} files are being written already", kMost));
  auto draft = std::make_shared<Draft>();
  draft->folder = folder;
  draft->name = name;
  CANOPY_TRY(draft->open());
  add(draft, now);
  return draft;
}

void Drafts::alias(const Place& folder, const std::string& name, const Place& message, Nanos now) {
  if (by_number_.size() >= kMost) clean(now);
  if (by_number_.size() >= kMost) return;
  auto draft = std::make_shared<Draft>();
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
  const DraftRef kept = draft;
  by_number_.erase(kept->number);
  auto at = by_name_.find(name_key(kept->folder, kept->name));
  if (at != by_name_.end() && at->second == kept) by_name_.erase(at);
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
