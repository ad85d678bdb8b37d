#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/log/log_state.h"

namespace canopy {
namespace {

constexpr int kCreateAttemptsMax = 16;
constexpr uint32_t kSealedMode = 0400;

// For a look at frames that leaves what is loaded alone.
class NoSink final : public LogReplay {
 public:
  void reset() override {}
  Result<std::vector<std::span<char>>> begin_checkpoint(std::string_view, uint64_t) override {
    return fail(Code::kNotFound, "checkpoint", "a look needs none");
  }
  Result<void> finish_checkpoint() override { return {}; }
  Result<void> apply(const FrameView&) override { return {}; }
  std::unique_ptr<LogReplay> another() const override { return std::make_unique<NoSink>(); }
  void replace_with(LogReplay&) override {}
};

}  // namespace

std::unexpected<Error> AccountLog::State::fenced(std::string why) {
  is_fenced = true;
  return fail(Code::kFenced, directory, std::move(why));
}

Task<Result<bool>> AccountLog::State::take_over() {
  if (is_fenced) co_return fenced("this process has lost the account");
  if (is_broken || closed) co_return fail(Code::kTryAgain, directory, "the account log must be opened anew");
  if (owner) co_return false;
  if (environment.lease_held &&
      !environment.lease_held())  // it would come to nothing, and leave a slice behind
    co_return fail(Code::kTryAgain, directory, "this process does not hold its lease now");
  auto guard = co_await lane.lock();
  if (owner) co_return false;
  co_return co_await take_over_in_lane();
}

Task<Result<void>> AccountLog::State::hold() {
  if (preamble.empty()) co_return Result<void>();  // nearly always
  auto guard = co_await lane.lock();
  if (is_fenced) co_return fenced("this process has lost the account");
  if (is_broken || closed) co_return fail(Code::kTryAgain, directory, "the account log must be opened anew");
  if (preamble.empty()) co_return Result<void>();
  const uint64_t end = set->slices.back()->end;
  auto written = co_await write_durably({}, end, end);
  if (!written) break_log();
  co_return written;
}

// A slice that this very process made under this epoch, that ends where its last acknowledged frame ends, and
// that nobody has sealed, is still ours after the account was closed and opened again: every write to it was
// answered before the close. Whoever takes the account from us seals it, which the next write's answer shows.
Task<Result<bool>> AccountLog::State::resume_own_slice() {
  LiveSlice& newest = *set->slices.back();
  if (newest.id.epoch != environment.epoch || newest.damaged || torn_bytes > 0 ||
      environment.files->ended_at(store(), newest.path))
    co_return false;
  CANOPY_CO_ASSIGN(auto file, co_await environment.files->get(store(), newest.path, true));
  CANOPY_CO_ASSIGN(const Attributes attributes, co_await file->attributes());
  if ((attributes.mode & 0200) == 0) co_return fenced("another process has sealed the slice");
  if (attributes.size != newest.end) co_return false;
  active_file = std::move(file);
  name_durable = true;
  touched = true;
  preamble.clear();
  superseded.reset();
  owner = true;
  co_return true;
}

// Brings log and sink up to the manifest that counts. Answers whether they changed. Damage that was met
// before the others were sealed may be none: a frame that was on its way when it was read, with one behind it
// that was there a moment later.
Task<Result<bool>> AccountLog::State::catch_up(Directory found, Chosen chosen) {
  if (chosen.id == set->slices.back()->id && damages.empty()) {
    CANOPY_CO_ASSIGN(const bool grown, co_await has_grown());
    if (!grown) co_return false;
  }
  CANOPY_CO_TRY(co_await load_anew(std::move(found), std::move(chosen)));
  co_return true;
}

Task<Result<bool>> AccountLog::State::has_grown() {
  const LiveSlice& newest = *set->slices.back();
  const uint64_t seen = newest.end;
  NoSink nobody;
  State look(environment, directory, nobody);
  look.secret = secret;
  const auto slice = look.make_slice({newest.id, newest.kind, newest.replayed, kOpenEnded});
  CANOPY_CO_TRY(co_await look.replay_slice(*slice, true, seen, seen));
  if (slice->damaged && slice->end <= seen)
    co_return fail(Code::kTryAgain, newest.path, "the slice went while the account was being taken over");
  co_return slice->end > seen;
}

// All or nothing, and at once: readers go on with what was loaded until the new is whole.
Task<Result<void>> AccountLog::State::load_anew(Directory found, Chosen chosen) {
  const std::unique_ptr<LogReplay> loaded = sink->another();
  State anew(environment, directory, *loaded);
  anew.graveyard = graveyard;
  CANOPY_CO_TRY(co_await anew.load(std::move(found), std::move(chosen)));
  set = std::move(anew.set);
  secret = std::move(anew.secret);
  damages = std::move(anew.damages);
  torn_bytes = anew.torn_bytes;
  checkpoint = anew.checkpoint;
  checkpoint_covers = std::move(anew.checkpoint_covers);
  answered_slice = anew.answered_slice;
  answered_end = anew.answered_end;
  sink->replace_with(*loaded);
  co_return Result<void>();
}

// DESIGN.md "Fenced by the store": the order of these steps is what makes it hold.
Task<Result<bool>> AccountLog::State::take_over_in_lane() {
  if (set->slices.back()->id.epoch > environment.epoch)
    co_return fenced("a later owner has written the account");
  CANOPY_CO_ASSIGN(const bool resumed, co_await resume_own_slice());
  if (resumed) co_return false;

  CANOPY_CO_ASSIGN(Created created, co_await create_slice(set->slices.back()->id.number));
  CANOPY_CO_TRY(co_await seal_others(created.found, created.id));
  CANOPY_CO_ASSIGN(Chosen chosen, co_await choose_manifest(created.found, created.id));

  auto caught_up = co_await catch_up(created.found, std::move(chosen));
  if (!caught_up) {
    is_broken = true;  // what is loaded is old, and its files may go: the account must be opened anew
    co_return fail(std::move(caught_up).error());
  }
  const bool changed = *caught_up;
  if (changed) ++loads;
  CANOPY_CO_TRY(co_await take_free_number(created));
  begin_slice(created, set->slices);
  log_event(LogLevel::kDebug, "account-log-taken-over", directory, {{"slice", slice_file_name(created.id)}});
  co_return changed;
}

// Our slice's number was chosen above what was loaded, but the slices that count now may have come since,
// with the same number under another epoch. A manifest names each number once, so ours moves on; what we
// created first has told others of our epoch, as the new slice does from here on.
Task<Result<void>> AccountLog::State::take_free_number(Created& created) {
  uint32_t highest = 0;
  for (const auto& slice : set->slices) highest = std::max(highest, slice->id.number);
  if (created.id.number > highest) co_return Result<void>();
  const std::string first = slice_path(created.id);
  CANOPY_CO_ASSIGN(created, co_await create_slice(highest));
  environment.files->forget(store(), first);
  (void)co_await store().remove(first, Durable::kNo);  // an orphan when that fails
  co_return Result<void>();
}

// Numbers of one epoch only rise: a slice of ours whose write failed may get its manifest later still, and
// must then stand below that of every slice that we have begun since.
Task<Result<AccountLog::State::Created>> AccountLog::State::create_slice(uint32_t above) {
  uint32_t number = above;
  for (int attempt = 0; attempt < kCreateAttemptsMax; ++attempt) {
    if (number == UINT32_MAX) co_return fail(Code::kTooLarge, directory, "the slice numbers are used up");
    Created created;
    created.id = {++number, environment.epoch};
    OpenOptions options;
    options.write = options.create = options.exclusive = true;
    options.mode = 0600;
    auto opened = co_await store().open(slice_path(created.id), options);
    const bool left_before = !opened && opened.error().code() == Code::kAlreadyExists;
    if (!opened && !left_before) co_return fail(std::move(opened).error());
    CANOPY_CO_ASSIGN(created.found, co_await list());
    uint32_t highest = 0;
    for (SliceId id : created.found.slices) {
      if (id.epoch > environment.epoch)
        co_return fenced("a later owner has begun slice " + slice_file_name(id));
      if (left_before || id.epoch == environment.epoch) highest = std::max(highest, id.number);
    }
    number = std::max(number, highest);
    if (opened && number == created.id.number) {
      created.file = std::move(*opened);
      environment.files->put(store(), slice_path(created.id), true, created.file);
      co_return created;
    }
    if (opened) {
      opened->reset();
      (void)co_await store().remove(slice_path(created.id), Durable::kNo);  // an orphan when that fails
    }
  }
  co_return fail(Code::kTryAgain, directory, "no free name for a slice; orphans must be removed");
}

// Nobody else writes to a store that is not shared: the process before us is dead (it held the lock of the
// root), the kernel ended its requests before that lock went, and what it did not see finished it did not
// acknowledge.
Task<Result<void>> AccountLog::State::seal_others(Directory found, SliceId own) {
  if (!store().shared_at(directory)) co_return Result<void>();
  std::vector<Task<Result<void>>> seals;
  for (SliceId id : found.slices) {
    if (id == own) continue;
    SetAttributes seal;
    seal.mode = kSealedMode;
    seals.push_back(store().set_attributes(slice_path(id), seal, Durable::kYes));
  }
  auto answers = co_await join_all(*environment.loop, std::move(seals));
  for (auto& answer : answers) CANOPY_CO_TRY(std::move(answer));
  co_return Result<void>();
}

std::string AccountLog::State::make_preamble(const SliceHeader& header, const Manifest& manifest) const {
  std::string bytes = encode_slice_header(header);
  Frame frame;
  add_manifest(frame, manifest);
  std::string& laid_out = frame.resolve(header.id.number, kSliceHeaderBytes);
  FrameHeader head;
  head.records = 1;
  head.time_ns = environment.loop->wall_clock_ns();
  seal_frame(laid_out, head, SliceSeed(header.secret, header.id), kSliceHeaderBytes);
  return bytes + laid_out;
}

void AccountLog::State::begin_slice(const Created& created, std::vector<std::shared_ptr<LiveSlice>> before) {
  Manifest manifest;
  for (const auto& slice : before)
    manifest.slices.push_back({slice->id, slice->kind, slice->replayed, slice->end});
  const ManifestEntry own{created.id, SliceKind::kAppend, true, kOpenEnded};
  manifest.slices.push_back(own);

  SliceHeader header;
  header.id = created.id;
  header.secret = secret;
  header.created_seconds = environment.loop->wall_clock_ns() / kSecond;
  preamble = make_preamble(header, manifest);

  auto next = std::make_shared<SliceSet>();
  next->slices = std::move(before);
  next->slices.push_back(make_slice(own));
  next->slices.back()->end = preamble.size();
  superseded = std::exchange(set, std::move(next));
  active_file = created.file;
  name_durable = false;
  touched = false;
  torn_bytes = 0;
  owner = true;
}

Task<Result<void>> AccountLog::State::roll() {
  CANOPY_CO_ASSIGN(Created created, co_await create_slice(set->slices.back()->id.number));
  begin_slice(created, set->slices);
  co_return Result<void>();
}

Task<Result<void>> AccountLog::fence_unbegun(LogEnvironment environment, std::string directory) {
  NoSink nobody;
  auto state = std::make_shared<State>(std::move(environment), std::move(directory), nobody);
  CANOPY_CO_ASSIGN(const State::Directory found, co_await state->list());
  uint32_t highest = 0;
  for (SliceId id : found.slices) highest = std::max(highest, id.number);
  CANOPY_CO_ASSIGN(State::Created created, co_await state->create_slice(highest));
  state->environment.files->forget(state->store(), state->slice_path(created.id));
  CANOPY_CO_TRY(co_await state->seal_others(created.found, created.id));
  auto begun = co_await state->choose_manifest(created.found, created.id);
  if (begun) co_return fail(Code::kConflict, state->directory, "the account log was begun meanwhile");
  if (begun.error().code() != Code::kNotFound) co_return fail(std::move(begun).error());
  co_return Result<void>();
}

Task<Result<std::unique_ptr<AccountLog>>> AccountLog::create(LogEnvironment environment,
                                                             std::string directory, LogReplay& sink,
                                                             Frame first) {
  auto state = std::make_shared<State>(std::move(environment), std::move(directory), sink);
  CANOPY_CO_ASSIGN(auto found, co_await state->list());
  auto chosen = co_await state->choose_manifest(found, SliceId{});
  if (chosen) co_return fail(Code::kAlreadyExists, state->directory, "the account log exists");
  if (chosen.error().code() != Code::kNotFound) co_return fail(std::move(chosen).error());

  for (size_t i = 0; i < kSecretBytes / 8; ++i) {
    const uint64_t random = state->environment.loop->random();
    state->secret.append(reinterpret_cast<const char*>(&random), 8);
  }
  uint32_t highest = 0;
  for (SliceId id : found.slices) highest = std::max(highest, id.number);
  auto guard = co_await state->lane.lock();
  CANOPY_CO_ASSIGN(auto created, co_await state->create_slice(highest));
  CANOPY_CO_TRY(co_await state->seal_others(created.found, created.id));
  auto again = co_await state->choose_manifest(created.found, created.id);  // somebody created it meanwhile?
  if (again) co_return fail(Code::kAlreadyExists, state->directory, "the account log exists");
  if (again.error().code() != Code::kNotFound) co_return fail(std::move(again).error());
  state->begin_slice(created, {});
  state->answered_slice = created.id;

  CANOPY_CO_ASSIGN(Appended where, co_await state->write_in_lane(first));
  guard.release();
  state->answered_end = state->set->slices.back()->end;
  sink.reset();
  const std::string& bytes = first.resolve(where.slice, where.offset);
  const SliceSeed& seed = state->set->slices.back()->seed;
  std::vector<RecordView> records;
  auto header = decode_frame_header(bytes, seed, where.offset);
  CANOPY_CHECK(header && decode_frame_records(bytes, *header, seed, where.offset, records));
  CANOPY_CO_TRY(sink.apply(
      FrameView{created.id, where.offset, bytes.size(), where.time_ns, first.request_id(), records}));
  co_return std::unique_ptr<AccountLog>(new AccountLog(std::move(state)));
}

}  // namespace canopy
