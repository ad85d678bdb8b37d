#include "daemon/runtime/sync.h"
#include "daemon/store/nfs/nfs_file.h"

namespace canopy::nfs {
namespace {

// One part of a read, at most what one READ answers; further READs when it answers less before the end.
Task<Result<size_t>> read_part(Client& client, FileHandle file, std::string path, uint64_t offset,
                               std::span<char> into, Nanos deadline) {
  size_t total = 0;
  while (total < into.size()) {
    auto got = co_await client.server().insist<ReadAnswer>(deadline, [&](RpcConnection& on) {
      return client.protocol().read(on, file, offset + total, into.subspan(total));
    });
    if (got && got->attributes && got->attributes->links == 0) got = fault(kStale);
    if (!got) co_return client.fail(got.error(), path, "READ");
    total += got->count;
    if (got->end || got->count == 0) break;
  }
  co_return total;
}

}  // namespace

Task<Result<size_t>> read_range(Client& client, FileHandle file, std::string path, uint64_t offset,
                                std::span<char> into, Nanos deadline) {
  const size_t part_bytes = client.limits().read_bytes;
  if (into.size() <= part_bytes) co_return co_await read_part(client, file, path, offset, into, deadline);
  const size_t at_once = pieces_in_flight(part_bytes);
  size_t total = 0;
  while (total < into.size()) {
    std::vector<Task<Result<size_t>>> parts;
    std::vector<size_t> sizes;
    for (size_t at = total; at < into.size() && parts.size() < at_once; at += part_bytes) {
      std::span<char> part = into.subspan(at, std::min(part_bytes, into.size() - at));
      sizes.push_back(part.size());
      parts.push_back(read_part(client, file, path, offset + at, part, deadline));
    }
    const auto answers = co_await join_all(client.loop(), std::move(parts));
    for (size_t i = 0; i < answers.size(); ++i) {
      if (!answers[i]) co_return fail(answers[i].error());
      total += *answers[i];
      if (*answers[i] < sizes[i]) co_return total;
    }
  }
  co_return total;
}

}  // namespace canopy::nfs
