// A mount table together with the rows that it superseded: what was made under an older table stays where it
// is until it is moved, so every place that an older table gave a path is still looked at
// (docs/formats/tree.md, "Mount table"). Immutable after make(): a change is a new Mounts. Pure; any thread.
#pragma once

#include <memory>
#include <set>

#include "daemon/tree/mount_table.h"

namespace canopy {

inline constexpr uint32_t kSupersededRowsMax = 4096;

class Mounts {
 public:
  static Mounts single(std::string_view root_store);
  // `superseded`: newest first; repetitions are left out, rows of the table are not: what they served before
  // may be a longer row's now. kInvalidArgument and kTooLarge name the row and the rule.
  static Result<Mounts> make(std::vector<MountRow> rows, std::vector<MountRow> superseded = {});

  // These rows in place of the table's; what they take from the present table is superseded. kTooLarge: more
  // than kSupersededRowsMax rows would be remembered, so that accounts must be moved first.
  Result<Mounts> changed(std::vector<MountRow> rows) const;
  // Without those superseded rows, as nothing lies there any more.
  Mounts without(const std::vector<MountRow>& drained) const;

  const MountTable& table() const { return table_; }
  std::span<const MountRow> superseded() const { return superseded_; }  // newest first
  // Everything lies on one store and always did.
  bool is_single() const { return table_.rows().size() == 1 && superseded_.empty(); }
  std::set<std::string> stores() const;  // that any row names
  // To which what lies at the places of superseded rows goes; all of the table where rows are very many.
  std::set<std::string> stores_moved_to() const;

  // Where `path` may lie: the place of the newest table first, then superseded ones, newest first; each store
  // and prefix once. Rows live as long as this.
  std::vector<const MountRow*> places_of(std::string_view path) const;
  // Rows of other stores or prefixes than those that may hold something below the directory `path`.
  std::vector<const MountRow*> places_below(std::string_view path,
                                            const std::vector<const MountRow*>& except) const;
  // Whether a superseded row may have led to something of the domain that has this directory: all but those
  // that name one account elsewhere.
  bool may_have_led_to(std::string_view domain_directory) const;
  size_t superseded_of_one_account() const;     // rows
  bool any_below(std::string_view path) const;  // cheap where no pattern is that long

  bool operator==(const Mounts& other) const {
    return table_ == other.table_ && superseded_ == other.superseded_;
  }

 private:
  Mounts(MountTable table, std::vector<MountRow> superseded, std::vector<MountPattern> patterns);

  MountTable table_;
  std::vector<MountRow> superseded_;
  std::vector<MountPattern> superseded_patterns_;
  size_t elements_max_ = 0;  // of any pattern
};

// Where a path lies on the store of its row.
std::string path_on_store(const MountRow& row, std::string_view path);
// What lies and moves together: `path` up to and including the first element of an account's directory;
// otherwise `path` itself.
std::string_view object_of(std::string_view path);

}  // namespace canopy
