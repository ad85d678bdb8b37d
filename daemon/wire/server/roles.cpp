#include "daemon/wire/server/roles.h"

#include "daemon/wire/certificate_name.h"

namespace canopy::wire {
namespace {

constexpr RoleSet kFrontend = static_cast<RoleSet>(Role::kFrontend);
constexpr RoleSet kMount = static_cast<RoleSet>(Role::kMount);
constexpr RoleSet kAdmin = static_cast<RoleSet>(Role::kAdmin);
constexpr RoleSet kBackend = static_cast<RoleSet>(Role::kBackend);
constexpr RoleSet kAll = kFrontend | kMount | kAdmin | kBackend;

constexpr std::pair<Role, std::string_view> kNames[] = {{Role::kFrontend, "frontend"},
                                                        {Role::kMount, "mount"},
                                                        {Role::kAdmin, "admin"},
                                                        {Role::kBackend, "backend"}};

struct Row {
  std::string_view service;
  std::string_view method;  // empty: every method of the service that has no row of its own
  RoleSet roles;
};

// Where an account is named and a frontend may call, the service asks for that account's ticket besides.
constexpr Row kRows[] = {
    {"canopy.v1.Session", "", kAll},
    {"canopy.v1.Session", "Authenticate", kFrontend | kAdmin},
    {"canopy.v1.Directory", "", kAdmin},
    {"canopy.v1.Directory", "Resolve", kFrontend | kAdmin},
    {"canopy.v1.Directory", "GetAccount", kFrontend | kMount | kAdmin},
    {"canopy.v1.Directory", "SetPassword", kFrontend | kAdmin},
    {"canopy.v1.Directory", "ListDomains", kMount | kAdmin},
    {"canopy.v1.Directory", "GetDomain", kMount | kAdmin},
    {"canopy.v1.Directory", "ListAccounts", kMount | kAdmin},
    {"canopy.v1.Directory", "Locate", kMount | kAdmin | kBackend},
    {"canopy.v1.Mailboxes", "", kFrontend | kMount | kAdmin},
    {"canopy.v1.Mailboxes", "Deliver", kFrontend | kAdmin},
    {"canopy.v1.Mailboxes", "StoreFlags", kFrontend | kAdmin},
    {"canopy.v1.Mailboxes", "Subscribe", kFrontend | kAdmin},
    {"canopy.v1.Mailboxes", "LockMaildrop", kFrontend | kAdmin},
    {"canopy.v1.Mailboxes", "UnlockMaildrop", kFrontend | kAdmin},
    {"canopy.v1.Info", "", kFrontend | kMount | kAdmin},
    {"canopy.v1.Events", "", kFrontend | kMount | kAdmin},
    {"canopy.v1.Stores", "List", kMount | kAdmin},
    {"canopy.v1.Stores", "GetMounts", kMount | kAdmin},
    {"canopy.v1.Tree", "", kMount | kAdmin},
    {"canopy.v1.Cluster", "GetStatus", kFrontend | kMount | kAdmin | kBackend},
    {"canopy.v1.Cluster", "Metrics", kAdmin | kBackend},
};

}  // namespace

std::string_view role_name(Role role) {
  for (const auto& [known, name] : kNames)
    if (known == role) return name;
  return "none";
}

std::optional<Role> parse_role(std::string_view name) {
  for (const auto& [role, known] : kNames)
    if (known == name) return role;
  return std::nullopt;
}

std::string roles_text(RoleSet roles) {
  std::string text;
  for (const auto& [role, name] : kNames) {
    if ((roles & static_cast<RoleSet>(role)) == 0) continue;
    if (!text.empty()) text += " or ";
    text += name;
  }
  return text;
}

RoleSet roles_for(std::string_view service, std::string_view method) {
  RoleSet found = kAdmin;
  for (const Row& row : kRows) {
    if (row.service != service) continue;
    if (row.method == method) return row.roles;
    if (row.method.empty()) found = row.roles;
  }
  return found;
}

PeerIdentity identity_of_uid(uint32_t uid, uint32_t own_uid, const std::vector<uint32_t>& frontend_uids) {
  PeerIdentity peer{.role = Role::kNone, .name = fmt::format("uid {}", uid), .reason = {}};
  if (uid == 0 || uid == own_uid)
    peer.role = Role::kAdmin;
  else if (std::ranges::find(frontend_uids, uid) != frontend_uids.end())
    peer.role = Role::kFrontend;
  else
    peer.reason = fmt::format("uid {} is neither the daemon's, nor root's, nor a configured frontend's", uid);
  return peer;
}

PeerIdentity identity_of_uris(const std::vector<std::string>& uris, std::string_view cluster) {
  PeerIdentity peer;
  peer.name = uris.empty() ? "a certificate without a URI name" : uris.front();
  peer.reason = "its certificate has no URI name canopy://CLUSTER/role/ROLE/NAME";
  for (std::string_view uri : uris) {
    const auto name = parse_certificate_name(uri);
    if (!name) continue;
    const auto role = parse_role(name->role);
    if (!cluster.empty() && name->cluster != cluster) {
      peer.reason = fmt::format("its certificate is for cluster {}, this is {}", name->cluster, cluster);
    } else if (!role || name->name.empty()) {
      peer.reason = fmt::format("its certificate's name {} states no known role and name", uri);
    } else {
      return PeerIdentity{.role = *role, .name = std::string(uri), .reason = {}};
    }
  }
  return peer;
}

}  // namespace canopy::wire
