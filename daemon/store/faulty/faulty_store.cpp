#include "daemon/store/faulty/faulty_store.h"

#include "daemon/store/faulty/faulty_file.h"
#include "daemon/store/faulty/faulty_world.h"

namespace canopy {

namespace {
constexpr std::string_view kOperationNames[] = {
    "open",      "read",           "write",   "attributes",     "set-attributes",
    "sync",      "allocate",       "seek",    "make-directory", "remove-directory",
    "remove",    "rename",         "link",    "make-symlink",   "read-symlink",
    "list",      "sync-directory", "space",   "xattr",          "list-xattrs",
    "set-xattr", "remove-xattr",   "sync-all"};
static_assert(std::size(kOperationNames) == static_cast<size_t>(StoreOperation::kCount));

Task<Result<void>> no_sync_at_all() { co_return Result<void>(); }
}  // namespace

std::string_view store_operation_name(StoreOperation operation) {
  return kOperationNames[static_cast<size_t>(operation)];
}

FaultyStore::FaultyStore(Store& inner, Loop& loop, FaultPlan plan, uint64_t seed, Loop* world)
    : world_(std::make_shared<FaultyWorld>(inner, loop, world != nullptr ? *world : loop, std::move(plan),
                                           seed)) {}

FaultyStore::~FaultyStore() { CANOPY_CHECK(!world_->plan.check_unclosed || world_->open_files == 0); }

void FaultyStore::set_plan(FaultPlan plan) { world_->plan = std::move(plan); }
void FaultyStore::on_operation(OnOperation hook) { world_->hook = std::move(hook); }
void FaultyStore::halt() { world_->halted = true; }
uint64_t FaultyStore::operations() const { return world_->asked; }
uint64_t FaultyStore::count(StoreOperation operation) const {
  return world_->counts[static_cast<size_t>(operation)];
}
uint64_t FaultyStore::faults() const { return world_->injected; }
size_t FaultyStore::pending() const { return world_->pending; }
size_t FaultyStore::open_files() const { return world_->open_files; }
std::string_view FaultyStore::name() const { return world_->inner.name(); }
bool FaultyStore::shared() const { return world_->inner.shared(); }

Task<Result<std::unique_ptr<File>>> FaultyStore::open(std::string path, OpenOptions options) {
  FaultyCall<std::unique_ptr<File>> call{StoreOperation::kOpen, path};
  call.bytes = options.create ? 1 : 0;
  call.execute = [&inner = world_->inner, path, options](FaultyExecution) {
    return inner.open(path, options);
  };
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await FaultyWorld::perform(world_, std::move(call)));
  file = std::make_unique<FaultyFile>(world_, std::move(file), std::move(path));
  co_return file;
}

Task<Result<Attributes>> FaultyStore::attributes(std::string path) {
  FaultyCall<Attributes> call{StoreOperation::kAttributes, path};
  call.execute = [&inner = world_->inner, path](FaultyExecution) { return inner.attributes(path); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::set_attributes(std::string path, SetAttributes change, Durable durable) {
  FaultyCall<void> call{StoreOperation::kSetAttributes, path, durable};
  call.execute = [&inner = world_->inner, path, change](FaultyExecution how) {
    return inner.set_attributes(path, change, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::make_directory(std::string path, uint32_t mode, Durable durable) {
  FaultyCall<void> call{StoreOperation::kMakeDirectory, path, durable};
  call.bytes = 1;
  call.execute = [&inner = world_->inner, path, mode](FaultyExecution how) {
    return inner.make_directory(path, mode, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::remove_directory(std::string path, Durable durable) {
  FaultyCall<void> call{StoreOperation::kRemoveDirectory, path, durable};
  call.execute = [&inner = world_->inner, path](FaultyExecution how) {
    return inner.remove_directory(path, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::remove(std::string path, Durable durable) {
  FaultyCall<void> call{StoreOperation::kRemove, path, durable};
  call.execute = [&inner = world_->inner, path](FaultyExecution how) {
    return inner.remove(path, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::rename(std::string from, std::string to, RenameMode mode, Durable durable) {
  FaultyCall<void> call{StoreOperation::kRename, from, durable};
  call.execute = [&inner = world_->inner, from, to, mode](FaultyExecution how) {
    return inner.rename(from, to, mode, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::link(std::string from, std::string to, Durable durable) {
  FaultyCall<void> call{StoreOperation::kLink, from, durable};
  call.execute = [&inner = world_->inner, from, to](FaultyExecution how) {
    return inner.link(from, to, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::make_symlink(std::string target, std::string path, Durable durable) {
  FaultyCall<void> call{StoreOperation::kMakeSymlink, path, durable};
  call.bytes = 1;
  call.execute = [&inner = world_->inner, target, path](FaultyExecution how) {
    return inner.make_symlink(target, path, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<std::string>> FaultyStore::read_symlink(std::string path) {
  FaultyCall<std::string> call{StoreOperation::kReadSymlink, path};
  call.execute = [&inner = world_->inner, path](FaultyExecution) { return inner.read_symlink(path); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<DirectoryPage>> FaultyStore::list(std::string path, uint64_t cookie, Listing listing) {
  FaultyCall<DirectoryPage> call{StoreOperation::kList, path};
  call.execute = [&inner = world_->inner, path, cookie, listing](FaultyExecution) {
    return inner.list(path, cookie, listing);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<DirectoryPage>> FaultyStore::list_few(std::string path, uint64_t cookie, size_t most) {
  FaultyCall<DirectoryPage> call{StoreOperation::kList, path};
  call.execute = [&inner = world_->inner, path, cookie, most](FaultyExecution) {
    return inner.list_few(path, cookie, most);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::sync_directory(std::string path) {
  FaultyCall<void> call{StoreOperation::kSyncDirectory, path, Durable::kYes};
  call.execute = [&inner = world_->inner, path](FaultyExecution how) {
    return how.skip_sync ? no_sync_at_all() : inner.sync_directory(path);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::sync_all() {
  FaultyCall<void> call{StoreOperation::kSyncAll, std::string(name()), Durable::kYes};
  call.execute = [&inner = world_->inner](FaultyExecution how) {
    return how.skip_sync ? no_sync_at_all() : inner.sync_all();
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<StoreSpace>> FaultyStore::space() {
  FaultyCall<StoreSpace> call{StoreOperation::kSpace, std::string(name())};
  call.execute = [&inner = world_->inner](FaultyExecution) { return inner.space(); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<std::string>> FaultyStore::xattr(std::string path, std::string name) {
  FaultyCall<std::string> call{StoreOperation::kXattr, path};
  call.execute = [&inner = world_->inner, path, name](FaultyExecution) { return inner.xattr(path, name); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<std::vector<std::string>>> FaultyStore::list_xattrs(std::string path) {
  FaultyCall<std::vector<std::string>> call{StoreOperation::kListXattrs, path};
  call.execute = [&inner = world_->inner, path](FaultyExecution) { return inner.list_xattrs(path); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::set_xattr(std::string path, std::string name, std::string value,
                                          XattrMode mode, Durable durable) {
  FaultyCall<void> call{StoreOperation::kSetXattr, path, durable};
  call.bytes = value.size();
  call.execute = [&inner = world_->inner, path, name, value, mode](FaultyExecution how) {
    return inner.set_xattr(path, name, value, mode, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyStore::remove_xattr(std::string path, std::string name, Durable durable) {
  FaultyCall<void> call{StoreOperation::kRemoveXattr, path, durable};
  call.execute = [&inner = world_->inner, path, name](FaultyExecution how) {
    return inner.remove_xattr(path, name, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

}  // namespace canopy
