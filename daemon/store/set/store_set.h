// StoreSet: several stores as one tree, by the mount table (docs/formats/tree.md, "Mount table";
// docs/decisions/store-set.md). It is the Store of one loop; apply() changes stores and table at run time;
// what is under way ends by the old table, and fails on a store that got another address.
//
// - `Settings/`, `.canopy/` and the register of the cluster lie on the root store; the root of another store
//   is the pseudo directory `.stores/NAME`, which no listing shows.
// - While everything lies on the root store, and no server serves that, it is asked directly.
// - An account's directory, or a file outside of one, lies on one store: that of the newest row, or one that
//   the row superseded, where it stays until it is moved. It is looked for in that order, at the first again
//   after the last; it is absent when all have answered so. A
//   directory that the account has left for another store (departure.h) is passed over.
// - A directory above accounts may lie on several stores, which are shown as one. Names that the table leads
//   elsewhere are not shown. What is missing of a directory's parents is made on the store where something
//   is created.
// - Renames and links from store to store are refused with kCrossStore, of directories on several stores with
//   kUnsupported, unless all of them can go to the same stores under the new name.
// - A store that does not answer fails what lies on it, with kStoreUnavailable "store NAME unavailable", and
//   nothing else. It is probed with its marker, and comes back by itself.
#pragma once

#include <list>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "daemon/store/set/member.h"

namespace canopy {

inline constexpr std::string_view kStoresElement = ".stores";
inline constexpr Nanos kProbeEvery = 5 * kSecond;       // of a store that answers
inline constexpr Nanos kProbeAgainAfter = kSecond;      // of one that does not
inline constexpr size_t kFoundPlacesMax = 100'000;      // remembered while rows are superseded
inline constexpr size_t kMergedEntriesMax = 4'000'000;  // of one directory that lies on several stores
inline constexpr Nanos kMergedKept = 10 * kSecond;      // between two pages of it

// What the loops of a process know together: which stores were prepared. Any thread.
class StoreBoard {
 public:
  bool is_prepared(const std::string& id) const {
    std::lock_guard lock(gate_);
    return prepared_.contains(id);
  }
  void prepared(const std::string& id) {
    std::lock_guard lock(gate_);
    prepared_.insert(id);
  }

 private:
  mutable std::mutex gate_;
  std::unordered_set<std::string> prepared_;  // by the markers' ids
};

struct StoreSetOptions {
  // Opens a store that is not the root; creates nothing on it.
  std::function<Task<Result<std::unique_ptr<Store>>>(StoreConfig config)> open;
  // Done once in a process, by the set with `leads`, before any loop uses a store.
  std::function<Task<Result<void>>(std::shared_ptr<Store> store)> prepare = {};
  // Done by each loop whenever it has opened a store, which is the right one and was prepared; before it is
  // used.
  std::function<Task<Result<void>>(const StoreConfig& config, Store& store)> begin = {};
  std::shared_ptr<StoreBoard> board = std::make_shared<StoreBoard>();
  bool leads = true;
  Nanos probe_every = kProbeEvery, probe_again_after = kProbeAgainAfter;
};

class StoreSet final : public Store {
 public:
  StoreSet(Loop& loop, std::unique_ptr<Store> root, StoreSetOptions options);
  ~StoreSet() override;  // after stop()

  // From now on. New stores are probed at once; config.check() holds.
  void apply(std::shared_ptr<const StoresConfig> config);
  // Until every store was probed once, at most until `deadline`.
  Task<void> settle(Nanos deadline);
  // Ends the probes.
  Task<void> stop();

