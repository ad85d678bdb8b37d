#include "daemon/account/directory_requests.h"

#include <xxhash.h>

#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr uint32_t kRequestParts = 256;

std::string key_of(std::string_view id, const std::string& name) { return to_hex(id) + "/" + name; }

int64_t seconds_of(const dict::Value& record) {
  const dict::Array* parts = record.array();
  const int64_t* seconds = parts == nullptr || parts->empty() ? nullptr : parts->front().number();
  return seconds == nullptr ? 0 : *seconds;
}

void forget_old(dict::Dict& records, int64_t now) {
  dict::Dict kept;
  std::string_view oldest;
  int64_t oldest_seconds = now;
  for (const dict::Entry& each : records) {
    int64_t seconds = seconds_of(each.value);
    if (seconds < now - kRequestIdRememberedSeconds) continue;
    kept.set(each.key, each.value);
    if (oldest.empty() || seconds < oldest_seconds) oldest = each.key, oldest_seconds = seconds;
  }
  if (kept.size() >= kDirectoryRequestsPerFileMax) kept.erase(oldest);
  records = std::move(kept);
}

}  // namespace

DirectoryRequests::Place DirectoryRequests::of_account(const Domain& domain, const std::string& account) {
  uint64_t part = XXH64(account.data(), account.size(), 0) % kRequestParts;
  return {fmt::format("{}/requests/{:02x}.data", domain.directory(), part), domain.slot, account};
}

Task<Result<std::optional<std::string>>> DirectoryRequests::find(Place place, RequestId id) {
  if (is_none(id)) co_return std::nullopt;
  auto held = co_await files_.hold(place.path);
  if (!held) co_return fail(std::move(held).error());
  const dict::Value* record = held->file().dict.find(key_of(ChangeRequest{id}.key(), place.name));
  if (record == nullptr) co_return std::nullopt;
  const dict::Array* parts = record->array();
  const dict::Data* mark = parts == nullptr || parts->size() < 2 ? nullptr : (*parts)[1].data();
  co_return mark == nullptr ? std::string() : mark->bytes;
}

Task<Result<bool>> DirectoryRequests::has_gone(Place place, std::string mark) {
  auto held = co_await files_.hold(place.path);
  if (!held) co_return fail(std::move(held).error());
  co_return held->file().dict.contains(key_of(mark, place.name));
}

Task<Result<void>> DirectoryRequests::add(Place place, RequestId id, std::string mark) {
  std::vector<std::string> answered;
  if (!is_none(id)) answered.push_back(ChangeRequest{id}.key());
  if (!mark.empty()) answered.push_back(mark);
  if (answered.empty()) co_return Result<void>();
  auto held = co_await files_.hold(place.path);
  if (!held) co_return fail(std::move(held).error());
  int64_t now = files_.loop().wall_clock_ns() / kSecond;
  dict::Dict records = held->file().dict;
  for (const std::string& each : answered) {
    forget_old(records, now);
    records.set(key_of(each, place.name), dict::Array{now, dict::Data{mark}});
  }
  co_return co_await files_.replace(*held, place.slot, std::move(records));
}

}  // namespace canopy
