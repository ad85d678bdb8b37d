// Checkpoints: `NUMBER-EPOCH.checkpoint`, docs/formats/account-log.md "Checkpoints". Derived; may vanish at
// any time.
#include <algorithm>

#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/log/log_state.h"

namespace canopy {
namespace {

constexpr std::string_view kCheckpointMagic = "CNPYCHK1";
constexpr size_t kCheckpointHeaderBytes = 24;
constexpr size_t kCheckpointEntryBytes = 24;

std::string encode_head(const CoveredPoint& covered, uint64_t payload_bytes) {
  std::string head(kCheckpointMagic);
  put_le<uint32_t>(head, static_cast<uint32_t>(covered.slices.size()));
  put_le<uint32_t>(head, 0);
  put_le<uint64_t>(head, payload_bytes);
  for (const ManifestEntry& entry : covered.slices) {
    put_le<uint32_t>(head, entry.id.number);
    put_le<uint8_t>(head, static_cast<uint8_t>(entry.kind));
    head.append(3, '\0');
    put_le<uint64_t>(head, entry.id.epoch);
    put_le<uint64_t>(head, entry.length);
  }
  return head;
}

struct Checkpoint {
  CoveredPoint covered;
  std::string_view payload;
};

std::optional<Checkpoint> decode(std::string_view file, const SliceSeed& seed) {
  if (file.size() < kCheckpointHeaderBytes + 4 || file.substr(0, 8) != kCheckpointMagic) return std::nullopt;
  const auto body = file.substr(0, file.size() - 4);
  if (crc32c(seed.at(0), body) != get_le<uint32_t>(file.data() + body.size())) return std::nullopt;
  const uint64_t count = get_le<uint32_t>(file.data() + 8);
  const auto payload_bytes = get_le<uint64_t>(file.data() + 16);
  const uint64_t head = kCheckpointHeaderBytes + count * kCheckpointEntryBytes;
  if (head > body.size() || body.size() - head != payload_bytes) return std::nullopt;
  Checkpoint checkpoint;
  for (uint64_t i = 0; i < count; ++i) {
    const char* at = file.data() + kCheckpointHeaderBytes + i * kCheckpointEntryBytes;
    ManifestEntry entry;
    entry.id = {get_le<uint32_t>(at), get_le<uint64_t>(at + 8)};
    entry.kind = static_cast<SliceKind>(at[4]);
    entry.length = get_le<uint64_t>(at + 16);
    checkpoint.covered.slices.push_back(entry);
  }
  checkpoint.payload = body.substr(head);
  return checkpoint;
}

}  // namespace

// What a checkpoint speaks of must be the beginning of what the manifest in force replays: whole slices, and
// of the last one a part.
bool AccountLog::State::counts(const CoveredPoint& speaks_of) const {
  size_t matched = 0;
  for (size_t i = 0; i < set->slices.size() && matched < speaks_of.slices.size(); ++i) {
    const LiveSlice& slice = *set->slices[i];
    if (!slice.replayed) continue;
    const ManifestEntry& entry = speaks_of.slices[matched++];
    if (entry.id != slice.id || entry.kind != slice.kind) return false;
    const bool open_ended = i + 1 == set->slices.size();
    if (matched < speaks_of.slices.size() ? open_ended || entry.length != slice.end
                                          : !open_ended && entry.length > slice.end)
      return false;
  }
  return matched == speaks_of.slices.size() && matched > 0;
}

CoveredPoint AccountLog::State::covered() const {
  CoveredPoint point;
  for (const auto& slice : set->slices) {
    if (!slice->replayed) continue;
    const bool last = slice->id == answered_slice;
    point.slices.push_back({slice->id, slice->kind, true, last ? answered_end : slice->end});
    if (last) break;
  }
  return point;
}

Task<Result<CoveredPoint>> AccountLog::State::load_checkpoint(Directory found) {
  checkpoint = {};
  for (SliceId id : found.checkpoints) {
    auto file =
        co_await read_file(store(), path_of(checkpoint_file_name(id)), kCheckpointBytesMax + (1u << 20));
    if (!file) {
      if (file.error().code() == Code::kNotFound || file.error().code() == Code::kTooLarge) continue;
      co_return fail(std::move(file).error());
    }
    auto decoded = decode(*file, SliceSeed(secret, id));
    if (!decoded || decoded->covered.slices.empty()) continue;
    const ManifestEntry& last = decoded->covered.slices.back();
    LiveSlice& newest = *set->slices.back();
    if (newer_slice(last.id, newest.id)) CANOPY_CO_TRY(co_await expect_slice_of_checkpoint(found, last.id));
    if (!counts(decoded->covered)) continue;
    uint64_t missing = 0;  // of the slice that still grows
    if (last.id == newest.id) {
      auto ended = environment.files->ended_at(store(), newest.path);
      if (ended && last.length > *ended) continue;
      CANOPY_CO_ASSIGN(const Attributes attributes, co_await store().attributes(newest.path));
      missing = last.length - std::min(last.length, attributes.size);
    }
    if (!sink->load_checkpoint(decoded->payload)) {
      sink->reset();
      continue;
    }
    if (last.id == newest.id) newest.end = last.length;
    if (missing > 0) {  // what a checkpoint covers was acknowledged
      newest.damaged = true;
      damages.push_back({newest.file_name, last.length - missing, missing, "acknowledged bytes are missing"});
    }
    checkpoint = id;
    co_return decoded->covered;
  }
  co_return CoveredPoint{};
}

// A checkpoint covers what was acknowledged. One of a slice behind the manifest in force says that a manifest
// was in force there, which is gone: the one before it must not be taken for the newest. Unless that slice
// was begun between two pages of the listing.
Task<Result<void>> AccountLog::State::expect_slice_of_checkpoint(const Directory& found, SliceId slice) {
  if (std::ranges::find(found.slices, slice) == found.slices.end()) {
    CANOPY_CO_ASSIGN(const Directory now, co_await list());
    if (std::ranges::find(now.slices, slice) != now.slices.end())
      co_return fail(Code::kTryAgain, directory, "a slice was begun while the account was being opened");
  }
  co_return fail(Code::kDamaged, slice_path(slice),
                 "the slice or its manifest is missing, but a checkpoint covers acknowledged frames in it");
}

Task<Result<void>> AccountLog::State::write_checkpoint(CoveredPoint covered, std::string payload) {
  if (payload.size() > kCheckpointBytesMax)
    co_return fail(Code::kTooLarge, directory, "the checkpoint is over its limit");
  auto guard = co_await checkpoint_gate.lock();
  if (covered.slices.empty() || !counts(covered))
    co_return fail(Code::kConflict, directory, "the slices changed since the checkpoint was taken");
  CANOPY_CO_ASSIGN(const Directory before, co_await list());
  uint32_t number = 0;
  for (SliceId id : before.checkpoints) number = std::max(number, id.number);
  const SliceId id{number + 1, environment.epoch};
  const std::string head = encode_head(covered, payload.size());
  const SliceSeed seed(secret, id);
  std::string tail;
  put_le<uint32_t>(tail, crc32c(crc32c(seed.at(0), head), payload));

  const std::string path = path_of(checkpoint_file_name(id));
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(auto file, co_await store().open(path, options));
  const std::string_view pieces[] = {head, payload, tail};
  auto written = co_await file->write(0, pieces, Durable::kNo);
  file.reset();
  if (!written) {
    (void)co_await store().remove(path, Durable::kNo);
    co_return fail(std::move(written).error());
  }
  checkpoint = id;
  checkpoint_covers = std::move(covered);
  for (SliceId old : before.checkpoints) {
    if (old.epoch > environment.epoch) continue;  // a later owner's: not ours to remove
    auto removed = co_await store().remove(path_of(checkpoint_file_name(old)), Durable::kNo);
    if (!removed && removed.error().code() != Code::kNotFound) co_return fail(std::move(removed).error());
  }
  co_return Result<void>();
}

}  // namespace canopy