  const std::shared_ptr<const StoresConfig>& config() const { return config_; }
  std::vector<MemberRef> members() const;         // the root store first
  MemberRef member(std::string_view name) const;  // null: there is none
  // Opens a store that may be no member, as the set would.
  Task<Result<std::unique_ptr<Store>>> open_other(StoreConfig config) {
    return options_.open(std::move(config));
  }
  // Where a thing lies, for those who list what must be moved.
  struct Found {
    std::shared_ptr<const Mounts> mounts;  // of which `row` is one
    MemberRef member;
    const MountRow* row = nullptr;  // null: the table has no say in it
    bool newest = true;             // nothing has superseded that place
    std::string path;               // on the member
    bool exists = false;
  };
  Task<Result<Found>> find(std::string path);

  std::string_view name() const override { return root_->name(); }
  bool shared() const override;
  bool shared_at(std::string_view path) const override;
  Task<Result<StoreSite>> site_of(std::string path) override;
  std::vector<StoreSite> parts_of(std::string path) override;
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<Result<Attributes>> attributes(std::string path) override;
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override;
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override;
  Task<Result<void>> remove_directory(std::string path, Durable durable) override;
  Task<Result<void>> remove(std::string path, Durable durable) override;
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override;
  Task<Result<void>> replace(Replacement what) override;
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override;
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override;
  Task<Result<std::string>> read_symlink(std::string path) override;
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie,
                                   Listing listing = Listing::kNames) override;
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override;
  // Of one that is alone.
  Task<Result<void>> sync_all() override { return alone("") ? root_->sync_all() : Store::sync_all(); }
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<std::string>> read_whole(std::string path, uint64_t bytes_max) override;
  void forget_names(std::string_view path) override;
  Task<Result<StoreSpace>> space() override;
  // Of the store that an account lies on; of a directory above accounts that of the store where its row makes
  // what is new, and of those that rows below it name, in sum.
  Task<Result<StoreSpace>> space_at(std::string path) override;
  Task<Result<std::string>> xattr(std::string path, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override;
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override;
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override;

 private:
  struct Place {
    MemberRef member;
    const MountRow* row;  // null: fixed by the path itself
    std::string path;     // on the member
    bool same_as(const Place& other) const { return member == other.member && path == other.path; }
  };
  // Where a path may lie. Only directories lie at those from `own` on.
  struct Places {
    std::shared_ptr<const Mounts> mounts;  // the rows are its
    std::vector<Place> all;
    size_t own = 1;
    bool single() const { return all.size() == 1; }
  };
  struct Located {
    Place place;
    bool exists = false;
  };

  // store_set.cpp
  Places places_of(std::string_view path) const;
  std::optional<Place> fixed_place_of(std::string_view path) const;
  Place place_at(const MountRow& row, std::string_view path) const;
  std::string pseudo_path(const Place& place) const;
  StoreSite site_at(const Place& place) const;
  // Where it is, or where it would be made. An object that is nowhere: at its newest place.
  Task<Result<Located>> locate(Places places, std::string path);
  // The place that answers for a path: of a directory on several stores, that of its first part.
  Task<Result<Place>> resolve(std::string path);
  void forget_place(std::string_view path);
  static Task<Result<Attributes>> attributes_at(Place place);
  // set_probes.cpp
  Task<void> watch(MemberRef member);
  Task<void> probe(MemberRef member);
  Task<Result<void>> probe_store(MemberRef member);
  // set_directories.cpp
  struct Part {
    Place place;
    Attributes attributes;
  };
  // What of a directory, or of another thing, is there; the places in their order. kNotFound: all that could
  // hold it have answered. Those that did not answer are left out, unless `all_must_answer`.
  Task<Result<std::vector<Part>>> parts_there(Places places, std::string path, bool all_must_answer);
  // For looking only: as with `all_must_answer` false, but once the root store's part is there, which stands
  // for all, stores that are silent are not waited for.
  Task<Result<std::vector<Part>>> parts_soon(Places places, std::string path);
  struct Asked;
  static Task<void> ask_part(std::shared_ptr<Asked> of, size_t number, Place place);
  static Result<std::vector<Part>> parts_among(const Places& places, std::string path,
                                               std::vector<Result<Attributes>> answers, bool all_must_answer);
  static Attributes merge(const std::vector<Part>& parts);
  Task<Result<bool>> make_parents(Place place, std::string path);  // false: they are nowhere
  Task<Result<void>> remove_directory_parts(Places places, std::string path, Durable durable);
  // set_names.cpp
  Task<Result<std::unique_ptr<File>>> open_at(Place place, OpenOptions options);
  Task<Result<void>> rename_in(std::string from, std::string to, RenameMode mode, Durable durable);
  Task<Result<void>> rename_parts(std::vector<Part> parts, std::string from, std::string to, RenameMode mode,
                                  Durable durable);
  Task<Result<Place>> target_of(Place source, std::string from, std::string to, RenameMode mode);
  Result<void> check_rows_below(const Places& places, const std::string& from, const std::string& to) const;
  // set_listing.cpp
  struct Merged {  // a directory's names in the order of their hashes
    struct Name {
      uint64_t hash;
      DirectoryEntry entry;
    };
    std::string path;
    std::vector<Name> names;
    Nanos used = 0;
  };
  using NameMap = std::unordered_map<std::string, DirectoryEntry>;
  Task<Result<void>> merge_part(Places places, size_t index, std::string path, NameMap& names);
  Task<Result<DirectoryPage>> list_at(Place place, uint64_t cookie, Listing listing,
                                      size_t most = kStoreDirectoryPageEntries);
  Task<Result<std::shared_ptr<Merged>>> merge_names(Places places, std::string path);
  Task<void> add_attributes(std::string path, DirectoryPage& page);

  // asking.h
  template <class T, class Question>
  Task<Result<T>> ask_resolved(std::string path, Question question);
  template <class T, class Question>
  Task<Result<T>> create(Place place, std::string path, Question question);

  // The operations, when there are several stores.
  Task<Result<Attributes>> attributes_among(std::string path);
  Task<Result<void>> set_attributes_among(std::string path, SetAttributes change, Durable durable);
  Task<Result<void>> make_directory_among(std::string path, uint32_t mode, Durable durable);
  Task<Result<void>> remove_directory_among(std::string path, Durable durable);
  Task<Result<void>> sync_directory_among(std::string path);
  Task<Result<std::unique_ptr<File>>> open_among(std::string path, OpenOptions options);
  Task<Result<void>> remove_among(std::string path, Durable durable);
  Task<Result<void>> rename_among(std::string from, std::string to, RenameMode mode, Durable durable);
  Task<Result<void>> replace_among(Replacement what);
  Task<Result<void>> link_among(std::string from, std::string to, Durable durable);
  Task<Result<void>> make_symlink_among(std::string target, std::string path, Durable durable);
  Task<Result<DirectoryPage>> list_among(std::string path, uint64_t cookie, Listing listing, size_t most);
  static Task<Result<StoreSpace>> space_of(std::vector<MemberRef> stores);

  // Whether the root store is asked for it directly. Fixed places stay what they are: a move that was planned
  // while there were several stores ends when there is one.
  bool alone(std::string_view path) const;

  Loop& loop_;
  const StoreSetOptions options_;
  std::shared_ptr<Store> root_;
  MemberRef root_member_;
  std::map<std::string, MemberRef, std::less<>> members_;  // with the root store
  std::shared_ptr<const StoresConfig> config_;
  std::shared_ptr<const Mounts> mounts_;
  bool alone_ = false;
  bool watching_root_ = false;
  bool stopping_ = false;
  std::unordered_map<std::string, std::string>
      found_;                                  // object -> store, where it is not at its newest place
  std::list<std::shared_ptr<Merged>> merged_;  // newest first
  TaskGroup probes_;
  TaskGroup asked_;  // what nobody waits for any more, too
};

// The two files of Settings, on the root store. kDamaged names the file and what is wrong with it.
Task<Result<std::shared_ptr<const StoresConfig>>> load_stores(Store& root);

}  // namespace canopy
