#include "proto-frontends/common/proxy_protocol.h"

#include <charconv>

namespace canopy::frontend {
namespace {

constexpr std::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::string_view kSignature1 = "PROXY ";
constexpr size_t kVersion1BytesMax = 107;  // with CR LF
constexpr size_t kVersion2HeadBytes = 16;
constexpr uint8_t kTlvAuthority = 0x02, kTlvSsl = 0x20, kSslClient = 0x01;

ProxyParse invalid(std::string_view why) { return {ProxyStatus::kInvalid, 0, {}, why, 0}; }
ProxyParse need(size_t wanted) { return {ProxyStatus::kNeedMore, 0, {}, {}, wanted}; }

uint16_t big16(std::string_view at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(at[0]) << 8 | static_cast<uint8_t>(at[1]));
}

std::optional<std::string_view> take_word(std::string_view& rest) {
  if (rest.empty()) return std::nullopt;
  size_t space = rest.find(' ');
  std::string_view word = rest.substr(0, space);
  rest = space == rest.npos ? std::string_view() : rest.substr(space + 1);
  if (word.empty()) return std::nullopt;
  return word;
}

bool parse_port(std::string_view digits, uint16_t& port) {
  if (digits.size() > 1 && digits[0] == '0') return false;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc() && end == digits.data() + digits.size();
}

ProxyParse parse_version1(std::string_view input) {
  size_t end = input.substr(0, kVersion1BytesMax).find("\r\n");
  if (end == input.npos) {
    if (input.size() >= kVersion1BytesMax) return invalid("a version 1 header has at most 107 bytes");
    return need(input.back() == '\r' ? 1 : 2);
  }
  std::string_view rest = input.substr(kSignature1.size(), end - kSignature1.size());
  ProxyParse done{ProxyStatus::kDone, end + 2, {}, {}, 0};
  auto family = take_word(rest);
  if (family == "UNKNOWN") return done;
  if (family != "TCP4" && family != "TCP6") return invalid("the family is not TCP4, TCP6 or UNKNOWN");
  auto source = take_word(rest), destination = take_word(rest), from = take_word(rest), to = take_word(rest);
  if (!source || !destination || !from || !to || !rest.empty())
    return invalid("a version 1 header has two addresses and two ports");
  auto a = IpAddress::parse(*source), b = IpAddress::parse(*destination);
  bool v4 = family == "TCP4";
  if (!a || !b || a->is_v4() != v4 || b->is_v4() != v4)
    return invalid("an address does not belong to the family");
  if (!parse_port(*from, done.header.source_port) || !parse_port(*to, done.header.destination_port))
    return invalid("a port is not a number from 0 to 65535");
  done.header.source = *a;
  done.header.destination = *b;
  return done;
}

// Type-length-value fields behind the addresses. Unknown ones are skipped, as the protocol asks.
bool parse_tlvs(std::string_view tlvs, ProxyHeader& header) {
  while (!tlvs.empty()) {
    if (tlvs.size() < 3) return false;
    auto type = static_cast<uint8_t>(tlvs[0]);
    size_t length = big16(tlvs.substr(1));
    tlvs.remove_prefix(3);
    if (tlvs.size() < length) return false;
    std::string_view value = tlvs.substr(0, length);
    tlvs.remove_prefix(length);
    if (type == kTlvAuthority) header.authority = value;
    if (type == kTlvSsl && length >= 5) header.tls = (static_cast<uint8_t>(value[0]) & kSslClient) != 0;
  }
  return true;
}

IpAddress v6(std::string_view at) {
  IpAddress address;
  std::copy(at.begin(), at.begin() + 16, address.bytes.begin());
  return address;
}

ProxyParse parse_version2(std::string_view input) {
  if (input.size() < kVersion2HeadBytes) return need(kVersion2HeadBytes - input.size());
  auto version_command = static_cast<uint8_t>(input[12]), family = static_cast<uint8_t>(input[13]);
  size_t length = big16(input.substr(14));
  if ((version_command >> 4) != 2) return invalid("the version is not 2");
  uint8_t command = version_command & 0x0f;
  if (command > 1) return invalid("the command is neither LOCAL nor PROXY");
  if (kVersion2HeadBytes + length > kProxyHeaderBytesMax) return invalid("the header is too long");
  if (input.size() < kVersion2HeadBytes + length) return need(kVersion2HeadBytes + length - input.size());
  ProxyParse done{ProxyStatus::kDone, kVersion2HeadBytes + length, {}, {}, 0};
  done.header.local = command == 0;
  if (done.header.local) return done;  // whatever addresses it carries do not count
  std::string_view body = input.substr(kVersion2HeadBytes, length);
  size_t address_bytes = 0;
  switch (family >> 4) {
    case 0x0: return done;  // UNSPEC
    case 0x1: address_bytes = 12; break;
    case 0x2: address_bytes = 36; break;
    case 0x3: address_bytes = 216; break;
    default: return invalid("the address family is unknown");
  }
  if ((family & 0x0f) != 1) return invalid("the transport is not STREAM");
  if (body.size() < address_bytes) return invalid("the header is shorter than its addresses");
  if ((family >> 4) == 0x1) {
    done.header.source = IpAddress::v4(reinterpret_cast<const uint8_t*>(body.data()));
    done.header.destination = IpAddress::v4(reinterpret_cast<const uint8_t*>(body.data()) + 4);
    done.header.source_port = big16(body.substr(8));
    done.header.destination_port = big16(body.substr(10));
  } else if ((family >> 4) == 0x2) {
    done.header.source = v6(body);
    done.header.destination = v6(body.substr(16));
    done.header.source_port = big16(body.substr(32));
    done.header.destination_port = big16(body.substr(34));
  }
  if (!parse_tlvs(body.substr(address_bytes), done.header))
    return invalid("a TLV runs past the end of the header");
  return done;
}

}  // namespace

ProxyParse parse_proxy_header(std::string_view input) {
  auto begins = [&](std::string_view signature) {
    size_t common = std::min(input.size(), signature.size());
    return input.substr(0, common) == signature.substr(0, common);
  };
  // The shortest header of version 1 is longer than the signature of version 2.
  if (input.size() < kSignature2.size() && (begins(kSignature2) || begins(kSignature1)))
    return need(kSignature2.size() - input.size());
  if (begins(kSignature2)) return parse_version2(input);
  if (begins(kSignature1)) return parse_version1(input);
  return invalid("the connection does not begin with a PROXY header");
}

}  // namespace canopy::frontend
