// The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, as a pure state machine.
// Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/account/passwords.h"

namespace canopy {

inline constexpr size_t kScramMessageBytesMax = 4096;

struct ScramFirst {  // client-first-message, parsed
  std::string user;  // "=2C" and "=3D" undone
  std::string authorization;
  std::string nonce;
  std::string bare;
  std::string gs2_header;
  static Result<ScramFirst> parse(std::string_view message);
};

class ScramServer {
 public:
  // `keys` of the account; for one that does not exist invented ones, so that the answer does not tell.
  ScramServer(ScramFirst first, ScramKeys keys, const std::string& server_nonce);
  const std::string& challenge() const { return server_first_; }  // server-first-message
  // The server-final-message ("v=…"), or kUnauthenticated.
  Result<std::string> finish(std::string_view client_final) const;

 private:
  ScramFirst first_;
  ScramKeys keys_;
  std::string nonce_;
  std::string server_first_;
};

// Keys that belong to nobody, the same for the same name each time.
ScramKeys invented_scram_keys(std::string_view name, std::string_view secret);

}  // namespace canopy
