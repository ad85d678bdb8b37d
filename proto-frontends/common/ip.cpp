#include "proto-frontends/common/ip.h"

#include <arpa/inet.h>

#include <charconv>

#include "daemon/base/bytes.h"

namespace canopy::frontend {
namespace {

constexpr std::array<uint8_t, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  std::string host(text);
  uint8_t four[4];
  if (inet_pton(AF_INET, host.c_str(), four) == 1) return v4(four);
  IpAddress address;
  if (inet_pton(AF_INET6, host.c_str(), address.bytes.data()) == 1) return address;
  return fail(Code::kInvalidArgument, host, "not an IPv4 or IPv6 address");
}

IpAddress IpAddress::of(const Address& address) {
  if (address.kind != Address::Kind::kTcp) return {};
  return parse(address.host).value_or(IpAddress{});
}

IpAddress IpAddress::v4(const uint8_t* four_bytes) {
  IpAddress address;
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), address.bytes.begin());
  std::copy(four_bytes, four_bytes + 4, address.bytes.begin() + 12);
  return address;
}

bool IpAddress::is_v4() const { return std::equal(kV4Prefix.begin(), kV4Prefix.end(), bytes.begin()); }

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  if (is_v4()) return inet_ntop(AF_INET, bytes.data() + 12, text, sizeof text);
  return inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
}

IpAddress IpAddress::client() const {
  IpAddress client = *this;
  if (!is_v4()) std::fill(client.bytes.begin() + 8, client.bytes.end(), 0);
  return client;
}

size_t IpAddressHash::operator()(const IpAddress& address) const {
  uint64_t high = get_le<uint64_t>(reinterpret_cast<const char*>(address.bytes.data()));
  uint64_t low = get_le<uint64_t>(reinterpret_cast<const char*>(address.bytes.data()) + 8);
  uint64_t mixed = (high ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 + low;
  mixed = (mixed ^ (mixed >> 30)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

Result<Network> Network::parse(std::string_view text) {
  size_t slash = text.find('/');
  Result<IpAddress> base = IpAddress::parse(text.substr(0, slash));
  if (!base)
    return fail(Code::kInvalidArgument, std::string(text),
                "not a network, as in 10.0.0.0/8 or 2001:db8::/32");
  Network network{.base = *base, .prefix_bits = 128};
  if (slash == text.npos) return network;
  std::string_view digits = text.substr(slash + 1);
  uint8_t bits = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  uint8_t bits_max = base->is_v4() ? 32 : 128;
  if (error != std::errc() || end != digits.data() + digits.size() || bits > bits_max)
    return fail(Code::kInvalidArgument, std::string(text),
                fmt::format("the part after / is not 0 to {}", bits_max));
  network.prefix_bits = static_cast<uint8_t>(bits + (128 - bits_max));
  Network check = network;
  for (size_t bit = network.prefix_bits; bit < 128; ++bit) check.base.bytes[bit / 8] &= ~(0x80 >> (bit % 8));
  if (!(check.base == network.base))
    return fail(Code::kInvalidArgument, std::string(text), "the address has bits set behind the prefix");
  return network;
}

bool Network::contains(const IpAddress& address) const {
  size_t whole = prefix_bits / 8, rest = prefix_bits % 8;
  if (!std::equal(base.bytes.begin(), base.bytes.begin() + whole, address.bytes.begin())) return false;
  if (rest == 0) return true;
  auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return (base.bytes[whole] & mask) == (address.bytes[whole] & mask);
}

}  // namespace canopy::frontend
