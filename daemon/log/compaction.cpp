#include "daemon/log/compaction.h"

#include <algorithm>
#include <map>
#include <set>

#include "daemon/base/log.h"
#include "daemon/log/log_state.h"

namespace canopy {

void Graveyard::bury(std::string path, bool set_aside) {
  under_way_.add();
  environment_.loop->spawn(remove(shared_from_this(), std::move(path), set_aside));
}

Task<void> Graveyard::remove(std::shared_ptr<Graveyard> self, std::string path, bool set_aside) {
  Store& store = *self->environment_.store;
  self->environment_.files->forget(store, path);
  Result<void> done;
  if (set_aside) {
    const std::string aside = self->directory_ + "/damaged";
    done = co_await make_directories(store, aside, 0700, Durable::kNo);
    const std::string target = aside + path.substr(path.rfind('/'));
    if (done) done = co_await store.rename(path, target, RenameMode::kReplace, Durable::kNo);
  } else {
    done = co_await store.remove(path, Durable::kNo);
  }
  if (!done && done.error().code() != Code::kNotFound)  // an orphan then: remove_orphans() tries again
    log_event(LogLevel::kWarning, "slice-not-removed", path, {{"error", done.error().to_string()}});
  self->under_way_.done();
}

namespace {

// One damaged bit costs its frame, and nothing in a data slice has to be whole beyond a record.
constexpr uint64_t kDataFrameBytes = 64u << 10;

// Writes the data slice: frames one after the other, each about kDataFrameBytes, without waiting for the
// disk.
class DataSlice {
 public:
  DataSlice(SliceHeader header, std::shared_ptr<File> file, Loop& loop)
      : header_(std::move(header)), file_(std::move(file)), loop_(loop), seed_(header_.secret, header_.id) {}

  Task<Result<void>> begin() {
    const std::string bytes = encode_slice_header(header_);
    co_return co_await write(bytes);
  }
  Frame& frame() { return frame_; }
  Place place(size_t record) const { return {header_.id.number, end_ + frame_.record_offset(record)}; }
  uint64_t end() const { return end_; }
  const SliceHeader& header() const { return header_; }

  Task<Result<void>> flush() {
    if (frame_.empty()) co_return Result<void>();
    FrameHeader head;
    head.records = static_cast<uint32_t>(frame_.records());
    head.time_ns = loop_.wall_clock_ns();
    std::string& bytes = frame_.resolve(header_.id.number, end_);
    seal_frame(bytes, head, seed_, end_);
    auto written = co_await write(bytes);
    frame_ = Frame();
    co_return written;
  }
  Task<Result<void>> sync() { return file_->sync(); }

 private:
  Task<Result<void>> write(std::string_view bytes) {
    const std::string_view pieces[] = {bytes};
    CANOPY_CO_TRY(co_await file_->write(end_, pieces, Durable::kNo));
    end_ += bytes.size();
    co_return Result<void>();
  }

  SliceHeader header_;
  std::shared_ptr<File> file_;
  Loop& loop_;
  SliceSeed seed_;
  Frame frame_;
  uint64_t end_ = 0;
};

}  // namespace

// One compaction while it copies. Lives in the coroutine of compact().
struct Copying {
  AccountLog::Pin pin;
  std::function<Task<Result<OwnedRecord>>(Place, uint64_t)> read;
  DataSlice* data = nullptr;
  std::set<uint32_t> dropped;
  std::set<uint32_t> referred;    // dropped slices that must stay after all: damaged content in them
  std::map<Place, Place> copied;  // content records, old and new place
  CompactionRequest* request = nullptr;
  CompactionReport* report = nullptr;
  uint64_t chunk_bytes = 0;

  bool drops(Place place) const { return dropped.contains(place.slice) && !referred.contains(place.slice); }

  Task<Result<void>> flush_if_large() {
    const uint64_t bytes = data->frame().size();
    if (bytes < chunk_bytes) co_return Result<void>();
    CANOPY_CO_TRY(co_await data->flush());
    if (request->throttle) co_return co_await request->throttle(bytes);
    co_return Result<void>();
  }

