// AccountPlace: where the three objects of an account lie, while accounts of its domain move from superseded
// layouts or rows of the mount table to the newest (docs/architecture/relocation.md). For one loop's thread,
// with that loop's store.
#pragma once

#include <string>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/dict/versioned.h"
#include "daemon/store/store.h"

namespace canopy {

struct AccountPlace {
  std::string directory, settings_file, info_file;

  bool operator==(const AccountPlace&) const = default;
};

AccountPlace place_under(const TreeLayout& layout, const AccountAddress& address);

// Of a settings or info file. Errors are those of reading it, and kDamaged.
Task<Result<dict::Version>> version_at(Store& store, std::string path);

// Whether a layout of the domain, the newest or an older one, has settings and info apart from the
// directories.
bool may_lie_apart(const Domain& domain);
// Whether there is an older layout or row of the mount table that the account may still lie under.
bool may_lie_elsewhere(Store& store, const Domain& domain, const AccountAddress& address);
// Whether `path` is one of a tree that several stores serve.
bool is_on_several_stores(Store& store, const std::string& path);

// Where they are: each is looked for under every layout of the domain, newest first, and again under the
// newest, as it may have moved there meanwhile. What is nowhere has its place beside the directory, or under
// the newest layout when there is no directory. The caller holds what keeps the account from moving, or lives
// with an answer that is old. Errors are those of looking: kStoreUnavailable.
struct FoundPlace {
  AccountPlace place;
  bool exists = false;            // the directory, which is what makes an account
  std::vector<std::string> left;  // older copies of settings and info, which do not count
};
Task<Result<FoundPlace>> find_place(Store& store, std::shared_ptr<const Domain> domain,
                                    AccountAddress address);

// Renames into a folder that is made where it is missing: one that was left empty may be removed at any
// moment.
Task<Result<void>> move_into(Store& store, std::string from, std::string to, RenameMode mode,
                             Durable durable);

// Every path at which settings or info of the account may lie apart from its directory.
std::vector<std::string> files_apart(const Domain& domain, const AccountAddress& address);

}  // namespace canopy
