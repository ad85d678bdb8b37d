#include "daemon/store/set/set_file.h"

namespace canopy {

// A store that was found wrong serves nothing any more, open files included; one that is down may answer.
// What was on its way when the store got another address counts for nothing.
template <class T>
Task<Result<T>> SetFile::timed(Task<Result<T>> task) {
  if (!member_->usable() && member_->state() == StoreState::kWrong) co_return fail(member_->unavailable());
  SetMember::Timing timing(*member_);
  Result<T> answer = co_await std::move(task);
  if (member_->elsewhere()) co_return fail(member_->unavailable());
  if (!answer) co_return fail(co_await member_->named(*store_, std::move(answer).error()));
  co_return answer;
}

Task<Result<size_t>> SetFile::read(uint64_t offset, std::span<char> into) {
  return timed(file_->read(offset, into));
}
Task<Result<WriteOutcome>> SetFile::write(uint64_t offset, std::span<const std::string_view> pieces,
                                          Durable durable) {
  auto outcome = co_await timed(file_->write(offset, pieces, durable));
  if (outcome) outcome->after = member_->mixed(outcome->after);
  co_return outcome;
}
Task<Result<Attributes>> SetFile::attributes() {
  auto found = co_await timed(file_->attributes());
  if (found) *found = member_->mixed(*found);
  co_return found;
}
Task<Result<void>> SetFile::set_attributes(SetAttributes change, Durable durable) {
  return timed(file_->set_attributes(change, durable));
}
Task<Result<void>> SetFile::sync() { return timed(file_->sync()); }
Task<Result<void>> SetFile::allocate(AllocateMode mode, uint64_t offset, uint64_t size) {
  return timed(file_->allocate(mode, offset, size));
}
Task<Result<uint64_t>> SetFile::seek_data(uint64_t offset) { return timed(file_->seek_data(offset)); }
Task<Result<uint64_t>> SetFile::seek_hole(uint64_t offset) { return timed(file_->seek_hole(offset)); }

}  // namespace canopy
