// Writing: what counts as written, and what is written again.
#include "daemon/runtime/sync.h"
#include "daemon/store/nfs/nfs_file.h"

namespace canopy::nfs {
namespace {

// The bytes [from, from + size) of all pieces together: as they lie when one piece holds them, otherwise
// copied into `room`.
std::string_view bytes_at(std::span<const std::string_view> pieces, size_t from, size_t size,
                          std::string& room) {
  size_t begin = 0;
  for (size_t i = 0; i < pieces.size(); begin += pieces[i++].size()) {
    if (from >= begin + pieces[i].size()) continue;
    const size_t skip = from - begin;
    if (pieces[i].size() - skip >= size) return pieces[i].substr(skip, size);
    room.clear();
    room.reserve(size);
    room.append(pieces[i].substr(skip));
    while (room.size() < size) {
      const std::string_view next = pieces[++i];
      room.append(next.substr(0, size - room.size()));
    }
    return room;
  }
  return {};
}

// What one or many WRITEs came to, all of them answered.
struct Written {
  bool all_stable = true;  // with FILE_SYNC, so that no COMMIT is needed
  bool one_life = true;    // of the server: the same verifier in all that are not stable
  std::optional<WriteVerifier> verifier;
  std::optional<Attributes> after;  // of the last answer
  size_t calls = 0;

