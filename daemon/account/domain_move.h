// DomainMove: a domain gets its place under another domain foldering (docs/architecture/relocation.md,
// "Domains"). Its directory goes as a whole, by a rename; settings and info that lie above it, under `fast`,
// stay where they are, and follow account by account. For one loop's thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/account/domains.h"

namespace canopy {

struct DomainMove {
  std::string from, to;  // directories
  // Superseded layouts that the domain's settings must name before: with them everything is found, whether
  // the directory is at one place or the other. Empty: it is without.
  std::vector<TreeLayout> superseded;
};

// Pure. kInvalidArgument: the domain's fast index has no place under that foldering. kBusy: its accounts lie
// under too many layouts already.
Result<DomainMove> plan_domain_move(const Domain& domain, const Foldering& to);

// Renames a domain's directory; durable. On a store that others may write to, by way of a directory in our
// stage (SettingsFiles::passage()), so that neither rename can be carried out once somebody has looked where
// the domain is: a successor removes that stage before it looks. After an error the directory may be at
// either place, or on its way: settle_domains() decides.
Task<Result<void>> move_domain_directory(SettingsFiles& files, std::string from, std::string to);

// Brings domains that are in our stage, where a move ended or a process before us did (older_stages.h), to a
// place of theirs: that of the newest domain foldering, or else of a superseded one. `site`: of a directory
// on the store in question. While no domain moves. Answers those for which none of their places is free: they
// stay in our stage, are not lost, and wait for somebody to make room.
struct StrandedDomain {
  std::string name;
  std::string lies_in;  // the directory
  Error error;          // of the last place that was tried
};
Task<Result<std::vector<StrandedDomain>>> settle_domains(SettingsFiles& files, const TreeSettings& tree,
                                                         StoreSite site);

// The domain foldering that a domain's directory lies under, newest first; kNotFound when all places that it
// may have were asked.
Task<Result<Foldering>> find_domain(Store& store, const TreeSettings& tree, std::string name);

// Removes the folders above `directory` that are empty now, up to SharedDomains. Who is about to put
// something into one makes it again (make_directories(), move_into()).
Task<void> remove_empty_parents(Store& store, std::string directory);

}  // namespace canopy
