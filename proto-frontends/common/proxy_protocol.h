// The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): the first bytes of a connection that a
// trusted balancer hands on, naming the client behind it. Without I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proto-frontends/common/ip.h"

namespace canopy::frontend {

// A header beyond this is refused; version 1 has at most 107 bytes, version 2 may carry TLVs.
inline constexpr size_t kProxyHeaderBytesMax = 16 + 4096;

struct ProxyHeader {
  bool local = false;             // the balancer itself (health check): the connection's own addresses hold
  IpAddress source, destination;  // unspecified for LOCAL, UNKNOWN and Unix sockets
  uint16_t source_port = 0, destination_port = 0;
  bool tls = false;       // the balancer took the client's TLS off (PP2_TYPE_SSL)
  std::string authority;  // PP2_TYPE_AUTHORITY: the name from SNI
};

enum class ProxyStatus { kNeedMore, kDone, kInvalid };

struct ProxyParse {
  ProxyStatus status = ProxyStatus::kNeedMore;
  size_t consumed = 0;  // with kDone: the length of the header
  ProxyHeader header;
  std::string_view why;  // with kInvalid: the rule that was broken
  size_t wanted = 1;     // with kNeedMore: so many more bytes certainly belong to the header
};

// `input`: everything received so far. The result depends on the bytes alone, not on how they were cut.
// Whoever reads only `wanted` bytes at a time never takes one of what follows the header, which may be a TLS
// handshake.
ProxyParse parse_proxy_header(std::string_view input);

}  // namespace canopy::frontend
