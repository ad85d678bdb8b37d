// LineClient: the client's side of LMTP and POP3, plain or over TLS, on a UringLoop. It sends bytes and takes
// apart lines and dot-ended bodies; what they mean is the scenario's. For the loop's thread only. Memory: one
// buffer of kBufferBytes while something is read (release() gives it back), and OpenSSL's own with TLS.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "daemon/runtime/uring_loop.h"

namespace canopy::bench {

// Settings of TLS for all connections of a run. Certificates are not checked: speed is measured, not trust.
class TlsSettings {
 public:
  static Result<std::unique_ptr<TlsSettings>> create();
  ~TlsSettings();
  SSL_CTX* context() const { return context_; }

 private:
  explicit TlsSettings(SSL_CTX* context) : context_(context) {}
  SSL_CTX* context_;
};

class LineClient {
 public:
  static constexpr size_t kBufferBytes = 64 << 10;  // also the longest line

  explicit LineClient(UringLoop& loop, std::unique_ptr<Stream> stream)
      : loop_(loop), stream_(std::move(stream)) {}
  LineClient(const LineClient&) = delete;
  LineClient& operator=(const LineClient&) = delete;
  ~LineClient();

  static Task<Result<std::unique_ptr<LineClient>>> connect(UringLoop& loop, Address to);
  // The handshake; then everything is encrypted. Nothing may have been read beyond the last line.
  Task<Result<void>> start_tls(const TlsSettings& settings);

  Task<Result<void>> send(std::string_view bytes);
  // One line without its CRLF, valid until the next read.
  Task<Result<std::string_view>> line();
  // What follows an answer that goes on to a line with a single dot: its bytes, the dot not counted.
  // `text`, where not null, gets them too.
  Task<Result<uint64_t>> body(std::string* text = nullptr);
  void release();  // the buffer, when nothing waits in it

  UringLoop& loop() const { return loop_; }

 private:
  Task<Result<void>> read_more();
  Task<Result<size_t>> read_some(std::span<char> into);
  Task<Result<void>> flush_tls();
  Task<Result<void>> feed_tls();
  Nanos deadline() const { return loop_.now() + 120 * kSecond; }

  UringLoop& loop_;
  std::unique_ptr<Stream> stream_;
  SSL* tls_ = nullptr;
  std::unique_ptr<char[]> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace canopy::bench
