// IP addresses and networks, as plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/runtime/net.h"

namespace canopy::frontend {

// IPv4 lies in ::ffff:0:0/96, so that both families are one kind of key.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  static Result<IpAddress> parse(std::string_view text);
  // The unspecified address for a Unix peer.
  static IpAddress of(const Address& address);
  static IpAddress v4(const uint8_t* four_bytes);

  bool is_v4() const;
  bool is_unspecified() const { return *this == IpAddress{}; }
  std::string to_string() const;  // "192.0.2.1", "2001:db8::1"
  // Who is counted as one client: an IPv4 address, or an IPv6 /64, which is what one subscriber gets.
  IpAddress client() const;
  bool operator==(const IpAddress&) const = default;
};

struct IpAddressHash {
  size_t operator()(const IpAddress& address) const;
};

// "10.0.0.0/8", "2001:db8::/32", "192.0.2.1" (one address).
struct Network {
  IpAddress base;
  uint8_t prefix_bits = 128;  // of the 16-byte form

  static Result<Network> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
};

}  // namespace canopy::frontend
