// Certificates for Canopy's TLS: a CA of one cluster and certificates that carry a role in a URI name,
// canopy://CLUSTER/role/ROLE/NAME (docs/protocol). PEM throughout; over OpenSSL; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::ctl {

enum class KeyKind { kP256, kEd25519 };
Result<KeyKind> parse_key_kind(const std::string& name);  // "p256", "ed25519"

struct Pem {
  std::string certificate;
  std::string key;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> uris, dns_names, addresses;
  int days = 825;
  KeyKind key_kind = KeyKind::kP256;
};

Result<Pem> make_ca(const std::string& common_name, int days, KeyKind key_kind);
// Signed by the CA; for servers and clients.
Result<Pem> issue_certificate(const Pem& ca, const CertificateRequest& request);

struct CertificateFacts {
  std::string subject, issuer, not_before, not_after, serial,
      fingerprint;  // times as RFC 3339, fingerprint: SHA-256
  std::vector<std::string> uris, dns_names, addresses;
  bool is_ca = false;
  bool expired = false;
};
Result<CertificateFacts> describe_certificate(const std::string& pem, const std::string& name);

}  // namespace canopy::ctl
