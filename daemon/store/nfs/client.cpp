#include "daemon/store/nfs/client.h"

#include "daemon/store/store_path.h"

namespace canopy::nfs {
namespace {

Result<void> check_directory(const NamedFile& file, std::string_view path) {
  switch (file.type) {
    case FileType::kDirectory: return {};
    case FileType::kSymlink:
      return canopy::fail(Code::kLoop, std::string(path),
                          "a symbolic link is on the way, and none is followed");
    default: return canopy::fail(Code::kNotDirectory, std::string(path), "not a directory");
  }
}

NamedFile named(const FileHandle& handle, const Attributes& attributes) {
  return NamedFile{.handle = handle, .type = attributes.type, .file_id = attributes.file_id};
}

}  // namespace

bool is_in_stage(std::string_view path) {
  constexpr std::string_view kStage = ".canopy/stage/";
  const size_t at = path.find(kStage);
  return at != std::string_view::npos && (at == 0 || path[at - 1] == '/');
}

bool is_stale(const Error& error) {
  return error.code() == Code::kNotFound && error.is_of_system() && error.error_number() == ESTALE;
}

Client::Client(Loop& loop, NfsOptions options, RpcEndpoint endpoint, std::unique_ptr<Protocol> protocol,
               FileHandle root)
    : loop_(loop),
      options_(std::move(options)),
      protocol_(std::move(protocol)),
      root_(root),
      server_(loop, options_, std::move(endpoint)),
      names_(options_.names_max, options_.names_trusted),
      unsynced_(std::make_shared<UnsyncedFiles>(options_.unsynced_max)) {}

Task<Result<void>> Client::start() {
  server_.start([this](RpcConnection& on) { return answers(on); });
  const Nanos until = deadline();
  auto found = co_await server_.insist<ServerLimits>(
      until, [this](RpcConnection& on) { return protocol_->limits(on, root_); });
  if (!found) co_return fail(found.error(), options_.export_path, "FSINFO");
  limits_ = *found;
  auto bounded = [](uint32_t bytes) {
    return bytes == 0 ? kTransferBytesMax : std::min(bytes, kTransferBytesMax);
  };
  limits_.read_bytes = bounded(limits_.read_bytes);
  limits_.write_bytes = bounded(limits_.write_bytes);
  if (limits_.file_bytes == 0 || limits_.file_bytes > INT64_MAX) limits_.file_bytes = INT64_MAX;
  co_return Result<void>();
}

Task<bool> Client::answers(RpcConnection& on) {
  const Reply<Attributes> found = co_await protocol_->attributes(on, root_);
  co_return found || (found.error().status != kLost && found.error().status != kRefused);
}

std::unexpected<Error> Client::fail(Fault fault, std::string path, std::string_view operation) {
  if (fault.status >= 0) return fail_status(fault.status, std::move(path), operation);
  if (fault.status == kNotSent)
    return canopy::fail(Code::kNoSpaceForName, std::move(path),
                        fmt::format("{}: names and targets of this length cannot be sent", operation));
  server_.count_given_up();
  const std::string problem = server_.last_problem();
  return canopy::fail(Code::kStoreUnavailable, path.empty() ? "/" : std::move(path),
                      fmt::format("{}: store {} ({}) does not answer{}{}", operation, options_.name,
                                  options_.host, problem.empty() ? "" : ": ", problem));
}

const NamedFile* Client::remembered(std::string_view path) {
  // What a stage directory was called is not asked again: a late rename must find nothing.
  return names_.find(path, is_in_stage(path) ? 0 : loop_.now());
}

bool Client::forget_if_stale(const Error& error, std::string_view path) {
  if (!is_stale(error) || is_in_stage(path)) return false;
  names_.forget_way(path);
  return true;
}

Task<Result<Node>> Client::resolve(std::string path, Nanos deadline) {
  for (bool again = false;; again = true) {
    std::string_view known = path;
    const NamedFile* found = nullptr;
    while (!known.empty() && (found = remembered(known)) == nullptr) known = store_parent_of(known);
    Node node;
    node.file = {.handle = root_, .type = FileType::kDirectory};
    node.remembered = true;
    if (found != nullptr) node.file = *found;
    size_t at = known.size();
    Result<void> looked;
    while (at < path.size()) {
      const size_t end = std::min(path.find('/', at == 0 ? 0 : at + 1), path.size());
      auto next = co_await look(node, path.substr(0, end), deadline);
      if (!next) {
        looked = canopy::fail(next.error());
        break;
      }
      if (!*next) co_return fail_status(kNoEntry, path, "LOOKUP");
      node = **next;
      at = end;
    }
    if (looked) co_return node;
    if (again || !forget_if_stale(looked.error(), path)) co_return canopy::fail(looked.error().about(path));
  }
}

Task<Result<Node>> Client::resolve_directory(std::string path, Nanos deadline) {
  CANOPY_CO_ASSIGN(Node node, co_await resolve(path, deadline));
  CANOPY_CO_TRY(check_directory(node.file, path));
  co_return node;
}

Task<Result<std::optional<Node>>> Client::look(Node directory, std::string path, Nanos deadline) {
  CANOPY_CO_TRY(check_directory(directory.file, store_parent_of(path)));
  const NameCache::Moment asked = names_.moment();
  const std::string name(store_leaf_of(path));
  auto found = co_await server_.insist<Found>(
      deadline, [&](RpcConnection& on) { return protocol_->lookup(on, directory.file.handle, name); });
  if (!found && found.error().status == kNoEntry) co_return std::optional<Node>();
  if (!found) co_return fail(found.error(), path, "LOOKUP");
  if (!found->attributes) {
    CANOPY_CO_ASSIGN(found->attributes, co_await attributes(found->handle, path, deadline));
  }
  Node node{.file = named(found->handle, *found->attributes), .attributes = found->attributes};
  names_.learn(path, node.file, loop_.now(), asked);
  co_return std::optional<Node>(node);
}

Task<Result<Attributes>> Client::attributes(FileHandle file, std::string path, Nanos deadline) {
  auto found = co_await server_.insist<Attributes>(
      deadline, [&](RpcConnection& on) { return protocol_->attributes(on, file); });
  // A server that still has a removed file open answers for it.
  if (found && found->links == 0) found = fault(kStale);
  if (!found) co_return fail(found.error(), std::move(path), "GETATTR");
  co_return *found;
}

Task<Result<Attributes>> Client::attributes(Node node, std::string path, Nanos deadline) {
  if (node.attributes) co_return *node.attributes;
  co_return co_await attributes(node.file.handle, std::move(path), deadline);
}

FileTime Client::birthmark() { return birthmarks_.next(loop_.wall_clock_ns() / kSecond, loop_.random()); }

}  // namespace canopy::nfs
