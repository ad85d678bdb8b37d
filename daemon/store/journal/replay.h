// Reading a store's journal, and bringing what it holds to its place.
#pragma once

#include "daemon/runtime/loop.h"
#include "daemon/store/journal/journal_format.h"
#include "daemon/store/store.h"

namespace canopy::journal {

inline constexpr uint64_t kReplayedAtOnceMax = 64;  // files

struct Part {
  bool there = false;
  std::string bytes;  // that the records of `found` lie in
  std::optional<Header> header;
  Scan found;
};

// At most twice kFileBytesMax.
struct Contents {
  std::array<Part, kFiles> parts;

  bool rewrite() const;
  uint64_t records() const;
  uint64_t missing() const;  // missing_records(), and one more for each file without a header that is whole
  std::vector<uint32_t> by_age() const;  // the files that are there, the one with the older records first
};

// Files that are not there are no error.
Task<Result<std::unique_ptr<Contents>>> read_contents(Store& store);

struct Replayed {
  uint64_t records = 0;
  uint64_t replaced = 0;           // files
  uint64_t current = 0;            // they were as their last record says
  uint64_t without_directory = 0;  // gone with what was above them
};

// Brings each path to what its last record says, unless it was settled since. All of it is durable when it
// answers; after an error some may be, and it may be done again. `force`: also what seems to be in place.
Task<Result<Replayed>> replay(Store& store, Loop& loop, const Contents& contents, bool force);

// Makes a file empty: nothing that was in it counts any more. `header` is its newest, and is changed.
// Durable.
Task<Result<void>> make_empty(File& file, Header& header, Loop& loop);
Task<Result<void>> write_header(File& file, const Header& header);
// Of all that are there, the older first. One whose headers are damaged, or all when `aside`, gets another
// name, `damaged.…`, for people.
Task<Result<void>> make_empty(Store& store, Loop& loop, const Contents& contents, bool aside);

}  // namespace canopy::journal
