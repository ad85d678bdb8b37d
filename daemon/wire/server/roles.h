// Who may call what. A peer's role comes from its Unix credentials or from its TLS certificate (a URI name
// canopy://CLUSTER/role/ROLE/NAME); which role may call which method is one table.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy::wire {

enum class Role : uint8_t {
  kNone = 0,
  kFrontend = 1,  // delivers to anyone; everything else of an account only with that user's ticket
  kMount = 2,     // reads and writes the tree
  kAdmin = 4,
  kBackend = 8,  // other daemons of the cluster
};
using RoleSet = uint8_t;  // of Role bits

std::string_view role_name(Role role);  // "frontend"
std::optional<Role> parse_role(std::string_view name);
std::string roles_text(RoleSet roles);  // "frontend or admin"

// The roles that may call a method; admin alone where the table has no row.
RoleSet roles_for(std::string_view service, std::string_view method);

struct PeerIdentity {
  Role role = Role::kNone;
  std::string name;    // "uid 0", or the certificate's URI name
  std::string reason;  // with kNone: the rule that left it without a role
};

// uid 0 and the daemon's own are admin, those in `frontend_uids` frontend.
PeerIdentity identity_of_uid(uint32_t uid, uint32_t own_uid, const std::vector<uint32_t>& frontend_uids);

// The first URI name of this cluster counts. An empty cluster takes every cluster's.
PeerIdentity identity_of_uris(const std::vector<std::string>& uris, std::string_view cluster);

}  // namespace canopy::wire
