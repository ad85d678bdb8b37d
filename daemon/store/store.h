// Store: one place that holds files, asynchronously: a local directory, an NFS export, or memory for the
// simulator. With Loop it is the only seam between Canopy and the outside. A Store and its Files belong to
// one loop; several loops that serve one place have a Store each.
//
// Paths are relative to the store's root, without a leading '/', "" is the root itself. Components are never
// "." or ".." (refused with kInvalidArgument), and a symbolic link is never followed, in no component.
//
// Durability: a call with Durable::kYes answers only when the change survives a crash of everything, with one
// round trip where the protocol can; with kNo it may be lost until a later sync. After an error the change
// may have happened or not, now or later ("late is harmless"): callers decide by looking.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"
#include "daemon/runtime/task.h"

namespace canopy {

enum class FileType : uint8_t { kRegular, kDirectory, kSymlink, kOther };
enum class Durable : bool { kNo = false, kYes = true };

struct FileTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  auto operator<=>(const FileTime&) const = default;
};

struct Attributes {
  FileType type = FileType::kRegular;
  uint32_t mode = 0;  // permission bits, 07777
  uint32_t links = 0;
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;       // bytes
  uint64_t allocated = 0;  // bytes on disk
  uint64_t file_id = 0;    // inode number: unique in the store while the file lives
  FileTime accessed, modified, changed;
  FileTime born = {};  // 0: the store does not say
};

struct SetAttributes {  // what is absent stays
  std::optional<uint32_t> mode = {}, uid = {}, gid = {};
  std::optional<uint64_t> size = {};
  std::optional<FileTime> accessed = {}, modified = {};
};

struct OpenOptions {
  bool write = false;
  bool create = false;
  bool exclusive =
      false;  // with create: kAlreadyExists when the name is taken, decided by the store atomically
  bool truncate = false;
  // Reading leaves the time of the last access as it is, where the store can: a local file system would have
  // that to write. Not with `write`.
  bool keep_access_time = false;
  uint32_t mode = 0600;
};

struct WriteOutcome {
  size_t written = 0;  // always all of it; a short write is an error
  Attributes after;    // as the store saw them after this write: the seal check reads the mode here
};

struct DirectoryEntry {
  std::string name;
  FileType type = FileType::kOther;
  uint64_t file_id = 0;
  uint64_t cookie = 0;  // with which list() goes on behind it; 0: the store has one for whole pages only
};

struct DirectoryPage {
  std::vector<DirectoryEntry> entries;  // without "." and ".."
  std::vector<Attributes> attributes;   // with Listing::kAttributes: each entry's, otherwise empty
  uint64_t next_cookie = 0;             // pass to the next call; meaningful when !end
  bool end = false;
};

enum class Listing : bool { kNames, kAttributes };

struct StoreSpace {
  uint64_t bytes_total = 0, bytes_free = 0;  // free: to an ordinary user
  uint64_t files_total = 0, files_free = 0;
  std::optional<uint64_t> bytes_reserved = {};  // that no new content may take, where somebody has said it
};

// kReserve and kZero grow the file where the range ends beyond it; the others never change its size.
enum class AllocateMode : uint8_t { kReserve, kReserveKeepSize, kPunchHole, kZero };
enum class RenameMode : uint8_t { kReplace, kNoReplace, kExchange };
enum class XattrMode : uint8_t { kAny, kCreate, kReplace };

// An open file. Its destructor closes it; no call may be under way then. Calls may overlap one another.
class File {
 public:
  virtual ~File() = default;

  // Reads up to into.size() bytes; fewer only at the end of the file.
  virtual Task<Result<size_t>> read(uint64_t offset, std::span<char> into) = 0;
  // Writes all pieces, one after the other, from `offset`. With kYes data and size are durable when it
  // answers. The bytes must stay in place until then. `pieces` holds at most kStoreWritePiecesMax elements.
  virtual Task<Result<WriteOutcome>> write(uint64_t offset, std::span<const std::string_view> pieces,
                                           Durable durable) = 0;
  virtual Task<Result<Attributes>> attributes() = 0;
  virtual Task<Result<void>> set_attributes(SetAttributes change, Durable durable) = 0;
  virtual Task<Result<void>> sync() = 0;  // everything written to this file before, by anybody, is durable
  virtual Task<Result<void>> allocate(AllocateMode mode, uint64_t offset, uint64_t size) = 0;
  // The first offset >= `offset` that holds data (or a hole; the end of the file is one); kNotFound from the
  // end on.
  virtual Task<Result<uint64_t>> seek_data(uint64_t offset) = 0;
  virtual Task<Result<uint64_t>> seek_hole(uint64_t offset) = 0;
};