  // Copies a Content record, or answers where it was copied to; its own place when its slice stays.
  Task<Result<Place>> copy_part(Place from, uint32_t length) {
    if (!dropped.contains(from.slice)) co_return from;
    if (auto known = copied.find(from); known != copied.end()) co_return known->second;
    CANOPY_CO_ASSIGN(OwnedRecord record,
                     co_await read(from, (kRecordHeaderBytes + uint64_t{length} + 7) & ~uint64_t{7}));
    CANOPY_CO_ASSIGN(const Content content, decode_content(record.view));
    const Place to = data->place(data->frame().add(content));
    report->content_bytes_copied += content.bytes.size();
    copied[from] = to;
    CANOPY_CO_TRY(co_await flush_if_large());
    co_return to;
  }

  Task<Result<void>> copy_parts(std::vector<ContentPart>& parts) {
    for (ContentPart& part : parts) {
      CANOPY_CO_ASSIGN(part.place, co_await copy_part(part.place, part.length));
    }
    co_return Result<void>();
  }

  // Makes `row` say where its content lies once the dropped slices are gone; `held` keeps inline bytes in
  // place.
  Task<Result<void>> settle_content(Message& row, Place content, uint64_t hint, OwnedRecord& held) {
    if (!dropped.contains(content.slice)) {
      row.content = ContentKind::kReference;
      row.reference = content;
      co_return Result<void>();
    }
    if (auto known = copied.find(content); known != copied.end()) {
      row.content = ContentKind::kReference;
      row.reference = known->second;
      co_return Result<void>();
    }
    CANOPY_CO_ASSIGN(held, co_await read(content, hint));
    if (held.view.type == RecordType::kContent) {
      row.content = ContentKind::kInline;
      row.bytes = held.view.body;
      co_return Result<void>();
    }
    if (held.view.type != RecordType::kMessage)
      co_return fail(Code::kDamaged, "record at offset " + std::to_string(content.offset),
                     "a message refers to a record that holds no content");
    CANOPY_CO_ASSIGN(Message target, decode_message(held.view));
    if (target.content == ContentKind::kReference)
      co_return fail(Code::kDamaged, "record at offset " + std::to_string(content.offset),
                     "a message refers to a reference");
    row.content = target.content;
    row.bytes = target.bytes;
    row.parts = std::move(target.parts);
    if (row.content == ContentKind::kParts) co_return co_await copy_parts(row.parts);
    co_return Result<void>();
  }

  Task<Result<void>> copy_row(LiveMessage live, std::vector<MovedMessage>& moved) {
    Message& row = live.message;
    OwnedRecord held;
    const bool by_reference = row.content == ContentKind::kReference;
    const Place source = by_reference ? row.reference : live.own;
    const std::vector<ContentPart> parts_before = row.parts;
    Result<void> settled;
    if (row.content == ContentKind::kParts) {
      settled = co_await copy_parts(row.parts);
    } else {
      settled = co_await settle_content(row, source, by_reference ? 0 : live.own_length, held);
    }
    if (!settled) {
      if (settled.error().code() != Code::kDamaged) co_return settled;
      report->damages.push_back(
          {slice_name(source.slice), source.offset, live.own_length, settled.error().to_string()});
      if (request->set_damaged_aside) {
        report->lost.push_back({row.mailbox_id, row.uid});
        co_return Result<void>();
      }
      if (!request->keep_damaged) co_return settled;
      keep_as_it_is(row, source, parts_before);
    }
    const size_t index = data->frame().add(row);
    const Place to = data->place(index);
    if (row.content == ContentKind::kInline) {
      copied[source] = to;
      report->content_bytes_copied += row.bytes.size();
    }
    const bool refers = row.content == ContentKind::kReference;
    moved.push_back({row.mailbox_id, row.uid, live.own, to, data->frame().record_length(index), refers,
                     source, refers ? row.reference : to});
    ++report->rows;
    co_return co_await flush_if_large();
  }

