// Values of settings and info files (docs/formats/dictionary.md): null, string, number, date, data, array,
// dictionary. Plain values: cheap to move, deep to copy, no thread of their own.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::dict {

class Value;
struct Entry;

struct Null {
  auto operator<=>(const Null&) const = default;
};

struct Data {  // bytes that are no text
  std::string bytes;
  auto operator<=>(const Data&) const = default;
};

// A moment of UTC in whole seconds, or a day. Years 1 to 9999 of the proleptic Gregorian calendar.
struct Date {
  int64_t unix_seconds = 0;  // of a day: its midnight
  bool has_time = true;
  auto operator<=>(const Date&) const = default;

  std::string to_string() const;                            // 23-10-2026_12:30:00 or 23-10-2026
  static std::optional<Date> parse(std::string_view text);  // the same forms, exactly
  std::string to_iso() const;                               // 2026-10-23T12:30:00Z or 2026-10-23
  static std::optional<Date> parse_iso(std::string_view text);
};
inline constexpr int64_t kDateSecondsMin = -62'135'596'800;  // 01-01-0001_00:00:00
inline constexpr int64_t kDateSecondsMax = 253'402'300'799;  // 31-12-9999_23:59:59

using Array = std::vector<Value>;

// An ordered map from keys to values, sorted by the keys' bytes. Appending in order costs O(1); inserting in
// between O(n).
class Dict {
 public:
  Dict();
  Dict(std::initializer_list<std::pair<std::string_view, Value>> entries);  // a later key wins
  Dict(const Dict&);
  Dict(Dict&&) noexcept;
  Dict& operator=(const Dict&);
  Dict& operator=(Dict&&) noexcept;
  ~Dict();

  bool empty() const;
  size_t size() const;
  const Entry* begin() const;
  const Entry* end() const;
  Entry* begin();  // values may be changed, keys may not
  Entry* end();

  const Value* find(std::string_view key) const;  // nullptr when absent; valid until the next change
  Value* find(std::string_view key);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  Value& set(std::string_view key, Value value);  // inserts or replaces; the key is not empty
  bool erase(std::string_view key);               // false when absent

  // For settings that have a default: the fallback when the key is absent or of another kind.
  std::string_view string_or(std::string_view key, std::string_view fallback) const;
  int64_t number_or(std::string_view key, int64_t fallback) const;
  bool bool_or(std::string_view key, bool fallback) const;
  // For keys that must be there: kNotFound names an absent key, kInvalidArgument one of another kind.
  Result<std::string> require_string(std::string_view key) const;
  Result<int64_t> require_number(std::string_view key) const;

  bool operator==(const Dict& other) const;

 private:
  friend class Parser;
  size_t lower_bound(std::string_view key) const;
  std::vector<Entry> entries_;
};

enum class Kind : uint8_t { kNull, kString, kNumber, kDate, kData, kArray, kDict };
std::string_view kind_name(Kind kind);  // "null", "string", … for messages

class Value {
 public:
  Value() = default;  // null
  Value(Null) {}
  Value(std::string text) : store_(std::move(text)) {}
  Value(std::string_view text) : store_(std::string(text)) {}
  Value(const char* text) : store_(std::string(text)) {}
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  Value(T number) : store_(static_cast<int64_t>(number)) {}  // caller: within int64
  Value(Date date) : store_(date) {}
  Value(Data data) : store_(std::move(data)) {}
  Value(Array array) : store_(std::move(array)) {}
  Value(Dict dict) : store_(std::move(dict)) {}
  // Settings say YES and NO; there is no kind of its own.
  static Value boolean(bool yes) { return Value(yes ? "YES" : "NO"); }

  Kind kind() const { return static_cast<Kind>(store_.index()); }
  bool is_null() const { return kind() == Kind::kNull; }

  // nullptr when the value is of another kind.
  const std::string* string() const { return std::get_if<std::string>(&store_); }
  const int64_t* number() const { return std::get_if<int64_t>(&store_); }
  const Date* date() const { return std::get_if<Date>(&store_); }
  const Data* data() const { return std::get_if<Data>(&store_); }
  const Array* array() const { return std::get_if<Array>(&store_); }
  const Dict* dict() const { return std::get_if<Dict>(&store_); }
  std::string* string() { return std::get_if<std::string>(&store_); }
  Array* array() { return std::get_if<Array>(&store_); }
  Dict* dict() { return std::get_if<Dict>(&store_); }
  // The string YES or NO, in any case.
  std::optional<bool> boolean() const;

  bool operator==(const Value&) const = default;

 private:
  std::variant<Null, std::string, int64_t, Date, Data, Array, Dict> store_;  // in the order of Kind
};

struct Entry {
  std::string key;
  Value value;
  bool operator==(const Entry&) const = default;
};

inline bool Dict::empty() const { return entries_.empty(); }
inline size_t Dict::size() const { return entries_.size(); }
inline const Entry* Dict::begin() const { return entries_.data(); }
inline const Entry* Dict::end() const { return entries_.data() + entries_.size(); }
inline Entry* Dict::begin() { return entries_.data(); }
inline Entry* Dict::end() { return entries_.data() + entries_.size(); }

}  // namespace canopy::dict
