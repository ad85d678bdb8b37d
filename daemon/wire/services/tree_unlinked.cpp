// Files of the Tree service that are open and have lost their last name.
#include "daemon/base/log.h"
#include "daemon/wire/services/tree_service.h"

namespace canopy::wire {
namespace {

constexpr size_t kUnlinkedMax = 1'000'000;  // of one store

}  // namespace

Task<Result<void>> TreeService::start() {
  CANOPY_CO_TRY(co_await intents_.start(node_));
  Shard& first = *node_.shards().front();
  CANOPY_CO_TRY(co_await make_directories(*first.store, std::string(kTreeUnlinkedPath), 0700, Durable::kNo));
  auto files = co_await list_all(*first.store, std::string(kTreeUnlinkedPath), kUnlinkedMax);
  if (!files) co_return fail(std::move(files).error());
  for (const DirectoryEntry& file : *files)
    if (auto identity = parse_unlinked(file.name)) open_files_.keep(*identity, first.loop.now());
  started_ = first.loop.now();
  co_return co_await start_locks(*first.store);
}

Task<void> TreeService::sweep(const std::atomic<bool>& over) {
  Shard& first = *node_.shards().front();
  while (!over) {
    co_await first.loop.sleep(kSecond);
    co_await sweep_once(first);
  }
}

Task<void> TreeService::sweep_once(Shard& shard) {
  co_await sweep_locks(shard);
  for (const FileIdentity& file : open_files_.take_due(shard.loop.now())) {
    auto removed = co_await shard.store->remove(unlinked_path(file), Durable::kNo);
    if (removed || removed.error().code() == Code::kNotFound) continue;
    log_event(LogLevel::kError, "unlinked-file-stays", unlinked_path(file),
              {{"error", removed.error().to_string()}});
  }
}

Attributes TreeService::seen(Attributes of) const {
  if (of.links > 0 && open_files_.is_kept(identity_of(of))) --of.links;  // that name is nobody's
  return of;
}

// The caller holds the name.
Task<Result<void>> TreeService::remove_file(Loop& loop, std::string path, const FileIdentity& expected,
                                            bool held) {
  if (!held && expected && !open_files_.is_open(expected))
    co_return co_await store().remove(std::move(path), Durable::kNo);
  auto there = co_await store().attributes(path);
  if (!there) co_return fail(std::move(there).error());
  const FileIdentity file = identity_of(*there);
  const bool needed =
      there->type == FileType::kRegular && (open_files_.is_open(file) || (held && file == expected));
  if (!needed) co_return co_await store().remove(std::move(path), Durable::kNo);
  if (open_files_.is_kept(file)) co_return co_await store().remove(std::move(path), Durable::kNo);
  open_files_.keep(file, loop.now());
  auto kept = co_await store().rename(path, unlinked_path(file), RenameMode::kReplace, Durable::kNo);
  if (!kept) open_files_.drop(file);
  co_return kept;
}

// The caller holds both names. What is replaced gets its other name first: a rename is one step for those who
// look at `to`.
Task<Result<void>> TreeService::replace_file(Loop& loop, const v1::TreeRenameRequest& request,
                                             RenameMode mode) {
  std::optional<FileIdentity> kept;
  if (mode == RenameMode::kReplace && (request.held() || open_files_.any_open())) {
    auto there = co_await store().attributes(request.to());
    if (there && there->type == FileType::kRegular && identity_of(*there) != co_await named(request.from())) {
      const FileIdentity file = identity_of(*there);
      if ((request.held() || open_files_.is_open(file)) && !open_files_.is_kept(file)) {
        auto linked = co_await store().link(request.to(), unlinked_path(file), Durable::kNo);
        if (!linked && linked.error().code() != Code::kAlreadyExists) co_return linked;
        open_files_.keep(file, loop.now());
        kept = file;
      }
    }
  }
  auto done = co_await store().rename(request.from(), request.to(), mode, Durable::kNo);
  if (!done && kept) {
    open_files_.drop(*kept);
    (void)co_await store().remove(unlinked_path(*kept), Durable::kNo);
  }
  co_return done;
}

}  // namespace canopy::wire
