// Opening an account's log: replay of what the manifest in force names, and reading single records.
#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/log/log_state.h"

namespace canopy {
namespace {

bool is_manifest(const FrameView& frame) {
  return !frame.records.empty() && frame.records[0].type == RecordType::kManifest;
}

}  // namespace

Task<Result<std::string>> read_front(File& file, uint64_t bytes) {
  std::string front(bytes, '\0');
  CANOPY_CO_ASSIGN(const size_t got, co_await file.read(0, std::span<char>(front)));
  front.resize(got);
  co_return front;
}

Error slice_vanished(Error error) {
  if (error.code() != Code::kNotFound) return error;
  return Error(Code::kTryAgain, error.object(), "the slice went while the account was being opened");
}

Task<Result<AccountLog::State::Directory>> AccountLog::State::list() {
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store(), directory, kAccountDirectoryEntriesMax));
  co_return directory_of(entries);
}

AccountLog::State::Directory AccountLog::State::directory_of(const std::vector<DirectoryEntry>& entries) {
  Directory found;
  for (const DirectoryEntry& entry : entries) {
    if (entry.type != FileType::kRegular) continue;  // check() names them
    if (auto id = parse_slice_file_name(entry.name)) found.slices.push_back(*id);
    if (auto id = parse_checkpoint_file_name(entry.name)) found.checkpoints.push_back(*id);
  }
  std::sort(found.slices.begin(), found.slices.end(), newer_slice);
  std::sort(found.checkpoints.begin(), found.checkpoints.end(), newer_slice);
  return found;
}

std::shared_ptr<LiveSlice> AccountLog::State::make_slice(const ManifestEntry& entry) {
  auto slice = std::make_shared<LiveSlice>();
  slice->id = entry.id;
  slice->kind = entry.kind;
  slice->replayed = entry.replayed;
  slice->file_name = slice_file_name(entry.id);
  slice->path = path_of(slice->file_name);
  slice->seed = SliceSeed(secret, entry.id);
  slice->end = entry.length == kOpenEnded ? kSliceHeaderBytes : entry.length;
  slice->graveyard = graveyard;
  return slice;
}

void AccountLog::State::adopt(const Chosen& chosen) {
  secret = chosen.secret;
  auto slices = std::make_shared<SliceSet>();
  for (const ManifestEntry& entry : chosen.manifest.slices) slices->slices.push_back(make_slice(entry));
  set = std::move(slices);
}

Task<Result<void>> AccountLog::State::replay_slice(LiveSlice& slice, bool last, uint64_t from,
                                                   uint64_t acknowledged) {
  SliceScan scan;
  scan.id = slice.id;
  scan.seed = slice.seed;
  scan.file_name = slice.file_name;
  scan.from = from;
  scan.acknowledged = acknowledged;
  scan.chunk_bytes = environment.options.copy_chunk_bytes;
  scan.limit = last ? kOpenEnded : slice.end;
  if (auto ended = environment.files->ended_at(store(), slice.path); last && ended) scan.limit = *ended;
  auto file = co_await environment.files->get(store(), slice.path, false);
  if (!file && file.error().code() == Code::kNotFound) {
    slice.damaged = true;
    damages.push_back({slice.file_name, 0, slice.end, "the slice is missing although the manifest names it"});
    co_return Result<void>();
  }
  if (!file) co_return fail(std::move(file).error());
  if (from == kSliceHeaderBytes) {
    CANOPY_CO_ASSIGN(std::string front, co_await read_front(**file, kSliceHeaderBytes));
    auto header = decode_slice_header(front);
    if (!header || header->id != slice.id || header->secret != secret) {
      slice.damaged = true;
      damages.push_back({slice.file_name, 0, kSliceHeaderBytes, "the slice header does not verify"});
    }
  }
  CANOPY_CO_ASSIGN(auto result, co_await scan_slice(**file, std::move(scan), [this](const FrameView& frame) {
                     return is_manifest(frame) ? Result<void>() : sink->apply(frame);
                   }));
  if (!result.damages.empty()) slice.damaged = true;
  for (Damage& damage : result.damages) damages.push_back(std::move(damage));
  slice.end = result.end;
  if (last) torn_bytes = result.torn_bytes;
  co_return Result<void>();
}

// Whole frames that may never have been acknowledged may lie in a page cache only, and so may the slice's
// name. They are made durable before anybody is shown them: what was once seen stays.
Task<Result<void>> AccountLog::State::show_safely(LiveSlice& newest) {
  if (newest.id.epoch == environment.epoch)
    co_return Result<void>();  // written by us, durably, before answering
  auto file = co_await environment.files->get(store(), newest.path, false);
  if (!file && file.error().code() == Code::kNotFound) co_return Result<void>();  // named as damage already
  if (!file) co_return fail(std::move(file).error());
  CANOPY_CO_TRY(co_await (*file)->sync());
  co_return co_await store().sync_directory(directory);
}

