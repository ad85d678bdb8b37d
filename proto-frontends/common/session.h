// What a session of any protocol is given, besides its connection.
#pragma once

#include <memory>
#include <string>

#include "proto-frontends/common/backend.h"
#include "proto-frontends/common/border.h"
#include "proto-frontends/common/connection.h"

namespace canopy::frontend {

// Settings of one listener (docs/frontends.md); the same object for all its sessions.
struct SessionOptions {
  std::string hostname = "localhost";  // in greetings and Received fields
  std::string domain;                  // appended to names without '@'; empty: they are refused
  Nanos idle = 600 * kSecond;
  bool plaintext_auth = false;  // POP3: passwords without TLS
  uint64_t message_bytes_max = 100ull << 20;
  uint32_t recipients_max = 1000;
  bool quota_is_permanent = false;  // LMTP: 552 5.2.2 for an account over its quota, not 452 4.2.2
};

struct SessionContext {
  const SessionOptions& options;
  Backend& backend;
  LoginDelays& delays;
  std::shared_ptr<TlsContext> tls;  // for STARTTLS and STLS; null: not offered
};

// 16 bytes for a request that may be sent again.
std::string new_request_id(Loop& loop);

}  // namespace canopy::frontend
