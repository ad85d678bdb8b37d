// A client's connection as protocol code uses it: unread bytes, replies that wait to be written together,
// idle time, and the end. While it waits for a client that says nothing it holds no buffer. For its loop's
// thread only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/runtime/loop.h"
#include "proto-frontends/common/ip.h"

namespace canopy {
class TlsContext;
}

namespace canopy::frontend {

// One loop's read buffers of one size. Buffers come and go with every client that says something; taken from
// the heap between the small things that idle connections keep, they would leave it full of holes.
class BufferPool {
 public:
  explicit BufferPool(uint32_t buffer_bytes) : buffer_bytes_(buffer_bytes) {}
  uint32_t buffer_bytes() const { return buffer_bytes_; }
  std::unique_ptr<char[]> take();
  void give(std::unique_ptr<char[]> buffer);
  // Few enough are out that a client may keep its own for the short time until its next command.
  bool may_keep() const { return out_ <= kKeptMax; }

 private:
  static constexpr size_t kKeptMax = 256;
  const uint32_t buffer_bytes_;
  size_t out_ = 0;
  std::vector<std::unique_ptr<char[]>> free_;
};

class Connection {
 public:
  // `draining` and `pool` belong to the server; `draining` turns true when no new command may begin.
  Connection(Loop& loop, std::unique_ptr<Stream> stream, const bool& draining, BufferPool& pool);
  ~Connection() { release_buffer(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Loop& loop() { return loop_; }
  const IpAddress& client() const { return client_; }  // behind a PROXY header: whom it named
  void set_client(const IpAddress& client) { client_ = client; }
  bool tls() const { return tls_; }
  void set_tls_outside() { tls_ = true; }  // the balancer took it off

  // What was read and not consumed. Valid until the next fill().
  std::string_view unread() const { return {in_.get() + begin_, end_ - begin_}; }
  void consume(size_t bytes);

  enum class Filled { kBytes, kEnd, kIdle, kDraining, kLost };
  // Reads what there is behind unread(), waiting at most `idle`. `between_commands`: the server may end the
  // connection here; it then has said its farewell (`farewell`, which must outlive the call) when kDraining
  // comes back.
  Task<Filled> fill(Nanos idle, bool between_commands, std::string_view farewell);

  // The next fills take at most so many bytes off the stream; 0: no limit.
  void limit_reads(size_t bytes) { read_limit_ = bytes; }

  // Replies are gathered and written by flush().
  std::string& out() { return out_; }
  void reply(std::string_view line) { out_.append(line).append("\r\n"); }
  // False when the client is gone.
  Task<bool> flush();

  // The server's side of a handshake; bytes that came in the clear behind the command are refused before this
  // is called.
  Task<Result<void>> start_tls(std::shared_ptr<TlsContext> context);

  // By the server: says farewell to a client that is idle between commands. abort() ends it at once.
  void drain();
  void abort();
  // Tells the client that nothing more comes, so that it reads the last reply and not a reset.
  Task<void> finish();

  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }
  uint32_t commands = 0;
  std::string_view end_reason = "quit";  // a literal, for the log

 private:
  void make_room();
  void release_buffer();
  Task<Filled> wait_and_read(Nanos idle);

  Loop& loop_;
  std::unique_ptr<Stream> stream_;  // null while a handshake has it, and after one that failed
  const bool& draining_;
  BufferPool& pool_;
  uint32_t capacity_ = 0, begin_ = 0, end_ = 0;
  std::unique_ptr<char[]> in_;
  std::string out_;
  IpAddress client_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  size_t read_limit_ = 0;
  std::string_view farewell_;  // while the server may interrupt the wait
  bool tls_ = false;
  bool said_ = false;  // the farewell
};

}  // namespace canopy::frontend
