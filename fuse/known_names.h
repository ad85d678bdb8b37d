// KnownNames: which names a directory may have, so that most of those that it has not need not be asked for:
// making, renaming and copying look each new name up first. What others make is told (TreeWatch), what this
// mount makes it knows, and after a while the directory is read again (docs/decisions/mount-metadata.md).
// For the mount's loop.
#pragma once

#include <functional>
#include <string_view>

#include "daemon/runtime/loop.h"
#include "fuse/view.h"

namespace canopy::mount {

inline constexpr size_t kKnownNamesMax = 1'000'000;            // of all directories; 8 to 16 bytes each
inline constexpr size_t kKnownNamesPerDirectoryMax = 262'144;  // larger ones are always asked
inline constexpr uint32_t kMissesBeforeListing = 16;           // of names that are not there
inline constexpr size_t kNamesListedPerMiss = 128;  // at most, so that reading costs less than asking

// Names by their hashes: of one that was put in it says so, of one that was not nearly always.
class NameSet {
 public:
  static uint64_t hash_of(std::string_view name);  // never 0
  void add(uint64_t hash);
  bool has(uint64_t hash) const;
  size_t size() const { return count_; }
  void clear();

 private:
  void grow();
  std::vector<uint64_t> slots_;  // a power of two; 0: free
  size_t count_ = 0;
};

// Of one directory.
struct KnownNames {
  explicit KnownNames(size_t& of_all) : all(of_all) {}
  ~KnownNames() { all -= names.size(); }
  KnownNames(const KnownNames&) = delete;
  KnownNames& operator=(const KnownNames&) = delete;
  void add(uint64_t hash);
  void clear();

  size_t& all;  // names of all directories
  NameSet names;
  std::vector<uint64_t> coming;  // by requests of this mount that are under way
  Nanos since = 0;               // names that came later are all in it; 0: they are not
  uint64_t generation = 0;
  bool being_listed = false;
  uint32_t misses = 0;
  uint32_t misses_wanted = kMissesBeforeListing;  // before it is read
};

class KnownDirectories {
 public:
  // A page of the names of a directory, by View::list().
  using List = std::function<Task<Result<Page>>(NodeRef directory, std::string from)>;
  KnownDirectories(Loop& loop, List list) : loop_(loop), list_(std::move(list)) {}

  // How long a directory's names count as known. 0, as at first: never.
  void keep_for(Nanos time) { kept_for_ = time; }

  // True: the name was not there a moment ago. False: ask.
  bool is_absent(const Node& directory, std::string_view name) const;
  // It was asked for, and is not there. Reads the directory when that seems worth it.
  void missed(const NodeRef& directory);

  // Around each request of this mount that may give a name a meaning.
  class [[nodiscard]] Coming {
   public:
    Coming(std::shared_ptr<KnownNames> in, uint64_t hash) : in_(std::move(in)), hash_(hash) {}
    Coming(Coming&&) = default;
    Coming& operator=(Coming&&) = delete;
    ~Coming();

   private:
    std::shared_ptr<KnownNames> in_;
    uint64_t hash_;
  };
  Coming comes(Node& directory, std::string_view name);
  // Somebody else has made it, or may have.
  void came(Node& directory, std::string_view name);

  // Around a request that makes a directory: what is known of it, null when others may have been in it since.
  struct Since {
    uint64_t generation, strays;
    Nanos time;
  };
  Since now() const { return Since{generation_, strays_, loop_.now()}; }
  std::shared_ptr<KnownNames> made_since(const Since& begun);
  // Others have changed something in a directory that is not known by that path.
  void stray() { ++strays_; }
  // Around a rename of this mount, which others' changes below the new name may have overtaken.
  void renamed_since(const Since& begun) {
    if (strays_ != begun.strays) forget_all();
  }

  void follow(bool others) { following_ = others; }  // whether others' changes are told
  void forget_all() { ++generation_; }

 private:
  KnownNames& of(Node& directory);
  Task<void> read(NodeRef directory);
  bool holds(const KnownNames& known) const {
    return following_ && known.since != 0 && known.generation == generation_ &&
           loop_.now() - known.since < kept_for_;
  }

  Loop& loop_;
  const List list_;
  Nanos kept_for_ = 0;
  size_t all_ = 0;
  bool following_ = false;
  uint64_t generation_ = 0, strays_ = 0;
};

}  // namespace canopy::mount
