// Protocol: the calls of an NFS version by file handle, one round trip each, as NfsStore needs them. What is
// repeated, waited for, looked up or remembered is not decided here.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/check.h"
#include "daemon/runtime/task.h"
#include "daemon/store/nfs/nfs_limits.h"
#include "daemon/store/nfs/reply.h"
#include "daemon/store/nfs/rpc_connection.h"
#include "daemon/store/store.h"

namespace canopy::nfs {

// What the server calls a file; opaque.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(std::string_view bytes) : size_(static_cast<uint8_t>(bytes.size())) {
    CANOPY_CHECK(bytes.size() <= kHandleBytesMax);
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  }
  std::string_view bytes() const { return {bytes_.data(), size_}; }
  bool operator==(const FileHandle& other) const { return bytes() == other.bytes(); }

 private:
  uint8_t size_ = 0;
  std::array<char, kHandleBytesMax> bytes_;
};

struct ServerLimits {
  uint32_t read_bytes = 0, write_bytes = 0;  // of one call
  uint64_t file_bytes = 0;                   // of a file
};

struct Found {
  FileHandle handle;
  std::optional<Attributes> attributes;
};

struct Made {
  std::optional<FileHandle> handle;
  std::optional<Attributes> attributes;
};

struct ReadAnswer {
  size_t count = 0;
  bool end = false;
  std::optional<Attributes> attributes;
};

enum class Stability : uint8_t { kUnstable = 0, kData = 1, kFile = 2 };
using WriteVerifier = std::array<char, 8>;

struct WriteAnswer {
  size_t count = 0;
  Stability committed = Stability::kUnstable;
  WriteVerifier verifier{};
  std::optional<Attributes> after;
};

struct CommitAnswer {
  WriteVerifier verifier{};
  std::optional<Attributes> after;
};

struct ListAnswer {
  struct Entry {
    std::string name;
    uint64_t file_id = 0;
    uint64_t cookie = 0;
    std::optional<Attributes> attributes;
    std::optional<FileHandle> handle;
  };
  std::vector<Entry> entries;  // "." and ".." may be among them
  std::array<char, 8> cookie_verifier{};
  bool end = false;
};

// Of a call without a result.
inline int status_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kRefused: return kRefused;
    case Outcome::kNotSent: return kNotSent;
    default: return kLost;
  }
}

class Protocol {
 public:
  virtual ~Protocol() = default;

  // Times before 1970 and after 2106, which 32 bits do not hold.
  virtual bool has_early_times() const = 0;

  virtual Task<Reply<ServerLimits>> limits(RpcConnection& on, FileHandle root) = 0;
  virtual Task<Reply<StoreSpace>> space(RpcConnection& on, FileHandle root) = 0;
  virtual Task<Reply<Found>> lookup(RpcConnection& on, FileHandle directory, std::string name) = 0;
  virtual Task<Reply<Attributes>> attributes(RpcConnection& on, FileHandle file) = 0;
  virtual Task<Reply<void>> set_attributes(RpcConnection& on, FileHandle file, SetAttributes change) = 0;
  // Into at most `into`, of at most ServerLimits::read_bytes.
  virtual Task<Reply<ReadAnswer>> read(RpcConnection& on, FileHandle file, uint64_t offset,
                                       std::span<char> into) = 0;
  // `bytes` are copied before the first suspension.
  virtual Task<Reply<WriteAnswer>> write(RpcConnection& on, FileHandle file, uint64_t offset,
                                         std::string_view bytes, Stability stability) = 0;
  virtual Task<Reply<CommitAnswer>> commit(RpcConnection& on, FileHandle file) = 0;
  // kExists when the name is taken; otherwise the file has these attributes from its first moment.
  virtual Task<Reply<Made>> create(RpcConnection& on, FileHandle directory, std::string name,
                                   SetAttributes attributes) = 0;
  virtual Task<Reply<Made>> make_directory(RpcConnection& on, FileHandle directory, std::string name,
                                           SetAttributes attributes) = 0;
  virtual Task<Reply<Made>> make_symlink(RpcConnection& on, FileHandle directory, std::string name,
                                         std::string target) = 0;
  virtual Task<Reply<std::string>> read_symlink(RpcConnection& on, FileHandle link) = 0;
  virtual Task<Reply<void>> remove(RpcConnection& on, FileHandle directory, std::string name) = 0;
  virtual Task<Reply<void>> remove_directory(RpcConnection& on, FileHandle directory, std::string name) = 0;
  virtual Task<Reply<void>> rename(RpcConnection& on, FileHandle from, std::string from_name, FileHandle to,
                                   std::string to_name) = 0;
  virtual Task<Reply<void>> link(RpcConnection& on, FileHandle file, FileHandle to, std::string to_name) = 0;
  virtual Task<Reply<ListAnswer>> list(RpcConnection& on, FileHandle directory, uint64_t cookie,
                                       std::array<char, 8> cookie_verifier) = 0;
};

}  // namespace canopy::nfs
