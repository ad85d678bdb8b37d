// The PROXY header: no prefix of a header is wrong, nothing behind it is taken, and it never wants what it
// does not need.
#include <cstdint>

#include "daemon/base/check.h"
#include "proto-frontends/common/proxy_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy::frontend;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ProxyParse whole = parse_proxy_header(bytes);
  if (whole.status != ProxyStatus::kDone) return 0;
  CANOPY_CHECK(whole.consumed <= size && whole.consumed <= kProxyHeaderBytesMax);
  for (size_t have = 0; have < whole.consumed;) {
    ProxyParse part = parse_proxy_header(bytes.substr(0, have));
    CANOPY_CHECK(part.status == ProxyStatus::kNeedMore && part.wanted > 0);
    have += part.wanted;
    CANOPY_CHECK(have <= whole.consumed);
  }
  ProxyParse exact = parse_proxy_header(bytes.substr(0, whole.consumed));
  CANOPY_CHECK(exact.status == ProxyStatus::kDone && exact.header.source == whole.header.source);
  return 0;
}