// Which store holds something, where a Store is made of several (set/store_set.h).
struct StoreSite {
  std::string name;  // of the store
  std::string root;  // its root as a path of this Store; "": the root of the first one, or of the only one
  std::string path;  // of what was asked for, on that store whatever the mount table says later

  // `.canopy/stage` and the like of that store.
  std::string at(std::string_view below) const {
    return root.empty() ? std::string(below) : root + "/" + std::string(below);
  }
};

// A file that takes the place of another as a whole.
struct Replacement {
  std::string staged;  // a name on the same store that nobody has used; its directory is there
  std::string path;    // the name that the file gets; its directory is there
  std::string text;
  bool in_place = true;  // what it replaces may be overwritten: nobody else has it open for writing
};

inline constexpr size_t kStoreWritePiecesMax = 1024;
inline constexpr size_t kStoreDirectoryPageEntries = 4096;
inline constexpr size_t kStoreXattrNameBytesMax = 255;
inline constexpr size_t kStoreXattrBytesMax = 65'536;  // a value, and all names together

class Store {
 public:
  virtual ~Store() = default;

  virtual std::string_view name() const = 0;  // as the mount table calls it
  // True when other processes on other machines may write to it: appends then need the seal check.
  virtual bool shared() const = 0;

  // The same of the store that holds `path`, when this one is made of several: true while that is not known.
  virtual bool shared_at(std::string_view) const { return shared(); }
  // Where `path` lies, or would be made. Errors are those of looking for it: kStoreUnavailable.
  virtual Task<Result<StoreSite>> site_of(std::string path);
  // The parts of a directory that lies on several stores, to be listed one by one by a caller that can do
  // without those which do not answer. list() of the directory itself fails when one part does.
  virtual std::vector<StoreSite> parts_of(std::string path);

  virtual Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) = 0;
  virtual Task<Result<Attributes>> attributes(std::string path) = 0;
  virtual Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) = 0;

  virtual Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) = 0;
  virtual Task<Result<void>> remove_directory(std::string path, Durable durable) = 0;
  virtual Task<Result<void>> remove(std::string path, Durable durable) = 0;  // a file or link
  virtual Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) = 0;
  // Makes a new file `staged` that holds the text, and renames it over `path`. Both are durable when it
  // answers, and at no moment is the new name durable without the text; many that are under way at once may
  // share their syncs. After an error either file is there, or the new one under the staged name, or a part.
  virtual Task<Result<void>> replace(Replacement what);
  virtual Task<Result<void>> link(std::string from, std::string to, Durable durable) = 0;
  virtual Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) = 0;
  virtual Task<Result<std::string>> read_symlink(std::string path) = 0;
  // A page of a directory in the store's own order, from cookie 0. Entries that neither come nor go meanwhile
  // appear once. With attributes, one that goes meanwhile may be left out.
  virtual Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie,
                                           Listing listing = Listing::kNames) = 0;
  // As list() with attributes; the caller wants no more than the next `most` entries, and a store that has to
  // fetch attributes one by one answers no more of them.
  virtual Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most);
  // Makes the names in this directory durable.
  virtual Task<Result<void>> sync_directory(std::string path) = 0;
  // Makes everything durable that was done on the store before, by anybody. kUnsupported: it has no such
  // call, or none that says whether it failed.
  virtual Task<Result<void>> sync_all();
  virtual Task<Result<StoreSpace>> space() = 0;
  // What is remembered of who has that name, and those below it, is asked anew ("": all names): for whoever
  // learns that others have changed some.
  virtual void forget_names(std::string_view /*path*/) {}
  // A whole file of at most `bytes_max`, as read_file() says; a store that can do it in one round trip does.
  virtual Task<Result<std::string>> read_whole(std::string path, uint64_t bytes_max);
  virtual Task<Result<StoreSpace>> space_at(std::string path);  // of the store that holds a path

  // Extended attributes, with Linux' names ("user.x") and refusals: kNotFound with ENODATA when there is no
  // such attribute, kAlreadyExists for kCreate when there is. A store without them answers kUnsupported to
  // all.
  virtual Task<Result<std::string>> xattr(std::string path, std::string name);
  virtual Task<Result<std::vector<std::string>>> list_xattrs(std::string path);
  virtual Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                                       Durable durable);
  virtual Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable);
};

// Makes `path` and what is missing above it; existing directories are fine. Durable: the new names are.
Task<Result<void>> make_directories(Store& store, std::string path, uint32_t mode, Durable durable);
// Reads a whole file of at most `bytes_max`; kTooLarge above.
Task<Result<std::string>> read_file(Store& store, std::string path, uint64_t bytes_max);
// Lists all pages; kTooLarge beyond `entries_max`.
Task<Result<std::vector<DirectoryEntry>>> list_all(Store& store, std::string path, size_t entries_max);

}  // namespace canopy
