#include <algorithm>
#include <map>
#include <set>

#include "daemon/log/log_state.h"

namespace canopy {
namespace {

// Does the body have the form of its type? The checksum was right, so a bad form is a writer's defect.
bool has_its_form(const RecordView& record) {
  switch (record.type) {
    case RecordType::kManifest: return decode_manifest(record).has_value();
    case RecordType::kMailboxCreate: return decode_mailbox_create(record).has_value();
    case RecordType::kMailboxRename: return decode_mailbox_rename(record).has_value();
    case RecordType::kMailboxDelete: return decode_mailbox_delete(record).has_value();
    case RecordType::kSubscribe: return decode_subscribe(record).has_value();
    case RecordType::kMailboxRights: return decode_mailbox_rights(record).has_value();
    case RecordType::kMessage: return decode_message(record).has_value();
    case RecordType::kContent: return decode_content(record).has_value();
    case RecordType::kKeywordDefine: return decode_keyword_define(record).has_value();
    case RecordType::kFlagsChange: return decode_flags_change(record).has_value();
    case RecordType::kExpunge: return decode_expunge(record).has_value();
    case RecordType::kUidNext: return decode_uid_next(record).has_value();
    case RecordType::kModseqFloor: return decode_modseq_floor(record).has_value();
    case RecordType::kRequestRemembered: return decode_request_remembered(record).has_value();
    case RecordType::kCounter: return decode_counter(record).has_value();
  }
  return true;  // a type of a later version, which readers skip (docs/formats/account-log.md)
}

}  // namespace

Task<Result<void>> AccountLog::State::check_slice(LiveSlice& slice, CheckReport& report) {
  auto opened = co_await environment.files->get(store(), slice.path, false);
  if (!opened && opened.error().code() == Code::kNotFound) {
    slice.damaged = true;
    report.damages.push_back(
        {slice.file_name, 0, slice.end, "the slice is missing although the manifest names it"});
    co_return Result<void>();
  }
  CANOPY_CO_TRY(opened);
  const std::shared_ptr<File>& file = *opened;
  std::string front(kSliceHeaderBytes, '\0');
  CANOPY_CO_ASSIGN(const size_t got, co_await file->read(0, std::span<char>(front)));
  auto header = decode_slice_header(std::string_view(front).substr(0, got));
  const auto damages_before = report.damages.size();
  if (!header || header->id != slice.id || header->secret != secret || header->kind != slice.kind)
    report.damages.push_back({slice.file_name, 0, kSliceHeaderBytes, "the slice header does not verify"});
  SliceScan scan;
  scan.id = slice.id;
  scan.seed = slice.seed;
  scan.file_name = slice.file_name;
  scan.limit = slice.end;
  scan.chunk_bytes = environment.options.copy_chunk_bytes;
  auto scanned = co_await scan_slice(*file, std::move(scan), [&](const FrameView& frame) {
    ++report.frames;
    report.bytes_verified += frame.length;
    for (const RecordView& record : frame.records)
      if (!has_its_form(record))
        report.damages.push_back({slice.file_name, record.offset, record.length,
                                  "the record verifies but does not have its form"});
    return Result<void>();
  });
  CANOPY_CO_TRY(scanned);
  for (Damage& damage : scanned->damages) report.damages.push_back(std::move(damage));
  CANOPY_CO_ASSIGN(const Attributes attributes, co_await file->attributes());
  report.torn_bytes += attributes.size > slice.end ? attributes.size - slice.end : 0;
  if (report.damages.size() != damages_before) slice.damaged = true;
  co_return Result<void>();
}

// Whether the files that are open are still those that the directory names: what is written to others is lost
// with the process.
Task<Result<void>> AccountLog::State::check_names(const SliceSet& open,
                                                  const std::vector<DirectoryEntry>& entries,
                                                  CheckReport& report) {
  std::map<std::string_view, const DirectoryEntry*> by_name;
  for (const DirectoryEntry& entry : entries) {
    by_name[entry.name] = &entry;
    if (entry.type != FileType::kRegular && parse_slice_file_name(entry.name))
      report.damages.push_back({entry.name, 0, 0, "it has the name of a slice and is no file"});
  }
  for (const auto& slice : open.slices) {
    // The newest may be still to be written, and older ones may have been compacted away meanwhile.
    if (slice == set->slices.back() && !preamble.empty()) continue;
    if (std::ranges::find(set->slices, slice) == set->slices.end() || slice->damaged) continue;
    auto file = co_await environment.files->get(store(), slice->path, false);
    if (!file) continue;  // check_slice() has said it
    CANOPY_CO_ASSIGN(const Attributes attributes, co_await (*file)->attributes());
    auto named = by_name.find(slice->file_name);
    if (named == by_name.end())
      report.damages.push_back({slice->file_name, 0, slice->end, "the file is in use and has been removed"});
    else if (named->second->file_id != attributes.file_id)
      report.damages.push_back(
          {slice->file_name, 0, slice->end, "the file is in use and another one has been put in its place"});
  }
  co_return Result<void>();
}

Task<Result<CheckReport>> AccountLog::State::check() {
  CheckReport report;
  const std::shared_ptr<const SliceSet> pinned = set;
  for (const auto& slice : pinned->slices) {
    if (slice == set->slices.back() && !preamble.empty()) continue;  // taken over, not yet written
    CANOPY_CO_TRY(co_await check_slice(*slice, report));
  }
  CANOPY_CO_ASSIGN(const auto entries, co_await list_all(store(), directory, kAccountDirectoryEntriesMax));
  report.orphans = orphans_in(directory_of(entries));
  CANOPY_CO_TRY(co_await check_names(*pinned, entries, report));
  co_return report;
}

// Of a directory as it was listed just now.
std::vector<std::string> AccountLog::State::orphans_in(const Directory& found) const {
  std::set<SliceId> named;
  for (const auto& slice : set->slices) named.insert(slice->id);
  for (const auto& slice : dropped)
    if (auto pinned = slice.lock()) named.insert(pinned->id);
  std::vector<std::string> orphans;
  for (SliceId id : found.slices)
    if (!named.contains(id) && id.epoch <= environment.epoch) orphans.push_back(slice_file_name(id));
  for (SliceId id : found.checkpoints)
    if (id != checkpoint && id.epoch <= environment.epoch) orphans.push_back(checkpoint_file_name(id));
  return orphans;
}

Task<Result<uint32_t>> AccountLog::State::remove_orphans() {
  if (!owner)
    co_return fail(Code::kInvalidArgument, directory, "only who took the account over removes files");
  co_await graveyard->wait();  // what is on its way to `damaged/` is no orphan
  auto guard = co_await lane.lock();
  if (compacting) co_return fail(Code::kBusy, directory, "the account is being compacted");
  if (is_broken || is_fenced)
    co_return fail(Code::kTryAgain, directory, "the account log must be opened anew");
  if (!preamble.empty()) {  // what we name must be durable before what we do not name goes
    const uint64_t end = set->slices.back()->end;
    auto written = co_await write_durably({}, end, end);
    if (!written) {
      break_log();
      co_return fail(std::move(written).error());
    }
  }
  CANOPY_CO_ASSIGN(const Directory found, co_await list());
  const std::vector<std::string> orphans = orphans_in(found);
  uint32_t removed = 0;
  for (const std::string& name : orphans) {
    environment.files->forget(store(), path_of(name));
    auto done = co_await store().remove(path_of(name), Durable::kNo);
    if (!done && done.error().code() != Code::kNotFound) co_return fail(std::move(done).error());
    ++removed;
  }
  co_return removed;
}

}  // namespace canopy
