// The URI name by which a certificate of this system says what its holder is: canopy://CLUSTER/role/ROLE/NAME
// (docs/protocol/README.md).
#pragma once

#include <optional>
#include <string_view>

namespace canopy::wire {

struct CertificateName {  // views of the text that was parsed
  std::string_view cluster, role, name;
};

// Nullopt: it is a URI of something else. Role and name may be empty, or unknown ones.
std::optional<CertificateName> parse_certificate_name(std::string_view uri);

}  // namespace canopy::wire
