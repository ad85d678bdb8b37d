#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

#include "daemon/runtime/net.h"
#include "daemon/runtime/socket_address.h"

namespace canopy {

Result<Address> Address::parse(std::string_view text) {
  auto refuse = [&](std::string_view rule) {
    return fail(Code::kInvalidArgument, std::string(text), fmt::format("not an address: {}", rule));
  };
  if (text.starts_with("unix:")) {
    std::string_view path = text.substr(5);
    if (path.empty()) return refuse("the path of a unix: address is empty");
    if (path.size() > kUnixPathBytesMax)
      return refuse(fmt::format("the path of a Unix socket has at most {} bytes", kUnixPathBytesMax));
    if (path.find('\0') != path.npos) return refuse("the path has a NUL byte");
    return Address{.kind = Kind::kUnix, .host = std::string(path), .port = 0};
  }
  if (!text.starts_with("tcp:")) return refuse("it begins with neither unix: nor tcp:");
  std::string_view rest = text.substr(4);
  size_t colon = rest.rfind(':');
  if (colon == rest.npos) return refuse("the port is missing, as in tcp:127.0.0.1:2525");
  std::string_view host = rest.substr(0, colon), port_text = rest.substr(colon + 1);
  Address address{.kind = Kind::kTcp, .host = {}, .port = 0};
  auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), address.port);
  if (error != std::errc() || end != port_text.data() + port_text.size())
    return refuse("the port is not a number from 0 to 65535");
  unsigned char raw[sizeof(in6_addr)];
  if (host == "*") return address;
  if (host.starts_with('[') && host.ends_with(']')) {
    address.host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, address.host.c_str(), raw) != 1)
      return refuse("the host in [] is not an IPv6 address");
  } else {
    address.host = host;
    if (inet_pton(AF_INET, address.host.c_str(), raw) != 1)
      return refuse(
          "the host is neither *, nor an IPv4 address, nor an IPv6 address in []; names are not looked up");
  }
  return address;
}

std::string Address::to_string() const {
  if (kind == Kind::kUnix) return "unix:" + host;
  if (host.empty()) return fmt::format("tcp:*:{}", port);
  if (host.find(':') != host.npos) return fmt::format("tcp:[{}]:{}", host, port);
  return fmt::format("tcp:{}:{}", host, port);
}

Address address_of(const sockaddr_storage& from, socklen_t length) {
  Address address;
  char text[INET6_ADDRSTRLEN];
  if (from.ss_family == AF_UNIX) {
    const auto& un = reinterpret_cast<const sockaddr_un&>(from);
    address.kind = Address::Kind::kUnix;
    if (length > offsetof(sockaddr_un, sun_path) && un.sun_path[0] != '\0')
      address.host.assign(un.sun_path, strnlen(un.sun_path, length - offsetof(sockaddr_un, sun_path)));
  } else if (from.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(from);
    address.port = ntohs(in.sin_port);
    if (in.sin_addr.s_addr != 0) address.host = inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
  } else if (from.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(from);
    address.port = ntohs(in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr))  // an IPv4 peer of a socket for both families
      address.host = inet_ntop(AF_INET, in.sin6_addr.s6_addr + 12, text, sizeof text);
    else if (!IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr))
      address.host = inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
  }
  return address;
}

socklen_t fill_sockaddr(const Address& address, bool listening, sockaddr_storage& out) {
  std::memset(&out, 0, sizeof out);
  if (address.kind == Address::Kind::kUnix) {
    auto& un = reinterpret_cast<sockaddr_un&>(out);
    un.sun_family = AF_UNIX;
    CANOPY_CHECK(address.host.size() <= kUnixPathBytesMax);
    std::memcpy(un.sun_path, address.host.data(), address.host.size());
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.host.size() + 1);
  }
  bool any = address.host.empty();
  if (any ? listening : address.host.find(':') != std::string::npos) {
    auto& in = reinterpret_cast<sockaddr_in6&>(out);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    if (!any && inet_pton(AF_INET6, address.host.c_str(), &in.sin6_addr) != 1) return 0;
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in&>(out);
  in.sin_family = AF_INET;
  in.sin_port = htons(address.port);
  if (any)
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);  // to connect to "any" is to connect to this machine
  else if (inet_pton(AF_INET, address.host.c_str(), &in.sin_addr) != 1)
    return 0;
  return sizeof in;
}

}  // namespace canopy
