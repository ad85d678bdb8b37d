// How the names of a domain's accounts lie in the catalog (docs/formats/catalog.md, "Accounts"). Blocking;
// for workers.
//
// All rows of a domain belong to a generation: one walk over its directories. Under it lie the names that the
// walk found, the changes that this process made since the walk began, which win over them, and a stamp of
// every directory walked. A generation counts only once the domain's record names it.
#pragma once

#include "daemon/account/account_listing.h"
#include "daemon/catalog/catalog_rows.h"
#include "daemon/store/store.h"

namespace canopy {

// What tells that a directory has not changed. `file_id` 0: it could not be told (it was changed while it was
// read).
struct FolderStamp {
  uint64_t file_id = 0;
  FileTime modified;
  bool operator==(const FolderStamp&) const = default;
};

class AccountNamesRows {
 public:
  AccountNamesRows(CatalogRows& rows, std::string domain) : rows_(rows), domain_(std::move(domain)) {}

  // The generation that counts; 0: none.
  Result<uint64_t> generation() const;
  // Removes what other generations than `kept` (0: none) have left behind.
  Result<void> begin(uint64_t kept);
  // From now on `generation` counts, and no other.
  Result<void> finish(uint64_t generation);
  Result<void> forget();

  void add_walked(CatalogChanges& changes, uint64_t generation, std::string_view account) const;
  void add_change(CatalogChanges& changes, uint64_t generation, std::string_view account, bool present) const;
  void add_folder(CatalogChanges& changes, uint64_t generation, std::string_view path,
                  FolderStamp stamp) const;

  Result<NamePage> names(uint64_t generation, std::string_view after, std::string_view prefix,
                         size_t limit) const;
  struct Folder {
    std::string path;
    FolderStamp stamp;
  };
  // At most `limit` with a greater path than `after`; fewer: these are the last.
  Result<std::vector<Folder>> folders(uint64_t generation, std::string_view after, size_t limit) const;

 private:
  std::string key(char kind, uint64_t generation) const;

  CatalogRows& rows_;
  const std::string domain_;
};

}  // namespace canopy
