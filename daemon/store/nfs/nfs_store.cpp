#include "daemon/store/nfs/nfs_store.h"

#include "daemon/store/nfs/names.h"
#include "daemon/store/nfs/nfs_file.h"
#include "daemon/store/store_path.h"

namespace canopy {

using namespace nfs;

NfsStore::NfsStore(std::unique_ptr<Client> client) : client_(std::move(client)) {}
NfsStore::~NfsStore() = default;

std::string_view NfsStore::name() const { return client_->options().name; }

ServerFigures NfsStore::figures() const { return client_->server().figures(); }
void NfsStore::forget_names(std::string_view path) { client_->names().forget(path); }

namespace {

std::string parent_of(std::string_view path) { return std::string(store_parent_of(path)); }

// Runs `use(parent)` with the directory that holds the last name of `path`.
template <class T, class Use>
Task<Result<T>> in_parent(Client& client, std::string path, Nanos deadline, Use use) {
  CANOPY_CO_TRY(check_store_name(path));
  for (bool again = false;; again = true) {
    CANOPY_CO_ASSIGN(Node parent, co_await client.resolve_directory(parent_of(path), deadline));
    Result<T> result = co_await use(parent);
    if (result || again || !client.forget_if_stale(result.error(), path)) co_return result;
  }
}

Task<Result<void>> check_openable(Client& client, Node& node, std::string path, Nanos deadline) {
  switch (node.file.type) {
    case FileType::kRegular: break;
    case FileType::kDirectory: co_return fail(Code::kIsDirectory, path, "it is a directory");
    case FileType::kSymlink: co_return fail(Code::kLoop, path, "a symbolic link, and none is followed");
    case FileType::kOther: co_return fail(Code::kUnsupported, path, "neither a file nor a directory");
  }
  // What was remembered may have been removed elsewhere.
  CANOPY_CO_ASSIGN(node.attributes, co_await client.attributes(node, path, deadline));
  co_return Result<void>();
}

Task<Result<std::unique_ptr<File>>> open_node(Client& client, Node node, std::string path,
                                              OpenOptions options, Nanos deadline) {
  CANOPY_CO_TRY(co_await check_openable(client, node, path, deadline));
  if (options.truncate) {
    CANOPY_CO_TRY(co_await change_attributes(client, node, path, {.size = 0}, deadline));
  }
  co_return std::make_unique<NfsFile>(client, node.file.handle, std::move(path), options.write);
}

// Opens what is there, or makes it.
Task<Result<std::unique_ptr<File>>> open_or_create(Client& client, Node parent, std::string path,
                                                   OpenOptions options, Nanos deadline) {
  while (true) {
    if (!options.exclusive) {
      std::optional<Node> found;
      if (const NamedFile* known = client.names().find(path, client.loop().now()); known != nullptr) {
        found = Node{.file = *known, .attributes = {}, .remembered = true};
      } else {
        CANOPY_CO_ASSIGN(found, co_await client.look(parent, path, deadline));
      }
      if (found) {
        auto opened = co_await open_node(client, *found, path, options, deadline);
        if (opened || !found->remembered || !is_stale(opened.error())) co_return opened;
        client.names().forget(path);
        continue;
      }
    }
    auto made = co_await create_file(client, parent, path, options.mode, deadline);
    if (made) co_return std::make_unique<NfsFile>(client, made->file.handle, std::move(path), true);
    if (options.exclusive || made.error().code() != Code::kAlreadyExists || client.loop().now() >= deadline)
      co_return fail(made.error());
  }
}

}  // namespace

Task<Result<std::unique_ptr<File>>> NfsStore::open(std::string path, OpenOptions options) {
  using Opened = std::unique_ptr<File>;
  if ((options.create || options.truncate) && !options.write)
    co_return fail(Code::kInvalidArgument, path, "creating and truncating need an open for writing");
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  if (options.create && !path.empty()) {
    co_return co_await in_parent<Opened>(*client_, path, deadline, [&](Node parent) {
      return open_or_create(*client_, parent, path, options, deadline);
    });
  }
  co_return co_await client_->with<Opened>(
      path, deadline, [&](Node node) { return open_node(*client_, node, path, options, deadline); });
}

Task<Result<Attributes>> NfsStore::attributes(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  co_return co_await client_->with<Attributes>(
      path, deadline, [&](Node node) { return client_->attributes(node, path, deadline); });
}

Task<Result<void>> NfsStore::set_attributes(std::string path, SetAttributes change, Durable) {
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  co_return co_await client_->with<void>(
      path, deadline, [&](Node node) { return change_attributes(*client_, node, path, change, deadline); });
}

Task<Result<void>> NfsStore::make_directory(std::string path, uint32_t mode, Durable) {
  if (path.empty()) co_return fail(Code::kAlreadyExists, "/", "the root of a store is always there");
  const Nanos deadline = client_->deadline();
  co_return co_await in_parent<void>(*client_, path, deadline, [&](Node parent) {
    return nfs::make_directory(*client_, parent, path, mode, deadline);
  });
}

Task<Result<void>> NfsStore::remove_directory(std::string path, Durable) {
  const Nanos deadline = client_->deadline();
  co_return co_await in_parent<void>(*client_, path, deadline, [&](Node parent) {
    return remove_name(*client_, parent, path, Removed::kDirectory, deadline);
  });
}

Task<Result<void>> NfsStore::remove(std::string path, Durable) {
  const Nanos deadline = client_->deadline();
  co_return co_await in_parent<void>(*client_, path, deadline, [&](Node parent) {
    return remove_name(*client_, parent, path, Removed::kFile, deadline);
  });
}

Task<Result<void>> NfsStore::make_symlink(std::string target, std::string path, Durable) {
  if (target.empty() || target.find('\0') != std::string::npos)
    co_return fail(Code::kInvalidArgument, path, "a symbolic link needs a target without NUL bytes");
  if (target.size() > kSymlinkBytesMax) co_return fail(Code::kNoSpaceForName, path, "the target is too long");
  const Nanos deadline = client_->deadline();
  co_return co_await in_parent<void>(*client_, path, deadline, [&](Node parent) {
    return nfs::make_symlink(*client_, parent, path, target, deadline);
  });
}

namespace {

Task<Result<std::string>> target_of(Client& client, Node node, std::string path, Nanos deadline) {
  if (node.file.type != FileType::kSymlink)
    co_return fail(Code::kInvalidArgument, path, "not a symbolic link");
  auto target = co_await client.server().insist<std::string>(
      deadline, [&](RpcConnection& on) { return client.protocol().read_symlink(on, node.file.handle); });
  if (!target) co_return client.fail(target.error(), path, "READLINK");
  co_return std::move(*target);
}

Task<Result<std::string>> whole_file(Client& client, Node node, std::string path, uint64_t bytes_max,
                                     Nanos deadline) {
  // Its READ says as well whether the file is still there.
  Node checked = node;
  if (!checked.attributes) checked.attributes.emplace();
  CANOPY_CO_TRY(co_await check_openable(client, checked, path, deadline));
  const size_t first =
      std::min<uint64_t>(bytes_max, node.attributes ? node.attributes->size : kFirstReadBytes) + 1;
  std::string bytes;
  for (size_t chunk = std::min<size_t>(first, client.limits().read_bytes);;
       chunk = client.limits().read_bytes) {
    const size_t had = bytes.size();
    bytes.resize_and_overwrite(had + chunk, [](char*, size_t size) { return size; });
    CANOPY_CO_ASSIGN(const size_t got, co_await read_range(client, node.file.handle, path, had,
                                                           std::span<char>(bytes.data() + had, chunk),
                                                           deadline + time_for(had + chunk)));
    bytes.resize(had + got);
    if (bytes.size() > bytes_max)
      co_return fail(Code::kTooLarge, path, fmt::format("the file is larger than {} bytes", bytes_max));
    if (got < chunk) co_return bytes;
  }
}

}  // namespace

Task<Result<std::string>> NfsStore::read_symlink(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  co_return co_await client_->with<std::string>(
      path, deadline, [&](Node node) { return target_of(*client_, node, path, deadline); });
}

Task<Result<std::string>> NfsStore::read_whole(std::string path, uint64_t bytes_max) {
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  co_return co_await client_->with<std::string>(
      path, deadline, [&](Node node) { return whole_file(*client_, node, path, bytes_max, deadline); });
}

Task<Result<void>> NfsStore::sync_directory(std::string path) {
  // RFC 1813 has the server make names durable before it answers; what is left is whether it is there.
  CANOPY_CO_ASSIGN(const Attributes found, co_await attributes(path));
  if (found.type != FileType::kDirectory) co_return fail(Code::kNotDirectory, path, "not a directory");
  co_return Result<void>();
}

Task<Result<StoreSpace>> NfsStore::space() {
  auto found = co_await client_->server().insist<StoreSpace>(client_->deadline(), [this](RpcConnection& on) {
    return client_->protocol().space(on, client_->root());
  });
  if (!found) co_return client_->fail(found.error(), "/", "FSSTAT");
  co_return *found;
}

}  // namespace canopy
