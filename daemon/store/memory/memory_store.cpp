#include "daemon/store/memory/memory_store.h"

#include "daemon/base/check.h"
#include "daemon/store/store_path.h"

namespace canopy {

namespace {

class MemoryFile final : public File {
 public:
  MemoryFile(MemoryStore& store, MemoryDisk::FileId file, bool writable)
      : store_(store), disk_(store.disk()), file_(file), stale_(store.shared()), writable_(writable) {}
  ~MemoryFile() override { disk_.close(file_); }

  Task<Result<size_t>> read(uint64_t offset, std::span<char> into) override {
    co_await store_.wander();
    auto answer = disk_.read(file_, stale_, offset, into);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<WriteOutcome>> write(uint64_t offset, std::span<const std::string_view> pieces,
                                   Durable durable) override {
    if (pieces.size() > kStoreWritePiecesMax) {
      co_return fail(Code::kInvalidArgument, object(), "too many pieces in one write");
    }
    if (!writable_) co_return fail(Code::kPermissionDenied, object(), "the file is open for reading only");
    co_await store_.wander();
    auto answer = disk_.write(file_, stale_, offset, pieces, durable);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<Attributes>> attributes() override {
    co_await store_.wander();
    auto answer = disk_.attributes(file_, stale_);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<void>> set_attributes(SetAttributes change, Durable durable) override {
    if (change.size && !writable_) {
      co_return fail(Code::kPermissionDenied, object(), "the file is open for reading only");
    }
    co_await store_.wander();
    auto answer = disk_.set_attributes(file_, stale_, change, durable);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<void>> sync() override {
    co_await store_.wander();
    auto answer = disk_.sync(file_, stale_);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<void>> allocate(AllocateMode mode, uint64_t offset, uint64_t size) override {
    if (!writable_) co_return fail(Code::kPermissionDenied, object(), "the file is open for reading only");
    co_await store_.wander();
    auto answer = disk_.allocate(file_, stale_, mode, offset, size);
    co_await store_.wander();
    co_return answer;
  }

  Task<Result<uint64_t>> seek_data(uint64_t offset) override { return seek(offset, true); }
  Task<Result<uint64_t>> seek_hole(uint64_t offset) override { return seek(offset, false); }

 private:
  Task<Result<uint64_t>> seek(uint64_t offset, bool data) {
    co_await store_.wander();
    auto answer = disk_.seek(file_, stale_, offset, data);
    co_await store_.wander();
    co_return answer;
  }
  std::string object() const { return fmt::format("file {}", file_); }

  MemoryStore& store_;
  MemoryDisk& disk_;
  MemoryDisk::FileId file_;
  bool stale_;
  bool writable_;
};

}  // namespace

MemoryStore::MemoryStore(Loop* loop, MemoryStoreOptions options)
    : own_disk_(std::make_unique<MemoryDisk>()),
      disk_(own_disk_.get()),
      loop_(loop),
      options_(std::move(options)),
      random_(options_.seed) {
  CANOPY_CHECK(loop_ != nullptr || options_.yields_max == 0);
}

MemoryStore::MemoryStore(Loop* loop, MemoryDisk& disk, MemoryStoreOptions options)
    : disk_(&disk), loop_(loop), options_(std::move(options)), random_(options_.seed) {
  CANOPY_CHECK(loop_ != nullptr || options_.yields_max == 0);
}

MemoryStore::~MemoryStore() = default;

Task<void> MemoryStore::wander() {
  if (options_.yields_max == 0) co_return;
  for (uint64_t turns = random_.below(options_.yields_max + 1); turns > 0; --turns) co_await loop_->yield();
}

Task<Result<std::unique_ptr<File>>> MemoryStore::open(std::string path, OpenOptions options) {
  if ((options.create || options.truncate) && !options.write) {
    co_return fail(Code::kInvalidArgument, path, "creating and truncating need an open for writing");
  }
  co_await wander();
  auto opened = disk_->open(path, options);
  // The handle is the answer's from here on, so that it is closed although nobody may wait for the answer any
  // more.
  std::unique_ptr<File> file;
  if (opened) file = std::make_unique<MemoryFile>(*this, *opened, options.write);
  co_await wander();
  if (!opened) co_return fail(opened.error());
  co_return file;
}

Task<Result<Attributes>> MemoryStore::attributes(std::string path) {
  co_await wander();
  auto answer = disk_->attributes(path);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::set_attributes(std::string path, SetAttributes change, Durable durable) {
  co_await wander();
  auto answer = disk_->set_attributes(path, change, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::make_directory(std::string path, uint32_t mode, Durable durable) {
  co_await wander();
  auto answer = disk_->make_directory(path, mode, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::remove_directory(std::string path, Durable durable) {
  co_await wander();
  auto answer = disk_->remove_directory(path, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::remove(std::string path, Durable durable) {
  co_await wander();
  auto answer = disk_->remove(path, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::rename(std::string from, std::string to, RenameMode mode, Durable durable) {
  co_await wander();
  auto answer = disk_->rename(from, to, mode, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::link(std::string from, std::string to, Durable durable) {
  co_await wander();
  auto answer = disk_->link(from, to, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::make_symlink(std::string target, std::string path, Durable durable) {
  co_await wander();
  auto answer = disk_->make_symlink(target, path, durable);
  co_await wander();
  co_return answer;
}

Task<Result<std::string>> MemoryStore::read_symlink(std::string path) {
  co_await wander();
  auto answer = disk_->read_symlink(path);
  co_await wander();
  co_return answer;
}

Task<Result<DirectoryPage>> MemoryStore::list(std::string path, uint64_t cookie, Listing listing) {
  co_await wander();
  auto answer = disk_->list(path, cookie, listing);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::sync_directory(std::string path) {
  co_await wander();
  auto answer = disk_->sync_directory(path);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::sync_all() {
  co_await wander();
  disk_->sync_all();
  co_await wander();
  co_return Result<void>();
}

Task<Result<StoreSpace>> MemoryStore::space() {
  co_await wander();
  co_return disk_->space();
}

Task<Result<std::string>> MemoryStore::xattr(std::string path, std::string name) {
  CANOPY_CO_TRY(check_xattr_name(name));
  co_await wander();
  auto answer = disk_->xattr(path, name);
  co_await wander();
  co_return answer;
}

Task<Result<std::vector<std::string>>> MemoryStore::list_xattrs(std::string path) {
  co_await wander();
  auto answer = disk_->list_xattrs(path);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::set_xattr(std::string path, std::string name, std::string value,
                                          XattrMode mode, Durable durable) {
  CANOPY_CO_TRY(check_xattr_name(name));
  if (value.size() > kStoreXattrBytesMax) co_return fail_errno(E2BIG, path, "setxattr");
  co_await wander();
  auto answer = disk_->set_xattr(path, name, std::move(value), mode, durable);
  co_await wander();
  co_return answer;
}

Task<Result<void>> MemoryStore::remove_xattr(std::string path, std::string name, Durable durable) {
  CANOPY_CO_TRY(check_xattr_name(name));
  co_await wander();
  auto answer = disk_->remove_xattr(path, name, durable);
  co_await wander();
  co_return answer;
}

}  // namespace canopy
