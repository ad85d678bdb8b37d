// The folders between a domain and its accounts, once a relocation has emptied some of them. For one loop's
// thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/account/domains.h"
#include "daemon/store/store.h"

namespace canopy {

// The page of a listing that follows `page`, into it. False: the directory has gone.
Task<Result<bool>> next_page(Store& store, std::string directory, DirectoryPage& page);

// Makes the names in all folders of the domain durable, `fast` ones included. Where there are `about` more
// than a few, the store as a whole, if it can: the file system of its root.
inline constexpr size_t kSyncedOneByOneMax = 64;
Task<Result<void>> sync_folders(Store& store, std::shared_ptr<const Domain> domain, size_t about);

// Hands on, page by page, whose settings or info lie apart from an account's directory where the newest
// layout has none.
using VisitAddresses = std::function<Task<Result<void>>(std::vector<AccountAddress> page)>;
Task<Result<void>> visit_files_elsewhere(Store& store, std::shared_ptr<const Domain> domain,
                                         const VisitAddresses& visit);

// Removes the folders in which nothing is, and those above `fast` ones that are empty then. One that gets
// something meanwhile stays; who is about to put something into one that has gone makes it again
// (move_into()). `known`: all folders in the domain's directory that a walk has just met, from above on, so
// that they need not be looked for.
Task<Result<void>> remove_empty_folders(Loop& loop, Store& store, std::shared_ptr<const Domain> domain,
                                        const std::vector<std::string>* known = nullptr);

}  // namespace canopy
