// NfsStore: renaming, linking and listing.
#include "daemon/store/nfs/names.h"
#include "daemon/store/nfs/nfs_store.h"
#include "daemon/store/store_path.h"

namespace canopy {

using namespace nfs;

namespace {

struct Names {
  std::string from, to;
};

// Renames in the way that `mode` wants; both parents are directories.
Task<Result<void>> rename_in(Client& client, Node from_parent, Node to_parent, Names names, RenameMode mode,
                             Nanos deadline) {
  std::optional<Node> file;
  if (const NamedFile* known = client.names().find(names.from, client.loop().now()); known != nullptr) {
    file = Node{.file = *known, .attributes = {}, .remembered = true};
  } else {
    CANOPY_CO_ASSIGN(file, co_await client.look(from_parent, names.from, deadline));
  }
  if (!file) co_return fail_status(kNoEntry, names.from, "RENAME");
  if (mode == RenameMode::kReplace)
    co_return co_await rename_file(client, *file, from_parent, names.from, to_parent, names.to, deadline);
  if (file->file.type == FileType::kDirectory) {
    CANOPY_CO_ASSIGN(std::optional<Node> taken, co_await client.look(to_parent, names.to, deadline));
    if (taken) co_return fail_status(kExists, names.to, "RENAME");
    auto renamed =
        co_await rename_file(client, *file, from_parent, names.from, to_parent, names.to, deadline);
    if (!renamed &&
        (renamed.error().code() == Code::kNotEmpty || renamed.error().code() == Code::kNotDirectory))
      co_return fail_status(kExists, names.to, "RENAME");
    co_return renamed;
  }
  CANOPY_CO_TRY(co_await make_link(client, *file, to_parent, names.to, deadline));
  co_return co_await remove_name(client, from_parent, names.from, Removed::kFile, deadline);
}

Task<Result<void>> link_in(Client& client, Node parent, std::string from, std::string to, Nanos deadline) {
  co_return co_await client.with<void>(
      from, deadline, [&](Node file) { return make_link(client, file, parent, to, deadline); });
}

// Types that the server left out.
Task<Result<void>> complete(Client& client, ListAnswer& answer, Node directory, std::string path,
                            Nanos deadline) {
  for (ListAnswer::Entry& entry : answer.entries) {
    if (entry.attributes || entry.name == "." || entry.name == "..") continue;
    const std::string full = path.empty() ? entry.name : path + '/' + entry.name;
    CANOPY_CO_ASSIGN(std::optional<Node> found, co_await client.look(directory, full, deadline));
    if (found) entry.attributes = found->attributes;
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<void>> NfsStore::rename(std::string from, std::string to, RenameMode mode, Durable) {
  CANOPY_CO_TRY(check_store_name(from));
  CANOPY_CO_TRY(check_store_name(to));
  if (mode == RenameMode::kExchange)
    co_return fail(Code::kUnsupported, from, "NFS cannot exchange two names");
  if (to.starts_with(from + '/'))
    co_return fail(Code::kInvalidArgument, from, "a directory cannot be moved into itself");
  const Nanos deadline = client_->deadline();
  for (bool again = false;; again = true) {
    CANOPY_CO_ASSIGN(Node from_parent,
                     co_await client_->resolve_directory(std::string(store_parent_of(from)), deadline));
    CANOPY_CO_ASSIGN(Node to_parent,
                     co_await client_->resolve_directory(std::string(store_parent_of(to)), deadline));
    auto renamed = co_await rename_in(*client_, from_parent, to_parent, Names{from, to}, mode, deadline);
    if (renamed || again) co_return renamed;
    // Either parent may be the one that the server no longer knows; a stage directory stays what it is.
    const bool from_forgotten = client_->forget_if_stale(renamed.error(), from);
    const bool to_forgotten = client_->forget_if_stale(renamed.error(), to);
    if (!from_forgotten && !to_forgotten) co_return renamed;
  }
}

Task<Result<void>> NfsStore::link(std::string from, std::string to, Durable) {
  CANOPY_CO_TRY(check_store_name(from));
  CANOPY_CO_TRY(check_store_name(to));
  const Nanos deadline = client_->deadline();
  CANOPY_CO_ASSIGN(const Node file, co_await client_->resolve(from, deadline));
  if (file.file.type == FileType::kDirectory)
    co_return fail(Code::kPermissionDenied, from, "a directory has one name only");
  for (bool again = false;; again = true) {
    CANOPY_CO_ASSIGN(Node parent,
                     co_await client_->resolve_directory(std::string(store_parent_of(to)), deadline));
    auto linked = co_await link_in(*client_, parent, from, to, deadline);
    if (linked || again || !client_->forget_if_stale(linked.error(), to)) co_return linked;
  }
}

namespace {

Task<Result<ListAnswer>> list_page(Client& client, Node directory, std::string path, uint64_t cookie,
                                   std::array<char, 8> verifier, Nanos deadline) {
  if (directory.file.type == FileType::kSymlink)
    co_return fail(Code::kLoop, path, "a symbolic link, and none is followed");
  if (directory.file.type != FileType::kDirectory)
    co_return fail(Code::kNotDirectory, path, "not a directory");
  auto answer = co_await client.server().insist<ListAnswer>(deadline, [&](RpcConnection& on) {
    return client.protocol().list(on, directory.file.handle, cookie, verifier);
  });
  if (!answer) co_return client.fail(answer.error(), path, "READDIRPLUS");
  CANOPY_CO_TRY(co_await complete(client, *answer, directory, path, deadline));
  co_return std::move(*answer);
}

}  // namespace

Task<Result<DirectoryPage>> NfsStore::list(std::string path, uint64_t cookie, Listing listing) {
  CANOPY_CO_TRY(check_store_path(path));
  const Nanos deadline = client_->deadline();
  const NameCache::Moment asked = client_->names().moment();
  // A verifier belongs to its cookies; by the path, as a directory that moves is listed anew.
  std::array<char, 8> verifier{};
  if (auto known = cookie_verifiers_.find(path); cookie != 0 && known != cookie_verifiers_.end())
    verifier = known->second;
  CANOPY_CO_ASSIGN(ListAnswer answer, co_await client_->with<ListAnswer>(path, deadline, [&](Node node) {
    return list_page(*client_, node, path, cookie, verifier, deadline);
  }));
  DirectoryPage page;
  page.end = answer.end;
  page.next_cookie = cookie;
  const bool remember = answer.entries.size() <= kListedNamesLearntMax;
  for (ListAnswer::Entry& entry : answer.entries) {
    if (page.entries.size() == kStoreDirectoryPageEntries) {
      page.end = false;
      break;
    }
    page.next_cookie = entry.cookie;
    if (entry.name == "." || entry.name == ".." || !entry.attributes) continue;  // it has gone meanwhile
    if (remember && entry.handle) {
      const NamedFile file{
          .handle = *entry.handle, .type = entry.attributes->type, .file_id = entry.attributes->file_id};
      client_->names().learn(path.empty() ? entry.name : path + '/' + entry.name, file, client_->loop().now(),
                             asked);
    }
    if (listing == Listing::kAttributes) page.attributes.push_back(*entry.attributes);
    page.entries.push_back(
        {std::move(entry.name), entry.attributes->type, entry.attributes->file_id, entry.cookie});
  }
  if (page.end || answer.cookie_verifier == std::array<char, 8>{}) {
    cookie_verifiers_.erase(path);
  } else {
    if (cookie_verifiers_.size() >= kCookieVerifiersMax) cookie_verifiers_.erase(cookie_verifiers_.begin());
    cookie_verifiers_[path] = answer.cookie_verifier;
  }
  co_return page;
}

}  // namespace canopy
