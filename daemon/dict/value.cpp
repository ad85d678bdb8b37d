#include "daemon/dict/value.h"

#include <algorithm>

#include "daemon/base/check.h"

namespace canopy::dict {

Dict::Dict() = default;
Dict::Dict(const Dict&) = default;
Dict::Dict(Dict&&) noexcept = default;
Dict& Dict::operator=(const Dict&) = default;
Dict& Dict::operator=(Dict&&) noexcept = default;
Dict::~Dict() = default;

Dict::Dict(std::initializer_list<std::pair<std::string_view, Value>> entries) {
  entries_.reserve(entries.size());
  for (const auto& [key, value] : entries) set(key, value);
}

size_t Dict::lower_bound(std::string_view key) const {
  if (entries_.empty() || entries_.back().key < key) return entries_.size();
  auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                             [](const Entry& entry, std::string_view wanted) { return entry.key < wanted; });
  return static_cast<size_t>(at - entries_.begin());
}

const Value* Dict::find(std::string_view key) const {
  size_t at = lower_bound(key);
  return at < entries_.size() && entries_[at].key == key ? &entries_[at].value : nullptr;
}

Value* Dict::find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

Value& Dict::set(std::string_view key, Value value) {
  CANOPY_CHECK(!key.empty());
  size_t at = lower_bound(key);
  if (at < entries_.size() && entries_[at].key == key) {
    entries_[at].value = std::move(value);
  } else {
    entries_.insert(entries_.begin() + static_cast<ptrdiff_t>(at), Entry{std::string(key), std::move(value)});
  }
  return entries_[at].value;
}

bool Dict::erase(std::string_view key) {
  size_t at = lower_bound(key);
  if (at >= entries_.size() || entries_[at].key != key) return false;
  entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(at));
  return true;
}

std::string_view Dict::string_or(std::string_view key, std::string_view fallback) const {
  const Value* value = find(key);
  const std::string* text = value ? value->string() : nullptr;
  return text ? std::string_view(*text) : fallback;
}

int64_t Dict::number_or(std::string_view key, int64_t fallback) const {
  const Value* value = find(key);
  const int64_t* number = value ? value->number() : nullptr;
  return number ? *number : fallback;
}

bool Dict::bool_or(std::string_view key, bool fallback) const {
  const Value* value = find(key);
  return value ? value->boolean().value_or(fallback) : fallback;
}

namespace {

std::unexpected<Error> wrong_kind(std::string_view key, const Value* found, Kind wanted) {
  if (found == nullptr) return fail(Code::kNotFound, std::string(key), "the dictionary has no such key");
  return fail(Code::kInvalidArgument, std::string(key),
              fmt::format("must be a {}, is a {}", kind_name(wanted), kind_name(found->kind())));
}

}  // namespace

Result<std::string> Dict::require_string(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr || value->string() == nullptr) return wrong_kind(key, value, Kind::kString);
  return *value->string();
}

Result<int64_t> Dict::require_number(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr || value->number() == nullptr) return wrong_kind(key, value, Kind::kNumber);
  return *value->number();
}

bool Dict::operator==(const Dict& other) const { return entries_ == other.entries_; }

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNull: return "null";
    case Kind::kString: return "string";
    case Kind::kNumber: return "number";
    case Kind::kDate: return "date";
    case Kind::kData: return "data block";
    case Kind::kArray: return "array";
    case Kind::kDict: return "dictionary";
  }
  return "value";
}

std::optional<bool> Value::boolean() const {
  const std::string* text = string();
  if (text == nullptr) return std::nullopt;
  auto is = [text](std::string_view word) {
    return std::equal(text->begin(), text->end(), word.begin(), word.end(),
                      [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 32 : a) == b; });
  };
  if (is("YES")) return true;
  if (is("NO")) return false;
  return std::nullopt;
}

}  // namespace canopy::dict
