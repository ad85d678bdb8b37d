// LocalStore: a directory of this machine as a Store, over io_uring. Also for a cluster file system that the
// kernel has mounted: then `shared` is set, and attributes are asked of the server instead of taken from the
// kernel's memory.
//
// Paths are opened with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so that the kernel itself keeps every
// operation below the root. The process's umask applies to new files and directories: a server sets it to 0.
//
// For the thread of its loop. The loop and the store must outlive the files.
#pragma once

#include <memory>

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/journal/replace_journal.h"
#include "daemon/store/local/blocking.h"
#include "daemon/store/local/directory_sync.h"
#include "daemon/store/local/system.h"
#include "daemon/store/store.h"

namespace canopy {

struct LocalStoreOptions {
  std::string name = "local";
  bool shared = false;
  // For what may wait for the disk and is no io_uring operation (listing, truncating); null: the loop itself.
  // It must outlive the store.
  WorkerPool* workers = nullptr;
};

class LocalStore final : public Store {
 public:
  // `root` is a directory, absolute or relative to the working directory; it is held open, so that a file
  // system mounted over it later is not seen. kNotFound, kNotDirectory, kPermissionDenied. Any thread, before
  // the loop runs or from it.
  static Result<std::unique_ptr<LocalStore>> open_root(UringLoop& loop, const std::string& root,
                                                       LocalStoreOptions options = {});
  ~LocalStore() override;

  std::string_view name() const override { return options_.name; }
  bool shared() const override { return options_.shared; }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<Result<Attributes>> attributes(std::string path) override;
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override;
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override;
  Task<Result<void>> remove_directory(std::string path, Durable durable) override;
  Task<Result<void>> remove(std::string path, Durable durable) override;
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override;
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override;
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override;
  Task<Result<std::string>> read_symlink(std::string path) override;
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie,
                                   Listing listing = Listing::kNames) override;
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override;
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<void>> sync_all() override;
  Task<Result<StoreSpace>> space() override;
  Task<Result<std::string>> xattr(std::string path, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override;
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override;
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override;

  const local::DirectorySync& directory_sync() const { return directory_sync_; }
  // For a ReplaceJournal of this store, and whether there may be one: where nothing else but this machine
  // writes, and syncfs(2) is to be trusted.
  JournalOptions::Round journal_round() const;
  bool may_have_journal() const;
  // Which directory it is, by whatever path: its device and inode.
  std::pair<uint64_t, uint64_t> identity() const;

 private:
  LocalStore(UringLoop& loop, local::Fd root, LocalStoreOptions options);

  Task<Result<local::Fd>> open_at(std::string path, int flags, uint32_t mode);
  // The directory that holds a name, for one operation on that name.
  struct Parent {
    local::Fd fd;
    std::string leaf;
  };
  Task<Result<Parent>> open_parent(std::string path, Durable durable);
  static bool is_large(int directory, const std::string& leaf);
  Task<Result<DirectoryPage>> list_up_to(std::string path, uint64_t cookie, Listing listing, size_t most);
  Task<Result<void>> settle(Parent& parent, std::string path, Durable durable);
  Task<Result<void>> unlink(std::string path, int flags, Durable durable);
  Task<Result<void>> settle_xattrs(std::string path, Durable durable);
  Task<Result<void>> sync_whole_file_system(std::string path);

  UringLoop& loop_;
  local::Fd root_;
  LocalStoreOptions options_;
  local::Blocking blocking_;
  local::DirectorySync directory_sync_;
};

}  // namespace canopy
