// Which manifest is in force: docs/formats/account-log.md, the section of that name.
#include <algorithm>

#include "daemon/base/bytes.h"
#include "daemon/base/log.h"
#include "daemon/log/log_state.h"

namespace canopy {
namespace {

constexpr uint64_t kManifestFirstRead = 4096;
constexpr size_t kSecretAt = 24;  // in the slice header

// The manifest in the front of slice `id`, when it verifies with this secret. `bytes` is how much of the file
// that takes, also when there is less.
std::optional<Manifest> manifest_in(std::string_view front, SliceId id, std::string_view secret,
                                    uint64_t& bytes) {
  if (front.size() < kSliceHeaderBytes) return std::nullopt;
  const SliceSeed seed(secret, id);
  const auto head = decode_frame_header(front.substr(kSliceHeaderBytes), seed, kSliceHeaderBytes);
  if (!head) return std::nullopt;
  bytes = kSliceHeaderBytes + head->length;
  if (front.size() < bytes) return std::nullopt;
  std::vector<RecordView> records;
  if (!decode_frame_records(front.substr(kSliceHeaderBytes, head->length), *head, seed, kSliceHeaderBytes,
                            records) ||
      records.size() != 1)
    return std::nullopt;
  auto manifest = decode_manifest(records[0]);
  if (!manifest || manifest->slices.back().id != id) return std::nullopt;
  return std::move(*manifest);
}

// Without the account's secret nothing in a slice can be verified. But the frames of its first write never
// say that something was acknowledged: where a frame seems to begin that says so, it was no first write, even
// when everything before it is destroyed.
Task<Result<bool>> claims_acknowledged_bytes(File& file, uint64_t chunk_bytes) {
  FileWindow window(file, chunk_bytes);
  const uint64_t step = std::max<uint64_t>(chunk_bytes & ~uint64_t{7}, 4096);
  for (uint64_t from = kSliceHeaderBytes;; from += step) {
    CANOPY_CO_ASSIGN(const std::string_view bytes, co_await window.at(from, step + kFrameHeaderBytes));
    for (uint64_t i = 0; i < step && i + kFrameHeaderBytes <= bytes.size(); i += 8) {
      const char* at = bytes.data() + i;
      if (get_le<uint32_t>(at) != kFrameMagic) continue;
      const auto length = get_le<uint64_t>(at + 8);
      const auto acknowledged = get_le<uint64_t>(at + 32);
      const bool is_length = length >= kFrameHeaderBytes && length % 8 == 0 && length <= kFrameBytesMax;
      if (is_length && acknowledged > kSliceHeaderBytes && acknowledged <= from + i) co_return true;
    }
    if (bytes.size() < step + kFrameHeaderBytes) co_return false;
  }
}

}  // namespace

// `known_secret`: of the account, or empty. A header that does not verify may still hold the right secret:
// the manifest's own checksums tell.
Task<Result<std::optional<AccountLog::State::Chosen>>> AccountLog::State::read_manifest(
    SliceId id, std::string known_secret) {
  const std::string path = slice_path(id);
  if (environment.files->ended_at(store(), path) == 0) co_return std::nullopt;  // our own failed first write
  auto opened = co_await environment.files->get(store(), path, false);
  if (!opened) co_return fail(slice_vanished(std::move(opened).error()));
  const std::shared_ptr<File> file = *opened;
  auto first = co_await read_front(*file, kManifestFirstRead);
  if (!first) co_return fail(slice_vanished(std::move(first).error()));
  std::string front = std::move(*first);
  if (front.size() < kSliceHeaderBytes) co_return std::nullopt;

  std::vector<std::string> secrets;
  if (auto header = decode_slice_header(front)) {
    if (header->id != id || header->kind != SliceKind::kAppend) co_return std::nullopt;
    secrets = {header->secret};
  } else {
    secrets = {front.substr(kSecretAt, kSecretBytes)};
    if (!known_secret.empty()) secrets.push_back(std::move(known_secret));
  }
  for (const std::string& candidate : secrets) {
    uint64_t bytes = 0;
    auto manifest = manifest_in(front, id, candidate, bytes);
    if (!manifest && bytes > front.size()) {
      CANOPY_CO_ASSIGN(front, co_await read_front(*file, bytes));
      manifest = manifest_in(front, id, candidate, bytes);
    }
    if (manifest) co_return Chosen{id, std::move(*manifest), candidate};
  }
  co_return std::nullopt;
}

// Of a slice whose manifest does not verify: does it hold proof that something in it was acknowledged?
Task<Result<bool>> AccountLog::State::holds_acknowledged_bytes(SliceId id, std::string known_secret) {
  const std::string path = slice_path(id);
  if (environment.files->ended_at(store(), path) == 0) co_return false;
  auto opened = co_await environment.files->get(store(), path, false);
  if (!opened) co_return fail(slice_vanished(std::move(opened).error()));
  const std::shared_ptr<File> file = *opened;
  CANOPY_CO_ASSIGN(std::string front, co_await read_front(*file, kSliceHeaderBytes));
  if (front.size() < kSliceHeaderBytes) co_return false;
  auto header = decode_slice_header(front);
  if (header && header->kind == SliceKind::kData) co_return false;  // counts only when a manifest names it
  const bool known = header || !known_secret.empty();
  std::vector<std::string> secrets{front.substr(kSecretAt, kSecretBytes)};
  if (!header && !known_secret.empty()) secrets.push_back(std::move(known_secret));
  for (const std::string& candidate : secrets) {
    SliceScan scan;
    scan.id = id;
    scan.seed = SliceSeed(candidate, id);
    scan.chunk_bytes = environment.options.copy_chunk_bytes;
    CANOPY_CO_ASSIGN(auto result, co_await scan_slice(*file, std::move(scan),
                                                      [](const FrameView&) { return Result<void>(); }));
    if (result.acknowledged > kSliceHeaderBytes) co_return true;
  }
  if (known) co_return false;
  co_return co_await claims_acknowledged_bytes(*file, environment.options.copy_chunk_bytes);
}

// Where the frames of a slice end that was open when the manifest naming it was written.
Task<Result<uint64_t>> AccountLog::State::end_of(SliceId id, std::string known_secret) {
  auto opened = co_await environment.files->get(store(), slice_path(id), false);
  if (!opened) co_return fail(slice_vanished(std::move(opened).error()));
  const std::shared_ptr<File> file = *opened;
  SliceScan scan;
  scan.id = id;
  scan.seed = SliceSeed(known_secret, id);
  scan.chunk_bytes = environment.options.copy_chunk_bytes;
  CANOPY_CO_ASSIGN(auto result, co_await scan_slice(*file, std::move(scan),
                                                    [](const FrameView&) { return Result<void>(); }));
  co_return result.end;
}

// A slice that follows another without a compaction between names what that one's manifest names, that one
// closed at its end, and itself. It is so when all of these are there and nothing else is: a compaction would
// have left slices that no other manifest names, or have removed some that it does. Frames of the older slice
// that count although they were given up are harmless: they were sent again to the newer one, with the same
// UIDs, and the later record counts.
Task<Result<AccountLog::State::Chosen>> AccountLog::State::reconstruct_manifest(Directory found,
                                                                                SliceId damaged,
                                                                                std::optional<Chosen> older) {
  const auto uncertain = [&](SliceId id, std::string_view what) {
    return fail(
        Code::kDamaged, slice_path(damaged),
        fmt::format("the manifest at offset 64 does not verify, and it cannot be made up: slice {} {}",
                    slice_file_name(id), what));
  };
  Chosen made;
  made.id = damaged;
  if (older) {
    made.secret = older->secret;
    made.manifest = std::move(older->manifest);
  } else {
    auto file = co_await environment.files->get(store(), slice_path(damaged), false);
    if (!file) co_return fail(slice_vanished(std::move(file).error()));
    CANOPY_CO_ASSIGN(std::string front, co_await read_front(**file, kSliceHeaderBytes));
    auto header = decode_slice_header(front);
    if (!header) co_return uncertain(damaged, "has a damaged header too, and is the only one");
    made.secret = header->secret;
  }
  for (ManifestEntry& entry : made.manifest.slices) {
    if (std::ranges::find(found.slices, entry.id) == found.slices.end())
      co_return uncertain(entry.id, "is not there: a compaction may have dropped it");
    if (entry.length != kOpenEnded) continue;
    CANOPY_CO_ASSIGN(entry.length, co_await end_of(entry.id, made.secret));
  }
  for (SliceId id : found.slices) {
    const auto is_it = [id](const ManifestEntry& entry) { return entry.id == id; };
    if (id == damaged || std::ranges::any_of(made.manifest.slices, is_it)) continue;
    CANOPY_CO_ASSIGN(const bool acknowledged, co_await holds_acknowledged_bytes(id, made.secret));
    if (newer_slice(id, damaged) && !acknowledged) continue;  // a first write that tore
    co_return uncertain(id, "lies beside it, and no manifest says whether it counts");
  }
  made.manifest.slices.push_back({damaged, SliceKind::kAppend, true, kOpenEnded});
  log_event(LogLevel::kWarning, "manifest-made-up", slice_path(damaged),
            {{"slices", made.manifest.slices.size()}});
  co_return made;
}

Task<Result<AccountLog::State::Chosen>> AccountLog::State::choose_manifest(Directory found, SliceId except) {
  std::optional<Chosen> chosen;
  std::vector<SliceId> without;  // newer than the one chosen
  std::erase(found.slices, except);
  for (SliceId id : found.slices) {
    CANOPY_CO_ASSIGN(chosen, co_await read_manifest(id, std::string()));
    if (chosen) break;
    without.push_back(id);
  }
  const std::string known_secret = chosen ? chosen->secret : std::string();
  for (size_t i = 0; chosen && i < without.size(); ++i) {  // once more, now that the secret is known
    CANOPY_CO_ASSIGN(auto read, co_await read_manifest(without[i], known_secret));
    if (!read) continue;
    chosen = std::move(read);
    without.resize(i);
  }
  // A newer slice without a sound manifest is a first write that tore, unless it can prove otherwise: then
  // choosing an older manifest would lose what was acknowledged.
  for (SliceId id : without) {
    CANOPY_CO_ASSIGN(const bool acknowledged, co_await holds_acknowledged_bytes(id, known_secret));
    if (acknowledged && environment.options.reconstruct_manifest)
      co_return co_await reconstruct_manifest(std::move(found), id, std::move(chosen));
    if (acknowledged)
      co_return fail(Code::kDamaged, slice_path(id),
                     "the manifest at offset 64 does not verify, but acknowledged frames follow it");
  }
  if (chosen) co_return std::move(*chosen);
  if (!found.checkpoints.empty())  // written only of what was acknowledged
    co_return fail(Code::kDamaged, path_of(checkpoint_file_name(found.checkpoints[0])),
                   "there is a checkpoint, but no slice with a sound manifest");
  co_return fail(Code::kNotFound, directory, "the directory holds no account log");
}

}  // namespace canopy