  void keep_as_it_is(Message& row, Place source, const std::vector<ContentPart>& parts) {
    if (row.content == ContentKind::kParts && !parts.empty()) {
      row.parts = parts;
      for (const ContentPart& part : parts) refer(part.place);
      return;
    }
    row.parts.clear();
    row.content = ContentKind::kReference;
    row.reference = source;
    refer(source);
  }
  void refer(Place place) {
    if (dropped.contains(place.slice)) referred.insert(place.slice);
  }
  static std::string slice_name(uint32_t number) { return "slice " + std::to_string(number); }
};

namespace {

Task<Result<void>> copy_all(Copying& copying, CompactionSource& source, std::function<bool()> stopped) {
  while (true) {
    if (stopped()) co_return fail(Code::kCancelled, "compaction", "the account was closed or lost meanwhile");
    CompactionSource::Step step;
    CANOPY_CO_ASSIGN(const bool more, co_await source.next(step));
    if (!more) break;
    if (!step.frame.empty()) {
      CANOPY_CO_TRY(co_await copying.data->flush());
      copying.data->frame() = std::move(step.frame);
      CANOPY_CO_TRY(co_await copying.data->flush());
    }
    std::vector<MovedMessage> moved;
    for (LiveMessage& row : step.rows) CANOPY_CO_TRY(co_await copying.copy_row(std::move(row), moved));
    CANOPY_CO_TRY(co_await copying.data->flush());
    source.copied(moved);
  }
  co_return Result<void>();
}

uint64_t bytes_of(const SliceSet& set) {
  uint64_t bytes = 0;
  for (const auto& slice : set.slices) bytes += slice->end;
  return bytes;
}

}  // namespace

Task<Result<CompactionReport>> AccountLog::State::compact(CompactionSource& source,
                                                          CompactionRequest request) {
  if (compacting) co_return fail(Code::kBusy, directory, "the account is being compacted");
  const uint64_t planned_against = loads;
  CANOPY_CO_TRY(co_await take_over());
  if (loads != planned_against) co_return fail(Code::kConflict, directory, "the account was taken over anew");
  if (compacting) co_return fail(Code::kBusy, directory, "the account is being compacted");
  compacting = true;
  auto report = co_await compact_alone(source, std::move(request));
  if (!report) source.abandoned();
  compacting = false;
  co_return report;
}

Task<Result<CompactionReport>> AccountLog::State::compact_alone(CompactionSource& source,
                                                                CompactionRequest request) {
  CompactionReport report;
  Copying copying;
  const auto stopped = [this] { return closed || is_broken || is_fenced; };

  // 1. The roll point.
  SliceId rolled;
  {
    auto guard = co_await lane.lock();
    if (stopped()) co_return fail(Code::kCancelled, directory, "the account was closed or lost meanwhile");
    report.bytes_before = bytes_of(*set);
    if (preamble.empty()) CANOPY_CO_TRY(co_await roll());
    rolled = set->slices.back()->id;
    for (const auto& slice : set->slices) {
      if (slice->id == rolled) continue;
      const bool asked =
          request.drop.empty() || std::ranges::find(request.drop, slice->id.number) != request.drop.end();
      if (asked) copying.dropped.insert(slice->id.number);
    }
    source.snapshot();
  }
  std::shared_ptr<const SliceSet> pinned = set;

  // 2. Beside the lane.
  CANOPY_CO_ASSIGN(Created created, co_await create_slice(rolled.number));
  SliceHeader header{created.id, SliceKind::kData, secret, environment.loop->wall_clock_ns() / kSecond};
  DataSlice data(std::move(header), std::move(created.file), *environment.loop);
  copying.data = &data;
  copying.request = &request;
  copying.report = &report;
  copying.chunk_bytes = std::min(environment.options.copy_chunk_bytes, kDataFrameBytes);
  copying.read = [this, &pinned](Place place, uint64_t hint) { return read_record(pinned, place, hint); };
  auto copied = co_await data.begin();
  if (copied) copied = co_await copy_all(copying, source, stopped);
  if (copied) copied = co_await data.sync();
  if (copied) copied = co_await store().sync_directory(directory);
  // 3. In the lane.
  if (copied) {
    for (uint32_t stays : copying.referred) copying.dropped.erase(stays);
    pinned.reset();
    co_await source.quiet();
    copied = co_await switch_over(source, created.id, data.end(), rolled, copying.dropped, request);
  }
  if (!copied) {
    environment.files->forget(store(), slice_path(created.id));
    if (!is_broken && !is_fenced) (void)co_await store().remove(slice_path(created.id), Durable::kNo);
    co_return fail(std::move(copied).error());
  }
  report.slices_dropped = static_cast<uint32_t>(copying.dropped.size());
  report.bytes_after = bytes_of(*set);
  co_return report;
}

// In a data slice of its own, durable before a manifest names it: wherever the manifest that drops slices
// counts, also when only the beginning of its write came through, what referred to them is restated.
Task<Result<std::shared_ptr<LiveSlice>>> AccountLog::State::write_restated(Frame& restated, uint32_t above,
                                                                           Appended& where) {
  CANOPY_CO_ASSIGN(Created created, co_await create_slice(above));
  const std::string path = slice_path(created.id);
  SliceHeader header{created.id, SliceKind::kData, secret, environment.loop->wall_clock_ns() / kSecond};
  DataSlice slice(std::move(header), std::move(created.file), *environment.loop);
  auto written = co_await slice.begin();
  slice.frame() = std::move(restated);
  where.slice = created.id.number;
  for (size_t i = 0; i < slice.frame().records(); ++i) where.record_offsets.push_back(slice.place(i).offset);
  if (written) written = co_await slice.flush();
  if (written) written = co_await slice.sync();
  if (written) written = co_await store().sync_directory(directory);
  if (!written) {
    environment.files->forget(store(), path);
    (void)co_await store().remove(path, Durable::kNo);  // an orphan when that fails
    co_return fail(std::move(written).error());
  }
  co_return make_slice({created.id, SliceKind::kData, true, slice.end()});
}

Task<Result<void>> AccountLog::State::switch_over(CompactionSource& source, SliceId data, uint64_t data_end,
                                                  SliceId rolled, const std::set<uint32_t>& leaving,
                                                  const CompactionRequest& request) {
  auto guard = co_await lane.lock();
  if (closed || is_broken || is_fenced)
    co_return fail(Code::kCancelled, directory, "the account was closed or lost meanwhile");

  std::shared_ptr<const SliceSet> before = set;
  std::vector<std::shared_ptr<LiveSlice>> named;
  std::vector<std::shared_ptr<LiveSlice>> leave;
  auto compacted = make_slice({data, SliceKind::kData, true, data_end});
  bool rolled_seen = false;
  for (const auto& slice : before->slices) {
    if (slice->id == rolled) {
      named.push_back(compacted);
      rolled_seen = true;
    }
    if (rolled_seen) {
      if (slice == before->slices.back() && !preamble.empty()) continue;  // nothing was ever written to it
      named.push_back(slice);
    } else if (leaving.contains(slice->id.number)) {
      leave.push_back(slice);
    } else {  // for its content only
      auto kept = make_slice({slice->id, slice->kind, false, slice->end});
      kept->damaged = slice->damaged;
      named.push_back(std::move(kept));
    }
  }
  const bool unwritten = !preamble.empty();
  const std::string unwritten_path = before->slices.back()->path;

  Frame restated;
  std::vector<uint32_t> numbers(leaving.begin(), leaving.end());
  CANOPY_CO_TRY(source.switch_over(numbers, restated));
  uint32_t above = std::max(before->slices.back()->id.number, data.number);
  Appended where;
  if (!restated.empty()) {
    CANOPY_CO_ASSIGN(auto apart, co_await write_restated(restated, above, where));
    above = apart->id.number;
    named.push_back(std::move(apart));
  }
  CANOPY_CO_ASSIGN(Created created, co_await create_slice(above));
  begin_slice(created, std::move(named));
  const uint64_t end = set->slices.back()->end;
  auto written = co_await write_durably({}, end, end);
  if (!written) {
    break_log();
    co_return written;
  }
  answered_slice = set->slices.back()->id;
  answered_end = set->slices.back()->end;
  if (checkpoint.number != 0) graveyard->bury(path_of(checkpoint_file_name(checkpoint)), false);
  checkpoint = {};
  checkpoint_covers = {};
  if (unwritten) {
    environment.files->forget(store(), unwritten_path);
    graveyard->bury(unwritten_path, false);
  }
  std::erase_if(dropped, [](const auto& slice) { return slice.expired(); });
  for (const auto& slice : leave) {
    slice->doomed = true;
    slice->set_aside = request.set_damaged_aside && slice->damaged;
    dropped.push_back(slice);
  }
  source.switched(where);
  co_return Result<void>();
}

}  // namespace canopy
