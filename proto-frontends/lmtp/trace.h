// The Received field that every delivery gets (RFC 5321 section 4.4, RFC 3848, RFC 6531 section 4.3). Pure.
#pragma once

#include <cstdint>
#include <string>

namespace canopy::lmtp {

struct TraceInfo {
  std::string helo;
  std::string client;  // address, or empty for a Unix peer
  std::string hostname;
  std::string recipient;  // empty when there are several: nobody learns who else got it
  std::string id;         // of the session, for the logs
  bool tls = false;
  bool utf8 = false;
  int64_t unix_seconds = 0;
};

// Ends with CR LF. Lines stay under 998 bytes.
std::string received_field(const TraceInfo& info);

}  // namespace canopy::lmtp
