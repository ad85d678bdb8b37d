#include "daemon/log/account_log.h"

#include <xxhash.h>

#include "daemon/base/bytes.h"
#include "daemon/log/log_state.h"

namespace canopy {

AccountLog::AccountLog(std::shared_ptr<State> state) : state_(std::move(state)) {}
AccountLog::~AccountLog() = default;

Task<void> AccountLog::close() {
  State& state = *state_;
  state.closed = true;
  co_await state.quiesce();
  while (state.compacting || state.writer_running) co_await state.environment.loop->yield();
  if (state.owner && !state.touched && !state.is_broken) {
    // Taken over and nothing written: the empty slice counts for nobody.
    const LiveSlice& slice = *state.set->slices.back();
    state.environment.files->forget(state.store(), slice.path);
    (void)co_await state.store().remove(slice.path, Durable::kNo);
  }
  state.active_file.reset();
  for (const auto& slice : state.set->slices) state.environment.files->forget(state.store(), slice->path);
  co_await state.graveyard->wait();
}

Task<Result<bool>> AccountLog::take_over() { return state_->take_over(); }
Task<Result<void>> AccountLog::hold() { return state_->hold(); }
Task<Result<Appended>> AccountLog::append(Frame frame) { return state_->append(std::move(frame)); }
bool AccountLog::broken() const { return state_->is_broken || state_->is_elsewhere; }
bool AccountLog::fenced() const { return state_->is_fenced; }
bool AccountLog::idle() const { return state_->appends.count() == 0; }
Task<void> AccountLog::quiesce() { return state_->quiesce(); }

AccountLog::Pin AccountLog::pin() const {
  Pin pin;
  pin.set_ = state_->shown();
  return pin;
}

Task<Result<OwnedRecord>> AccountLog::read_record(Pin pin, Place place, uint64_t hint_length) {
  return state_->read_record(std::move(pin.set_), place, hint_length);
}

CoveredPoint AccountLog::covered() const { return state_->covered(); }

Task<Result<void>> AccountLog::write_checkpoint(CoveredPoint covered, CheckpointPayload payload) {
  return state_->write_checkpoint(std::move(covered), std::move(payload));
}

uint64_t AccountLog::bytes_since_checkpoint() const {
  uint64_t bytes = 0;
  size_t skip = state_->checkpoint_covers.slices.size();
  for (const auto& slice : state_->set->slices) {
    if (!slice->replayed) continue;
    uint64_t from = kSliceHeaderBytes;
    if (skip > 0) {
      const auto& entries = state_->checkpoint_covers.slices;
      from = entries[entries.size() - skip--].length;
    }
    bytes += slice->end - std::min(slice->end, from);
  }
  return bytes;
}

std::vector<SliceInfo> AccountLog::slices() const {
  std::vector<SliceInfo> all;
  for (const auto& slice : state_->set->slices)
    all.push_back({{slice->id, slice->kind, slice->replayed, slice->end}, slice->file_name});
  return all;
}

const std::vector<Damage>& AccountLog::damages() const { return state_->damages; }
const std::string& AccountLog::directory() const { return state_->directory; }

Task<Result<CompactionReport>> AccountLog::compact(CompactionSource& source, CompactionRequest request) {
  return state_->compact(source, std::move(request));
}

Task<Result<CheckReport>> AccountLog::check() { return state_->check(); }
Task<Result<uint32_t>> AccountLog::remove_orphans() { return state_->remove_orphans(); }

std::string AccountLog::content_name_prefix() const {
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(state_->secret.data(), state_->secret.size()));
  return std::string(reinterpret_cast<const char*>(hash.digest), sizeof hash.digest);
}

std::string AccountLog::content_name(Place place) const {
  const auto slices = state_->shown();
  const LiveSlice* slice = slices ? slices->find(place.slice) : nullptr;
  if (slice == nullptr) return {};
  std::string name = content_name_prefix();
  for (uint64_t word : {slice->id.epoch, uint64_t{place.slice}, place.offset})
    put_le(name, std::byteswap(word));
  return name;
}

std::optional<Place> AccountLog::place_of_content_name(std::string_view name) {
  if (name.size() != 16 + 3 * sizeof(uint64_t)) return std::nullopt;
  uint64_t slice = std::byteswap(get_le<uint64_t>(name.data() + 24));
  return Place{static_cast<uint32_t>(slice), std::byteswap(get_le<uint64_t>(name.data() + 32))};
}

}  // namespace canopy
