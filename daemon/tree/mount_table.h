// Which store serves which part of the tree (docs/formats/tree.md, "Mount table"). Immutable after make(): a
// change is a new table. Pure; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/tree/foldering.h"
#include "daemon/tree/mount_pattern.h"

namespace canopy {

inline constexpr uint32_t kMountRowsMax = 65'536;
inline constexpr uint32_t kMountElementsMax = 16;  // of a pattern
inline constexpr uint32_t kMountPatternBytesMax = 1024;
inline constexpr uint32_t kMountStoreNameBytesMax = 64;

struct MountRow {
  std::string pattern;  // "/" or "SharedDomains/company.com/[e-h].sub"
  std::string store;    // letters, digits, '-', '_', '.'; at most kMountStoreNameBytesMax
  std::string
      prefix;  // a directory of the store, "" its root: a file lies at prefix + "/" + its full tree path
  bool operator==(const MountRow&) const = default;
};

// PATTERN STORE [PREFIX], parted by tabs or spaces.
Result<MountRow> parse_mount_row(std::string_view line);

class MountTable {
 public:
  struct Place {
    const MountRow* row;     // lives as long as the table
    uint32_t elements;       // how many elements of the path the row names
    std::string store_path;  // where the path lies on that store
  };

  // Everything on one store.
  static MountTable single(std::string_view root_store);
  // Checks every row, and that exactly one is the base directory's. kInvalidArgument names the row and the
  // rule; two rows that match one path with equally many elements and literal characters are a tie and
  // refused.
  static Result<MountTable> make(std::vector<MountRow> rows);
  // One row a line: pattern, store, prefix, parted by tabs or spaces; a prefix may be left out; '#' begins a
  // comment line.
  static Result<MountTable> parse(std::string_view text);
  std::string to_string() const;  // canonical, sorted by pattern

  MountTable(MountTable&&) noexcept;
  MountTable& operator=(MountTable&&) noexcept;
  ~MountTable();

  // The row with most elements, then most literal characters, that matches the first elements of `path`.
  const MountRow& row_for(std::string_view path) const;
  Place place_of(std::string_view path) const;
  // Rows whose pattern has more elements than `path` and can match something below it: listing `path` asks
  // these stores too.
  std::vector<const MountRow*> rows_below(std::string_view path) const;

  const MountRow& root() const;
  std::span<const MountRow> rows() const;                     // sorted by pattern, patterns canonical
  const MountPattern& pattern_of(const MountRow& row) const;  // `row` is one of rows()

  bool operator==(const MountTable& other) const;

 private:
  struct Node;
  struct Tables;
  explicit MountTable(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

// Folders that the foldering can make but no row of a group of leaves names: for rows …/[a-h].sub and
// …/[i-z].sub it answers "…/[0-9_].sub" and "…/[\u{80}-\u{10FFFF}].sub". They lie where the next shorter row
// says, which is what an administrator should see before a change. A group is all rows with the same elements
// before a last `x.sub`.
std::vector<std::string> unnamed_folders(const MountTable& table);

}  // namespace canopy
