// What a TlsContext has read from its files. Inner header of runtime/.
#pragma once

#include <openssl/ssl.h>

#include "daemon/runtime/tls.h"

namespace canopy {

using SslContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

struct TlsContext::Loaded {
  std::vector<SslContext> contexts;  // one a certificate; the first is the default
};

}  // namespace canopy
