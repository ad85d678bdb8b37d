// NFSv4's attributes (RFC 7530 section 5) as bytes, and compounds.
#pragma once

#include <string>
#include <vector>

#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs::v4 {

// Which attributes are asked for.
enum class Wanted : uint8_t { kFile, kListing, kLimits, kSpace };
bitmap4 bits_of(Wanted wanted);  // points to static memory

// A fattr4 with its bytes; it stays in place while a call with it is being queued.
class Encoded {
 public:
  explicit Encoded(const SetAttributes& change);
  static Encoded type_only(nfs_ftype4 type);
  fattr4 get();

 private:
  Encoded() = default;
  void add(int attribute);
  void number(uint32_t value);
  void long_number(uint64_t value);
  void text(const std::string& value);
  void time(const FileTime& value);
  std::array<uint32_t, 2> mask_{};
  std::string values_;
};

struct Decoded {
  Attributes attributes;
  bool has_error = false;  // of one entry in a listing
  std::optional<FileHandle> handle;
  ServerLimits limits;
  StoreSpace space;
};
// Empty when the bytes do not hold what their mask says.
std::optional<Decoded> decode(const fattr4& from);

// Operations of one compound. What they point to stays with the caller until the call is queued.
class Compound {
 public:
  Compound& at(const FileHandle& handle);  // PUTFH
  Compound& plain(nfs_opnum4 operation);   // one without arguments
  Compound& lookup(const std::string& name);
  Compound& attributes(Wanted wanted = Wanted::kFile);
  nfs_argop4& add(nfs_opnum4 operation);
  COMPOUND4args arguments();

 private:
  std::vector<nfs_argop4> operations_;
};

utf8string text_of(const std::string& text);
// A number of ours: what a status of RFC 7530 means to NfsStore.
int status_from(nfsstat4 status);

std::optional<nfs_resop4> find(const COMPOUND4res& answer, nfs_opnum4 operation);
// Whether it has made something, though what came after may have failed.
bool has_made(const COMPOUND4res& answer);
std::optional<Attributes> attributes_in(const COMPOUND4res& answer);
std::optional<FileHandle> handle_in(const COMPOUND4res& answer);

template <class T, class Take>
Task<Reply<T>> ask(RpcConnection& on, Compound& compound, Take take) {
  COMPOUND4args arguments = compound.arguments();
  Reply<T> reply = fault(kLost);
  const Outcome outcome = co_await on.call<COMPOUND4res>(
      [&](rpc_context* context, rpc_cb callback, void* data) {
        return rpc_nfs4_compound_async(context, callback, &arguments, data);
      },
      [&](const COMPOUND4res& answer) {
        if (answer.status != NFS4_OK) {
          // What comes after it failed: the name is there, and what it means is looked up.
          reply = fault(has_made(answer) ? static_cast<int>(kLost) : status_from(answer.status));
        } else {
          reply = take(answer);
        }
      });
  if (outcome != Outcome::kAnswered) co_return fault(status_of(outcome));
  co_return reply;
}

}  // namespace canopy::nfs::v4
