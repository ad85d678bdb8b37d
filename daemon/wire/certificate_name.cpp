#include "daemon/wire/certificate_name.h"

namespace canopy::wire {

std::optional<CertificateName> parse_certificate_name(std::string_view uri) {
  constexpr std::string_view kScheme = "canopy://", kRole = "/role/";
  if (!uri.starts_with(kScheme)) return std::nullopt;
  uri.remove_prefix(kScheme.size());
  const size_t end = uri.find(kRole);
  if (end == std::string_view::npos || end == 0) return std::nullopt;
  CertificateName found;
  found.cluster = uri.substr(0, end);
  uri.remove_prefix(end + kRole.size());
  const size_t slash = uri.find('/');
  found.role = uri.substr(0, slash);
  if (slash != std::string_view::npos) found.name = uri.substr(slash + 1);
  return found;
}

}  // namespace canopy::wire
