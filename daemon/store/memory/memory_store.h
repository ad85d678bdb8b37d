// MemoryStore: one client's view of a MemoryDisk, for tests and the simulator. Several stores may share one
// disk: what one does, the others see at once, as on an NFS server.
#pragma once

#include "daemon/runtime/loop.h"
#include "daemon/store/memory/memory_disk.h"

namespace canopy {

struct MemoryStoreOptions {
  std::string name = "memory";
  bool shared = false;
  // With a loop every operation takes effect up to this many turns of the loop after it was asked for, and
  // answers up to as many turns after that, both from the seed: overlapping operations then take effect in
  // any order.
  uint32_t yields_max = 0;
  uint64_t seed = 1;
};

// The disk must outlive the store, and the store its files. An open file without a name keeps working, unless
// the store is shared: then it answers kNotFound, as NFSv3 does (ESTALE).
class MemoryStore final : public Store {
 public:
  // With a disk of its own.
  explicit MemoryStore(Loop* loop, MemoryStoreOptions options = {});
  // On a disk that others share. `loop` may be null when yields_max is 0.
  MemoryStore(Loop* loop, MemoryDisk& disk, MemoryStoreOptions options = {});
  ~MemoryStore() override;

  MemoryDisk& disk() { return *disk_; }

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
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<void>> sync_all() override;
  Task<Result<StoreSpace>> space() override;
  Task<Result<std::string>> xattr(std::string path, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override;
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override;
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override;

  Task<void> wander();  // lets a seeded number of turns pass

 private:
  std::unique_ptr<MemoryDisk> own_disk_;
  MemoryDisk* disk_;
  Loop* loop_;
  MemoryStoreOptions options_;
  SeededRandom random_;
};

}  // namespace canopy
