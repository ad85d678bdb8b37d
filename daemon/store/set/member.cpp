#include "daemon/store/set/member.h"

#include <bit>
#include <cerrno>

#include "daemon/store/capacity.h"

namespace canopy {

std::string_view store_state_name(StoreState state) {
  switch (state) {
    case StoreState::kUp: return "up";
    case StoreState::kSlow: return "slow";
    case StoreState::kFull: return "full";
    case StoreState::kDown: return "down";
    case StoreState::kWrong: return "wrong";
  }
  CANOPY_CHECK(false);
}

void StoreFigures::add(Nanos took) {
  ++operations;
  spent += std::max<Nanos>(took, 0);
  const auto micros = static_cast<uint64_t>(std::max<Nanos>(took, 0) / kMicrosecond);
  ++latency[std::min<size_t>(static_cast<size_t>(std::bit_width(micros)), kBuckets - 1)];
}

Nanos StoreFigures::quantile(double of) const {
  uint64_t all = 0, below = 0;
  for (uint64_t count : latency) all += count;
  if (all == 0) return 0;
  const auto wanted = static_cast<uint64_t>(of * static_cast<double>(all));
  for (size_t i = 0; i < kBuckets; ++i) {
    below += latency[i];
    if (below > wanted || below == all) return (1ll << i) * kMicrosecond;
  }
  return 0;
}

StoreFigures& StoreFigures::operator+=(const StoreFigures& other) {
  operations += other.operations;
  errors += other.errors;
  in_flight += other.in_flight;
  spent += other.spent;
  for (size_t i = 0; i < kBuckets; ++i) latency[i] += other.latency[i];
  return *this;
}

SetMember::SetMember(Loop& loop, StoreConfig config, std::shared_ptr<Store> store)
    : loop_(loop),
      config_(std::move(config)),
      salt_(store ? 0 : file_id_salt(config_.id)),
      store_(std::move(store)),
      usable_(store_ != nullptr),
      state_(usable_ ? StoreState::kUp : StoreState::kDown),
      look_(loop),
      looked_(loop) {}

uint64_t SetMember::reserve_bytes() const {
  if (!space_) return 0;
  return config_.reserve_bytes.value_or(store_reserve_bytes(space_->bytes_total));
}

Error SetMember::unavailable() const {
  return Error(Code::kStoreUnavailable, name(),
               fmt::format("store {} unavailable: {}", name(),
                           reason_ ? reason_->to_string() : "it has not answered since the start"));
}

void SetMember::retire(bool elsewhere) {
  retired_ = true;
  look_.set();
  if (!elsewhere) return;
  elsewhere_ = true;
  usable_ = false;
  state_ = StoreState::kWrong;
  reason_ = Error(Code::kStoreUnavailable, name(), "its address was changed");
}

Task<Error> SetMember::named(Store& store, Error error) {
  const bool stale =
      error.code() == Code::kNotFound && error.is_of_system() && error.error_number() == ESTALE;
  if (!stale) co_return counted(std::move(error));
  auto there = co_await store.attributes("");
  if (there || there.error().code() != Code::kNotFound) co_return error;
  open_anew_ = true;
  co_return counted(Error(Code::kStoreUnavailable, error.object(),
                          "the store no longer knows its root: " + error.message()));
}

Error SetMember::counted(Error error) {
  switch (error.code()) {
    case Code::kStoreUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kConnectionLost:
      ++figures_.errors;
      look_.set();
      return Error(Code::kStoreUnavailable, error.object(),
                   fmt::format("store {} unavailable: {}", name(), error.message()));
    case Code::kStoreFull: look_.set(); return error;
    case Code::kIo:
    case Code::kDamaged:
    case Code::kInternal: ++figures_.errors; return error;
    default: return error;
  }
}

}  // namespace canopy