Task<Result<void>> AccountLog::State::check_still_here() {
  auto here = co_await store().attributes(directory);
  if (here) co_return Result<void>();
  if (here.error().code() != Code::kNotFound) co_return fail(std::move(here).error());
  co_return fail(Code::kTryAgain, directory, "the account's directory is not here any more");
}

Task<Result<void>> AccountLog::State::load(Directory found, Chosen chosen) {
  adopt(chosen);
  damages.clear();
  sink->reset();
  CANOPY_CO_ASSIGN(checkpoint_covers, co_await load_checkpoint(std::move(found)));
  size_t skip = checkpoint_covers.slices.size();  // replayed slices that the checkpoint speaks of
  const auto slices = set;
  for (size_t i = 0; i < slices->slices.size(); ++i) {
    LiveSlice& slice = *slices->slices[i];
    const bool last = i + 1 == slices->slices.size();
    if (!slice.replayed) continue;
    uint64_t from = kSliceHeaderBytes;
    uint64_t acknowledged = 0;
    if (skip > 0) {
      const size_t index = checkpoint_covers.slices.size() - skip--;
      from = acknowledged = checkpoint_covers.slices[index].length;
      if (skip > 0 || (!last && from == slice.end)) continue;
    }
    CANOPY_CO_TRY(co_await replay_slice(slice, last, from, acknowledged));
  }
  LiveSlice& newest = *slices->slices.back();
  CANOPY_CO_TRY(co_await show_safely(newest));
  answered_slice = newest.id;
  answered_end = newest.end;
  // Slices that were looked for after the directory had gone are no damage.
  if (!damages.empty()) CANOPY_CO_TRY(co_await check_still_here());
  if (!damages.empty())
    log_event(LogLevel::kError, "account-log-damaged", directory,
              {{"count", damages.size()}, {"file", damages[0].file}, {"offset", damages[0].offset}});
  co_return Result<void>();
}

Task<Result<std::unique_ptr<AccountLog>>> AccountLog::open(LogEnvironment environment, std::string directory,
                                                           LogReplay& sink) {
  auto state = std::make_shared<State>(std::move(environment), std::move(directory), sink);
  auto found = co_await state->list();
  if (!found && found.error().code() == Code::kNotFound)
    co_return fail(Code::kTryAgain, state->directory, "the account's directory is not here any more");
  if (!found) co_return fail(std::move(found).error());
  CANOPY_CO_ASSIGN(auto chosen, co_await state->choose_manifest(*found, SliceId{}));
  auto loaded = co_await state->load(std::move(*found), std::move(chosen));
  if (!loaded) co_return fail(slice_vanished(std::move(loaded).error()));
  co_return std::unique_ptr<AccountLog>(new AccountLog(std::move(state)));
}

// ------------------------------------------------------------------------------------------------- records

Task<Result<OwnedRecord>> AccountLog::State::read_record(std::shared_ptr<const SliceSet> pinned, Place place,
                                                         uint64_t hint) {
  const LiveSlice* slice = pinned ? pinned->find(place.slice) : nullptr;
  const std::string object = slice == nullptr ? directory : slice->path;
  if (slice == nullptr || place.offset >= slice->end)
    co_return fail(Code::kNotFound, object,
                   "there is no record in slice " + std::to_string(place.slice) + " at offset " +
                       std::to_string(place.offset));
  auto opened = co_await environment.files->get(store(), slice->path, false);
  const auto damaged = [&](std::string_view what) {
    return fail(Code::kDamaged, object, std::string(what) + " at offset " + std::to_string(place.offset));
  };
  if (!opened && opened.error().code() == Code::kNotFound) {
    auto here = co_await check_still_here();
    if (!here && here.error().code() == Code::kTryAgain) is_elsewhere = true;
    CANOPY_CO_TRY(here);
    co_return damaged("the slice is missing: record");
  }
  CANOPY_CO_TRY(opened);
  const std::shared_ptr<File>& file = *opened;
  const uint64_t longest = (kRecordHeaderBytes + kRecordBodyBytesMax + 7) & ~uint64_t{7};
  uint64_t capacity = hint >= kRecordHeaderBytes && hint <= longest ? hint : 4096;
  auto bytes = std::make_unique_for_overwrite<char[]>(capacity);
  CANOPY_CO_ASSIGN(size_t have, co_await file->read(place.offset, std::span<char>(bytes.get(), capacity)));
  auto length = record_length(std::string_view(bytes.get(), have));
  if (!length || *length > slice->end - place.offset) co_return damaged("there is no sound record");
  if (*length > have) {
    auto larger = std::make_unique_for_overwrite<char[]>(*length);
    std::memcpy(larger.get(), bytes.get(), have);
    bytes = std::move(larger);
    CANOPY_CO_ASSIGN(
        const size_t more,
        co_await file->read(place.offset + have, std::span<char>(bytes.get() + have, *length - have)));
    have += more;
  }
  auto view = decode_record(std::string_view(bytes.get(), have), slice->seed, place.offset);
  if (!view) co_return damaged("the checksum of the record does not match");
  co_return OwnedRecord{std::move(bytes), *view};
}

}  // namespace canopy
