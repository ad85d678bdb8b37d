// Streams and listeners, as a Loop gives them. All members are for the thread of the loop that made the
// object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/runtime/task.h"

namespace canopy {

// "unix:/path/to/socket", "tcp:127.0.0.1:2525", "tcp:[::1]:110", "tcp:*:24" (all addresses, IPv6 and IPv4).
struct Address {
  enum class Kind { kUnix, kTcp } kind = Kind::kTcp;
  std::string host;  // the path for kUnix; numeric for kTcp, "" is any
  uint16_t port = 0;

  static Result<Address> parse(std::string_view text);
  std::string to_string() const;
  bool operator==(const Address&) const = default;
};

struct ListenOptions {
  int backlog = 4096;
  bool reuse_port = false;    // several loops on one TCP address; the kernel spreads connections
  uint32_t unix_mode = 0600;  // of the socket file
};

// Who is at the other end of a Unix socket (SO_PEERCRED). pid 0: not known.
struct PeerCredentials {
  uint32_t pid = 0, uid = ~0u, gid = ~0u;
};

// A byte stream. At most one read and one write may be under way at a time; they may overlap each other.
class Stream {
 public:
  virtual ~Stream() = default;  // closes; nothing may be under way

  // Waits until bytes (or the end) can be read, holding no buffer meanwhile: what an idle connection sits in.
  // deadline: as Loop::now(); kDeadlineExceeded when it passes.
  virtual Task<Result<void>> readable(int64_t deadline) = 0;
  // Reads at least one byte, at most into.size(); 0 is the end of the stream.
  virtual Task<Result<size_t>> read(std::span<char> into, int64_t deadline) = 0;
  // Writes all pieces, or fails. The bytes must stay in place until it answers.
  virtual Task<Result<void>> write(std::span<const std::string_view> pieces, int64_t deadline) = 0;
  // Writes as much as can go without waiting and answers how much; nothing while a write is under way. For
  // last words before the stream closes.
  virtual size_t write_at_once(std::string_view bytes) = 0;
  // Ends our direction; the peer reads an end.
  virtual void shutdown_write() = 0;
  // What is under way fails with kCancelled, and every later call with kConnectionLost.
  virtual void abort() = 0;

  virtual const Address& peer() const = 0;  // of a Unix peer: its path or empty
  virtual const Address& local() const = 0;
  virtual PeerCredentials peer_credentials() const = 0;

  Task<Result<void>> write_all(std::string_view bytes, int64_t deadline);  // one piece
};

class Listener {
 public:
  virtual ~Listener() = default;  // closes; nothing may be under way
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void abort() = 0;                  // a waiting accept fails with kCancelled
  virtual const Address& local() const = 0;  // with the port that the system chose
};

}  // namespace canopy
