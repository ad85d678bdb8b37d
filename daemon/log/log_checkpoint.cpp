// Checkpoints: `NUMBER-EPOCH.checkpoint`, docs/formats/checkpoint.md. Derived; may vanish at any time.
#include <algorithm>

#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/base/large_array.h"
#include "daemon/log/log_state.h"
#include "daemon/log/slice_scan.h"

namespace canopy {
namespace {

constexpr std::string_view kCheckpointMagic = "CNPYCHK2";
constexpr size_t kCheckpointHeaderBytes = 32;
constexpr size_t kCheckpointEntryBytes = 24;
constexpr size_t kChecksumBytes = 4;
constexpr uint64_t kWindowBytes = 64u << 10;
constexpr uint64_t kReadBytes = 256u << 10;  // at a time: what the processor's own cache holds

// Everything before the body: header, entries, the payload's head, their checksum.
std::string encode_front(const CoveredPoint& covered, const CheckpointPayload& payload,
                         const SliceSeed& seed) {
  std::string front(kCheckpointMagic);
  put_le<uint32_t>(front, static_cast<uint32_t>(covered.slices.size()));
  put_le<uint32_t>(front, 0);
  put_le<uint64_t>(front, payload.head.size());
  put_le<uint64_t>(front, payload.body.size());
  for (const ManifestEntry& entry : covered.slices) {
    put_le<uint32_t>(front, entry.id.number);
    put_le<uint8_t>(front, static_cast<uint8_t>(entry.kind));
    front.append(3, '\0');
    put_le<uint64_t>(front, entry.id.epoch);
    put_le<uint64_t>(front, entry.length);
  }
  front += payload.head;
  put_le<uint32_t>(front, crc32c(seed.at(0), front));
  return front;
}

struct CheckpointFront {
  CoveredPoint covered;
  std::string payload_head;
  uint64_t body_at = 0, body_bytes = 0;
};

// Nullopt: the file is no checkpoint, or not the one that its name and the account's secret say.
Task<Result<std::optional<CheckpointFront>>> read_checkpoint_front(FileWindow& window,
                                                                   const SliceSeed& seed) {
  CANOPY_CO_ASSIGN(std::string_view bytes, co_await window.at(0, kCheckpointHeaderBytes));
  if (bytes.size() < kCheckpointHeaderBytes || bytes.substr(0, 8) != kCheckpointMagic) co_return std::nullopt;
  const uint64_t count = get_le<uint32_t>(bytes.data() + 8);
  const auto head_bytes = get_le<uint64_t>(bytes.data() + 16);
  CheckpointFront front;
  front.body_bytes = get_le<uint64_t>(bytes.data() + 24);
  if (count == 0 || count > kManifestSlicesMax || head_bytes > kCheckpointBytesMax ||
      front.body_bytes > kCheckpointBytesMax)
    co_return std::nullopt;
  const uint64_t head_at = kCheckpointHeaderBytes + count * kCheckpointEntryBytes;
  const uint64_t end = head_at + head_bytes;
  front.body_at = end + kChecksumBytes;
  CANOPY_CO_ASSIGN(bytes, co_await window.at(0, front.body_at));
  if (bytes.size() < front.body_at ||
      crc32c(seed.at(0), bytes.substr(0, end)) != get_le<uint32_t>(bytes.data() + end))
    co_return std::nullopt;
  for (uint64_t i = 0; i < count; ++i) {
    const char* at = bytes.data() + kCheckpointHeaderBytes + i * kCheckpointEntryBytes;
    ManifestEntry entry;
    entry.id = {get_le<uint32_t>(at), get_le<uint64_t>(at + 8)};
    entry.kind = static_cast<SliceKind>(at[4]);
    entry.length = get_le<uint64_t>(at + 16);
    // A manifest will name these lengths: what none can name is none.
    if (entry.length < kSliceHeaderBytes || entry.length % 8 != 0 || entry.length == kOpenEnded)
      co_return std::nullopt;
    front.covered.slices.push_back(entry);
  }
  front.payload_head = bytes.substr(head_at, head_bytes);
  co_return front;
}

// Reads the body to where the sink wants it: large parts straight from the file, small ones through the
// window. False: the file is shorter or longer than its parts, or the body's checksum is another.
Task<Result<bool>> read_body(File& file, FileWindow& window, const CheckpointFront& front,
                             const std::vector<std::span<char>>& places, const SliceSeed& seed) {
  uint64_t at = front.body_at;
  uint32_t checksum = seed.at(at);
  for (std::span<char> place : places) {
    expect_overwrite(place);
    while (!place.empty()) {
      const std::span<char> part = place.first(std::min<size_t>(place.size(), kReadBytes));
      size_t got = 0;
      if (part.size() == kReadBytes) {
        CANOPY_CO_ASSIGN(got, co_await file.read(at, part));
      } else {
        CANOPY_CO_ASSIGN(const std::string_view bytes, co_await window.at(at, part.size()));
        std::ranges::copy(bytes, part.begin());
        got = bytes.size();
      }
      if (got < part.size()) co_return false;
      checksum = crc32c(checksum, std::string_view(part.data(), part.size()));
      at += part.size();
      place = place.subspan(part.size());
    }
  }
  if (at != front.body_at + front.body_bytes) co_return false;
  CANOPY_CO_ASSIGN(const std::string_view tail, co_await window.at(at, kChecksumBytes + 1));
  co_return tail.size() == kChecksumBytes&& get_le<uint32_t>(tail.data()) == checksum;
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

namespace {

// False: it is of no use, and the sink holds a part of it.
Task<Result<bool>> load_payload(LogReplay& sink, File& file, FileWindow& window, const CheckpointFront& front,
                                const SliceSeed& seed) {
  const auto places = sink.begin_checkpoint(front.payload_head, front.body_bytes);
  if (!places) co_return false;
  CANOPY_CO_ASSIGN(const bool whole, co_await read_body(file, window, front, *places, seed));
  co_return whole&& sink.finish_checkpoint().has_value();
}

}  // namespace

Task<Result<CoveredPoint>> AccountLog::State::load_checkpoint(Directory found) {
  checkpoint = {};
  for (SliceId id : found.checkpoints) {
    auto file = co_await store().open(path_of(checkpoint_file_name(id)), OpenOptions());
    if (!file && file.error().code() == Code::kNotFound) continue;
    if (!file) co_return fail(std::move(file).error());
    const SliceSeed seed(secret, id);
    FileWindow window(**file, kWindowBytes);
    CANOPY_CO_ASSIGN(auto front, co_await read_checkpoint_front(window, seed));
    if (!front) continue;
    const ManifestEntry& last = front->covered.slices.back();
    LiveSlice& newest = *set->slices.back();
    if (newer_slice(last.id, newest.id)) CANOPY_CO_TRY(co_await expect_slice_of_checkpoint(found, last.id));
    if (!counts(front->covered)) continue;
    uint64_t missing = 0;  // of the slice that still grows
    if (last.id == newest.id) {
      auto ended = environment.files->ended_at(store(), newest.path);
      if (ended && last.length > *ended) continue;
      CANOPY_CO_ASSIGN(const Attributes attributes, co_await store().attributes(newest.path));
      missing = last.length - std::min(last.length, attributes.size);
    }
    CANOPY_CO_ASSIGN(const bool usable, co_await load_payload(*sink, **file, window, *front, seed));
    if (!usable) {
      sink->reset();
      continue;
    }
    if (last.id == newest.id) newest.end = last.length;
    if (missing > 0) {  // what a checkpoint covers was acknowledged
      newest.damaged = true;
      damages.push_back({newest.file_name, last.length - missing, missing, "acknowledged bytes are missing"});
    }
    checkpoint = id;
    co_return std::move(front->covered);
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

Task<Result<void>> AccountLog::State::write_checkpoint(CoveredPoint covered, CheckpointPayload payload) {
  if (payload.head.size() > kCheckpointBytesMax || payload.body.size() > kCheckpointBytesMax)
    co_return fail(Code::kTooLarge, directory, "the checkpoint is over its limit");
  auto guard = co_await checkpoint_gate.lock();
  if (covered.slices.empty() || !counts(covered))
    co_return fail(Code::kConflict, directory, "the slices changed since the checkpoint was taken");
  CANOPY_CO_ASSIGN(const Directory before, co_await list());
  uint32_t number = 0;
  for (SliceId id : before.checkpoints) number = std::max(number, id.number);
  const SliceId id{number + 1, environment.epoch};
  const SliceSeed seed(secret, id);
  const std::string front = encode_front(covered, payload, seed);
  std::string tail;
  put_le<uint32_t>(tail, crc32c(seed.at(front.size()), payload.body));

  const std::string path = path_of(checkpoint_file_name(id));
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(auto file, co_await store().open(path, options));
  const std::string_view pieces[] = {front, payload.body, tail};
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
