// What the local store needs of the system beside io_uring: descriptors, attributes, errors with the store's
// words.
#pragma once

#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

#include "daemon/store/store.h"

struct statx;

namespace canopy::local {

// Owns a descriptor. close(2) is called directly: io_uring's close does the same work on the same thread.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// As fail_errno, with advice where the plain words do not say what to do: EMFILE, ENFILE, ENOSPC, EXDEV.
std::unexpected<Error> fail_system(int error_number, std::string object, std::string_view operation);

extern const unsigned kStatxMask;
Attributes attributes_from(const struct statx& found);
FileType type_from_mode(unsigned mode);
FileType type_from_entry(unsigned char d_type);

// Attributes of an open file (also O_PATH) from what the system holds in memory: no I/O on a local file
// system.
Result<Attributes> attributes_now(int fd, const std::string& object);

// Owner, mode and times, directly. With `path_only` fd is O_PATH. Size: through a writable fd only.
Result<void> change_now(int fd, bool path_only, const SetAttributes& change, const std::string& object);

// The next `most` entries at `cookie`, or somewhat fewer. Directly: it reads the directory's pages, which are
// in memory for a directory in use.
Result<DirectoryPage> list_now(int fd, uint64_t cookie, Listing listing, size_t most,
                               const std::string& object);

}  // namespace canopy::local
