// One POP3 connection (RFC 1939, 2449, 2595).
#pragma once

#include "tools/canopy-bench/line_client.h"

namespace canopy::bench {

enum class TlsMode { kNone, kStls, kPop3s };
enum class Pop3Auth { kUser, kPlain };

class Pop3Session {
 public:
  // `tls` is needed for every mode but kNone. Answers after the greeting (and STLS).
  static Task<Result<std::unique_ptr<Pop3Session>>> connect(UringLoop& loop, Address to, TlsMode mode,
                                                            const TlsSettings* tls);
  // The same on a connected stream.
  static Task<Result<std::unique_ptr<Pop3Session>>> begin(UringLoop& loop, std::unique_ptr<Stream> stream,
                                                          TlsMode mode, const TlsSettings* tls);
  Task<Result<void>> log_in(std::string_view account, std::string_view password, Pop3Auth auth);
  // Sends a command and reads its first line; what stands after "+OK", valid until the next read.
  Task<Result<std::string_view>> command(std::string_view words);
  // The same, and an answer that goes on to a dot: its bytes.
  Task<Result<uint64_t>> long_command(std::string_view words, std::string* text = nullptr);
  Task<Result<uint32_t>> message_count();  // STAT
  // Any answer counts, -ERR too: for NOOP where the server allows no other command.
  Task<Result<void>> probe(std::string_view words);
  void release() { client_->release(); }

 private:
  std::unique_ptr<LineClient> client_;
  std::string out_;
};

}  // namespace canopy::bench