  void add(const WriteAnswer& answer) {
    ++calls;
    after = answer.after;
    if (answer.committed == Stability::kFile) return;
    all_stable = false;
    if (verifier && *verifier != answer.verifier) one_life = false;
    verifier = answer.verifier;
  }
};

// Writes one part, again for what a short answer left.
Task<Result<Written>> write_part(Client& client, FileHandle file, std::string path, uint64_t offset,
                                 std::string_view bytes, Stability stability, Nanos deadline) {
  Written written;
  while (!bytes.empty()) {
    auto answer = co_await client.server().insist<WriteAnswer>(deadline, [&](RpcConnection& on) {
      return client.protocol().write(on, file, offset, bytes, stability);
    });
    if (!answer) co_return client.fail(answer.error(), path, "WRITE");
    if (answer->count == 0 || answer->count > bytes.size())
      co_return fail(Code::kIo, path,
                     fmt::format("WRITE: the server took {} of {} bytes", answer->count, bytes.size()));
    written.add(*answer);
    offset += answer->count;
    bytes.remove_prefix(answer->count);
  }
  co_return written;
}

Task<Result<Written>> write_gathered(Client& client, FileHandle file, std::string path, uint64_t offset,
                                     std::span<const std::string_view> pieces, size_t from, size_t size,
                                     Stability stability, Nanos deadline) {
  std::string room;
  co_return co_await write_part(client, file, std::move(path), offset + from,
                                bytes_at(pieces, from, size, room), stability, deadline);
}

// All of it, in as many WRITEs as it takes, several at a time.
Task<Result<Written>> write_all(Client& client, FileHandle file, std::string path, uint64_t offset,
                                std::span<const std::string_view> pieces, size_t total, Stability stability,
                                Nanos deadline) {
  const size_t part_bytes = client.limits().write_bytes;
  const size_t at_once = pieces_in_flight(part_bytes);
  Written all;
  for (size_t at = 0; at < total;) {
    std::vector<Task<Result<Written>>> parts;
    for (; at < total && parts.size() < at_once; at += part_bytes) {
      const size_t size = std::min(part_bytes, total - at);
      parts.push_back(write_gathered(client, file, path, offset, pieces, at, size, stability, deadline));
    }
    const auto answers = co_await join_all(client.loop(), std::move(parts));
    for (const auto& answer : answers) {
      if (!answer) co_return fail(answer.error());
      all.calls += answer->calls;
      all.after = answer->after;
      all.all_stable = all.all_stable && answer->all_stable;
      all.one_life = all.one_life && answer->one_life;
      if (all.verifier && answer->verifier && *all.verifier != *answer->verifier) all.one_life = false;
      if (answer->verifier) all.verifier = answer->verifier;
    }
  }
  co_return all;
}

Task<Result<CommitAnswer>> commit(Client& client, FileHandle file, std::string path, Nanos deadline) {
  auto answer = co_await client.server().insist<CommitAnswer>(
      deadline, [&](RpcConnection& on) { return client.protocol().commit(on, file); });
  if (answer && answer->after && answer->after->links == 0) answer = fault(kStale);
  if (!answer) co_return client.fail(answer.error(), path, "COMMIT");
  co_return *answer;
}

// The server may lose these bytes until a sync().
void note_unsynced(Unsynced& of, const WriteVerifier& verifier, uint64_t order) {
  const bool first = of.order == 0;
  if (!first && of.verifier != verifier) of.lost = true;
  of.verifier = verifier;
  of.order = order;
}

}  // namespace

Task<Result<WriteOutcome>> write_pieces(Client& client, FileHandle file, std::string path, uint64_t offset,
                                        std::span<const std::string_view> pieces, size_t total,
                                        Durable durable, Nanos deadline) {
  const bool small = total <= client.limits().write_bytes;
  for (unsigned round = 0; round < kRewritesMax; ++round) {
    Unsynced* unsynced = durable == Durable::kNo ? client.unsynced().make(file) : nullptr;
    // Where there is no room to remember that a sync() is needed, none must be.
    const bool stable = durable == Durable::kYes ? small : unsynced == nullptr;
    CANOPY_CO_ASSIGN(const Written written,
                     co_await write_all(client, file, path, offset, pieces, total,
                                        stable ? Stability::kFile : Stability::kUnstable, deadline));
    // The server began another life in between: whatever it had taken is written again.
    if (!written.one_life) continue;
    std::optional<Attributes> after = written.after;
    if (!written.all_stable && durable == Durable::kYes) {
      CANOPY_CO_ASSIGN(const CommitAnswer committed, co_await commit(client, file, path, deadline));
      if (committed.verifier != *written.verifier) continue;
      after = committed.after;
    } else if (!written.all_stable) {
      unsynced = client.unsynced().make(file);  // others came and went meanwhile
      if (unsynced == nullptr) {
        durable = Durable::kYes;
        continue;
      }
      note_unsynced(*unsynced, *written.verifier, client.next_order());
    }
    // Answers overtake one another: of several WRITEs none need be the last that the server did.
    if (written.calls > 1 && (written.all_stable || durable == Durable::kNo)) after.reset();
    if (after && after->links == 0) co_return fail_status(kStale, path, "WRITE");
    if (!after) {
      CANOPY_CO_ASSIGN(after, co_await client.attributes(file, path, deadline));
    }
    co_return WriteOutcome{.written = total, .after = *after};
  }
  co_return fail(
      Code::kIo, path,
      fmt::format("the server lost what was written {} times in a row before it was durable", kRewritesMax));
}

Task<Result<void>> sync_file(Client& client, FileHandle file, std::string path, Nanos deadline) {
  const uint64_t order = client.next_order();
  // Without an order, nothing has been written yet that the server may lose.
  std::optional<Unsynced> before;
  if (const Unsynced* known = client.unsynced().find(file); known != nullptr && known->order != 0)
    before = *known;
  CANOPY_CO_ASSIGN(const CommitAnswer committed, co_await commit(client, file, path, deadline));
  const bool kept = !before || (!before->lost && before->verifier == committed.verifier);
  if (Unsynced* now = client.unsynced().find(file); now != nullptr) {
    // What was written while the COMMIT was under way needs another.
    if (now->order < order)
      client.unsynced().synced(file);
    else if (!kept)
      now->lost = false;  // it is said now
  }
  if (kept) co_return Result<void>();
  co_return fail(Code::kIo, path,
                 "the server restarted and lost what was written since the last sync; write it again");
}

}  // namespace canopy::nfs
