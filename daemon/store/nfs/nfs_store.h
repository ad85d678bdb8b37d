// NfsStore: an export of an NFS server as a Store, without a kernel mount. Made by open_nfs_store().
//
// A known file costs one round trip: names that were looked up are remembered (NfsOptions::names_trusted), so
// that what another machine renames may be seen that much later; forget_names() is for whoever learns that
// others have changed things, such as a backend that takes over a slot. What is removed elsewhere is noticed
// at once. Symbolic links are never followed.
//
// Lost answers are decided by looking (docs/decisions/nfs-store.md). What a server cannot do is kUnsupported:
// NFSv3 and NFSv4.0 reserve and free no room, and have no extended attributes and no exchange of two names.
// Nor do they say where holes are: data seems to lie everywhere.
// RenameMode::kNoReplace is made of LINK and REMOVE for files; for directories the target is looked for
// first, and an empty directory that appears there in that moment is replaced.
//
// For the thread of its loop. The loop and the store must outlive the files.
#pragma once

#include <memory>

#include "daemon/store/nfs/client.h"
#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/server_health.h"
#include "daemon/store/store.h"

namespace canopy {

class NfsStore final : public Store {
 public:
  explicit NfsStore(std::unique_ptr<nfs::Client> client);
  ~NfsStore() override;

  std::string_view name() const override;
  bool shared() const override { return true; }
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
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<StoreSpace>> space() override;
  Task<Result<std::string>> read_whole(std::string path, uint64_t bytes_max) override;

  ServerFigures figures() const;
  void forget_names(std::string_view path) override;

 private:
  std::unique_ptr<nfs::Client> client_;
  std::unordered_map<std::string, std::array<char, 8>> cookie_verifiers_;  // of listings, by path
};

// Connects, mounts and looks at the export: kStoreUnavailable after the hard limit, kPermissionDenied and
// kNotFound when the server refuses the mount.
Task<Result<std::unique_ptr<Store>>> open_nfs_store(Loop& loop, NfsOptions options);

}  // namespace canopy
