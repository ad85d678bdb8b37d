#include "daemon/dict/versioned.h"

#include <algorithm>
#include <limits>

#include "daemon/base/base64.h"
#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"

namespace canopy::dict {

namespace {

constexpr uint64_t kNumberMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

}  // namespace

std::string Version::to_string() const { return fmt::format("{}/{}", hex64(epoch), number); }

Result<Version> Version::next(uint64_t own_epoch) const {
  if (own_epoch < epoch) {
    return fail(Code::kFenced, to_string(),
                fmt::format("written by a later epoch than {}", hex64(own_epoch)));
  }
  if (number >= kNumberMax) return fail(Code::kInternal, to_string(), "the version number is used up");
  return Version{own_epoch, number + 1};
}

Result<Version> version_of(const Dict& dict, std::string_view name) {
  const Value* epoch = dict.find(kEpochKey);
  const Value* number = dict.find(kVersionKey);
  if (epoch == nullptr && number == nullptr) return Version{};
  const std::string* digits = epoch ? epoch->string() : nullptr;
  std::optional<uint64_t> parsed = digits ? parse_hex64(*digits) : std::nullopt;
  if (!parsed) {
    return fail(Code::kDamaged, std::string(name), fmt::format("{} is not 16 hexadecimal digits", kEpochKey));
  }
  const int64_t* count = number ? number->number() : nullptr;
  if (count == nullptr || *count < 1) {
    return fail(Code::kDamaged, std::string(name), fmt::format("{} is not a number from #1 up", kVersionKey));
  }
  return Version{*parsed, static_cast<uint64_t>(*count)};
}

static Result<std::string> created_of(const Dict& dict, std::string_view name) {
  const Value* value = dict.find(kCreatedKey);
  if (value == nullptr) return std::string();
  if (value->data() != nullptr && value->data()->bytes.size() == kRequestIdBytes) return value->data()->bytes;
  return fail(Code::kDamaged, std::string(name),
              fmt::format("{} is not a data block of {} bytes", kCreatedKey, kRequestIdBytes));
}

static std::optional<AnsweredRequest> request_of(const Value& value) {
  const Array* parts = value.array();
  if (parts == nullptr || parts->size() != 4) return std::nullopt;
  const Data* id = (*parts)[0].data();
  const int64_t* seconds = (*parts)[1].number();
  const std::string* epoch = (*parts)[2].string();
  const int64_t* number = (*parts)[3].number();
  if (id == nullptr || id->bytes.size() != kRequestIdBytes || seconds == nullptr) return std::nullopt;
  std::optional<uint64_t> parsed = epoch ? parse_hex64(*epoch) : std::nullopt;
  if (!parsed || number == nullptr || *number < 1) return std::nullopt;
  AnsweredRequest request{{}, *seconds, {*parsed, static_cast<uint64_t>(*number)}};
  std::ranges::copy(id->bytes, request.id.begin());
  return request;
}

static Result<std::vector<AnsweredRequest>> requests_of(const Dict& dict, std::string_view name) {
  std::vector<AnsweredRequest> requests;
  const Value* value = dict.find(kRequestsKey);
  if (value == nullptr) return requests;
  for (const Value& each : value->array() ? *value->array() : Array{Value()}) {
    std::optional<AnsweredRequest> request = request_of(each);
    if (!request) {
      return fail(Code::kDamaged, std::string(name),
                  fmt::format("{} is not an array of (ID, #SECONDS, EPOCH, #VERSION)", kRequestsKey));
    }
    requests.push_back(*std::move(request));
  }
  return requests;
}

// As print_file() prints an array of arrays.
static std::string print_requests(const std::vector<AnsweredRequest>& requests) {
  std::string text = "(";
  text.reserve(requests.size() * 72);
  for (const AnsweredRequest& each : requests) {
    text += text.size() == 1 ? "\n    ([" : ",\n    ([";
    append_base64(text, {each.id.data(), each.id.size()});
    fmt::format_to(std::back_inserter(text), "], #{}, {:016x}, #{})", each.unix_seconds, each.version.epoch,
                   each.version.number);
  }
  return text += "\n  )";
}

static bool is_printable(Version version) { return version.number >= 1 && version.number <= kNumberMax; }

void put_version(Dict& dict, Version version) {
  CANOPY_CHECK(is_printable(version));
  dict.set(kEpochKey, hex64(version.epoch));
  dict.set(kVersionKey, static_cast<int64_t>(version.number));
}

void strip_reserved(Dict& dict) {
  for (std::string_view key : {kEpochKey, kVersionKey, kCreatedKey, kRequestsKey}) dict.erase(key);
}

const AnsweredRequest* VersionedDict::answered(std::string_view id) const {
  for (const AnsweredRequest& each : requests)
    if (std::string_view(each.id.data(), each.id.size()) == id) return &each;
  return nullptr;
}

void VersionedDict::remember(std::string_view id, int64_t unix_seconds) {
  std::erase_if(requests, [unix_seconds](const AnsweredRequest& each) {
    return each.unix_seconds < unix_seconds - kRequestIdRememberedSeconds;
  });
  if (id.empty()) return;
  forget_all_but(kRequestsRememberedPerFileMax - 1);
  CANOPY_CHECK(id.size() == kRequestIdBytes);
  AnsweredRequest& request = requests.emplace_back();
  std::ranges::copy(id, request.id.begin());
  request.unix_seconds = unix_seconds;
  request.version = version;
}

void VersionedDict::forget_all_but(size_t newest) {
  if (requests.size() <= newest) return;
  requests.erase(requests.begin(), requests.end() - static_cast<ptrdiff_t>(newest));
}

Result<> refuse_reserved_keys(const Dict& dict, std::string_view name) {
  for (const Entry& entry : dict) {
    if (!entry.key.starts_with('.')) continue;
    return fail(Code::kInvalidArgument, fmt::format("{}: {}", name, entry.key),
                "keys that begin with '.' are reserved");
  }
  return {};
}

Result<VersionedDict> parse_versioned(std::string_view text, std::string_view name) {
  Result<Dict> dict = parse_dict(text, name);
  if (!dict) return fail(Code::kDamaged, dict.error().object(), dict.error().message());
  CANOPY_ASSIGN(Version version, version_of(*dict, name));
  CANOPY_ASSIGN(std::string created, created_of(*dict, name));
  CANOPY_ASSIGN(std::vector<AnsweredRequest> requests, requests_of(*dict, name));
  strip_reserved(*dict);
  return VersionedDict{version, *std::move(dict), std::move(created), std::move(requests)};
}

Result<std::string> print_versioned(const VersionedDict& file, std::string_view name) {
  CANOPY_CHECK(is_printable(file.version));
  std::vector<PrintedEntry> envelope;
  envelope.reserve(4);
  if (!file.created.empty()) envelope.push_back({kCreatedKey, print(Data{file.created})});
  envelope.push_back({kEpochKey, hex64(file.version.epoch)});
  if (!file.requests.empty()) envelope.push_back({kRequestsKey, print_requests(file.requests)});
  envelope.push_back({kVersionKey, fmt::format("#{}", file.version.number)});
  return print_file(file.dict, name, envelope);
}

}  // namespace canopy::dict
