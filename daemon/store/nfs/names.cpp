#include "daemon/store/nfs/names.h"

#include "daemon/store/store_path.h"

namespace canopy::nfs {
namespace {

std::string leaf(std::string_view path) { return std::string(store_leaf_of(path)); }

// The fault's status; a lost answer for which there is no time to look is given up.
int lost_in_time(Client& client, Fault fault, Nanos deadline) {
  return fault.status == kLost && client.loop().now() >= deadline ? kGaveUp : fault.status;
}

// What was made under `path`, out of its answer.
Task<Result<Node>> made_node(Client& client, Node parent, std::string path, Made made,
                             NameCache::Moment asked, Nanos deadline) {
  if (!made.handle) {
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(parent, path, deadline));
    if (!found) co_return fail_status(kNoEntry, path, "LOOKUP");
    co_return *found;
  }
  if (!made.attributes) {
    CANOPY_CO_ASSIGN(made.attributes, co_await client.attributes(*made.handle, path, deadline));
  }
  Node node{
      .file = {.handle = *made.handle, .type = made.attributes->type, .file_id = made.attributes->file_id},
      .attributes = made.attributes};
  client.names().learn(path, node.file, client.loop().now(), asked);
  co_return node;
}

// Makes something by `call`, which gives it the time of access `mark`. Whether what is there after a lost
// answer is ours, the mark says; one that somebody has changed since counts as another's.
template <class Call>
Task<Result<Node>> make(Client& client, Node parent, std::string path, FileTime mark,
                        std::string_view operation, Nanos deadline, Call call) {
  bool was_lost = false;
  while (true) {
    const NameCache::Moment asked = client.names().moment();
    Reply<Made> made = co_await client.server().once<Made>(deadline, call);
    if (made) {
      auto node = co_await made_node(client, parent, path, *made, asked, deadline);
      if (node && node->attributes) client.birthmarks().learn(mark, node->attributes->accessed);
      co_return node;
    }
    const int status = lost_in_time(client, made.error(), deadline);
    if (status != kLost && (status != kExists || !was_lost)) co_return client.fail({status}, path, operation);
    was_lost = true;
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(parent, path, deadline));
    if (found && found->attributes && found->attributes->accessed == mark) co_return *found;
    if (found) co_return fail_status(kExists, path, operation);
  }
}

}  // namespace

Task<Result<Node>> create_file(Client& client, Node parent, std::string path, uint32_t mode, Nanos deadline) {
  const FileTime mark = client.birthmark();
  co_return co_await make(client, parent, path, mark, "CREATE", deadline, [&](RpcConnection& on) {
    return client.protocol().create(on, parent.file.handle, leaf(path), {.mode = mode, .accessed = mark});
  });
}

Task<Result<void>> make_directory(Client& client, Node parent, std::string path, uint32_t mode,
                                  Nanos deadline) {
  const FileTime mark = client.birthmark();
  CANOPY_CO_TRY(co_await make(client, parent, path, mark, "MKDIR", deadline, [&](RpcConnection& on) {
    return client.protocol().make_directory(on, parent.file.handle, leaf(path),
                                            {.mode = mode, .accessed = mark});
  }));
  co_return Result<void>();
}

Task<Result<void>> make_symlink(Client& client, Node parent, std::string path, std::string target,
                                Nanos deadline) {
  bool was_lost = false;
  while (true) {
    Reply<Made> made = co_await client.server().once<Made>(deadline, [&](RpcConnection& on) {
      return client.protocol().make_symlink(on, parent.file.handle, leaf(path), target);
    });
    if (made) co_return Result<void>();
    const int status = lost_in_time(client, made.error(), deadline);
    if (status != kLost && (status != kExists || !was_lost)) co_return client.fail({status}, path, "SYMLINK");
    was_lost = true;
    // A link that says the same is as good as ours.
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(parent, path, deadline));
    if (!found) continue;
    if (found->file.type == FileType::kSymlink) {
      auto says = co_await client.server().insist<std::string>(deadline, [&](RpcConnection& on) {
        return client.protocol().read_symlink(on, found->file.handle);
      });
      if (says && *says == target) co_return Result<void>();
    }
    co_return fail_status(kExists, path, "SYMLINK");
  }
}

Task<Result<void>> remove_name(Client& client, Node parent, std::string path, Removed what, Nanos deadline) {
  const std::string_view operation = what == Removed::kFile ? "REMOVE" : "RMDIR";
  // By its handle: a file id is given to the next file at once.
  std::optional<FileHandle> removed_file;
  if (const NamedFile* known = client.names().find(path, client.loop().now()); known != nullptr)
    removed_file = known->handle;
  bool was_lost = false;
  while (true) {
    Reply<void> removed = co_await client.server().once<void>(deadline, [&](RpcConnection& on) {
      return what == Removed::kFile ? client.protocol().remove(on, parent.file.handle, leaf(path))
                                    : client.protocol().remove_directory(on, parent.file.handle, leaf(path));
    });
    client.names().forget(path);
    if (removed || (removed.error().status == kNoEntry && was_lost)) co_return Result<void>();
    const int status = lost_in_time(client, removed.error(), deadline);
    if (status != kLost) co_return client.fail({status}, path, operation);
    was_lost = true;
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(parent, path, deadline));
    // Gone; or another file has taken the name since.
    if (!found || (removed_file && found->file.handle != *removed_file)) co_return Result<void>();
    removed_file = found->file.handle;
  }
}

Task<Result<void>> make_link(Client& client, Node file, Node parent, std::string path, Nanos deadline) {
  bool was_lost = false;
  while (true) {
    Reply<void> made = co_await client.server().once<void>(deadline, [&](RpcConnection& on) {
      return client.protocol().link(on, file.file.handle, parent.file.handle, leaf(path));
    });
    client.names().forget(path);
    if (made) co_return Result<void>();
    const int status = lost_in_time(client, made.error(), deadline);
    if (status != kLost && (status != kExists || !was_lost)) co_return client.fail({status}, path, "LINK");
    was_lost = true;
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(parent, path, deadline));
    if (found && found->file.file_id == file.file.file_id) co_return Result<void>();
    if (found) co_return fail_status(kExists, path, "LINK");
  }
}

Task<Result<void>> rename_file(Client& client, Node file, Node from_parent, std::string from, Node to_parent,
                               std::string to, Nanos deadline) {
  bool was_lost = false;
  while (true) {
    Reply<void> renamed = co_await client.server().once<void>(deadline, [&](RpcConnection& on) {
      return client.protocol().rename(on, from_parent.file.handle, leaf(from), to_parent.file.handle,
                                      leaf(to));
    });
    if (renamed) {
      client.names().moved(from, to);
      co_return Result<void>();
    }
    client.names().forget(from);
    client.names().forget(to);
    const int status = lost_in_time(client, renamed.error(), deadline);
    if (status != kLost && (status != kNoEntry || !was_lost))
      co_return client.fail({status}, status == kExists ? to : from, "RENAME");
    was_lost = true;
    CANOPY_CO_ASSIGN(std::optional<Node> target, co_await client.look(to_parent, to, deadline));
    if (target && target->file.file_id == file.file.file_id) co_return Result<void>();
    CANOPY_CO_ASSIGN(std::optional<Node> source, co_await client.look(from_parent, from, deadline));
    if (!source || source->file.file_id != file.file.file_id)
      co_return ::canopy::fail(Code::kStoreUnavailable, from,
                               fmt::format("RENAME to {}: the answer was lost, and the file is under neither "
                                           "name any more",
                                           to));
  }
}

}  // namespace canopy::nfs
