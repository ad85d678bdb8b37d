#include "daemon/dict/json.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "daemon/base/base64.h"
#include "daemon/base/limits.h"
#include "daemon/dict/dict.h"
#include "daemon/dict/text.h"

namespace canopy::dict {

namespace {

// Object members keep their order, so that equal dictionaries give equal JSON.
using Json = nlohmann::ordered_json;

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    uint32_t code_point = 0;
    uint32_t length = utf8_sequence(text.substr(at), code_point);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

Json base64_form(const char* member, std::string_view bytes) {
  std::string digits;
  append_base64(digits, bytes);
  return Json{{member, std::move(digits)}};
}

Json string_to_json(const std::string& text) {
  return is_utf8(text) ? Json(text) : base64_form("$bytes", text);
}

Json convert(const Value& value);

Json dict_to_json(const Dict& dict) {
  bool plain = true;
  for (const Entry& entry : dict) plain = plain && !entry.key.starts_with('$') && is_utf8(entry.key);
  Json members = plain ? Json::object() : Json::array();
  for (const Entry& entry : dict) {
    if (plain) {
      members[entry.key] = convert(entry.value);
    } else {
      members.push_back(Json::array({string_to_json(entry.key), convert(entry.value)}));
    }
  }
  if (plain) return members;
  Json wrapped = Json::object();
  wrapped["$dict"] = std::move(members);
  return wrapped;
}

Json convert(const Value& value) {
  switch (value.kind()) {
    case Kind::kNull: return nullptr;
    case Kind::kString: return string_to_json(*value.string());
    case Kind::kNumber: return *value.number();
    case Kind::kDate: return Json{{"$date", value.date()->to_iso()}};
    case Kind::kData: return base64_form("$data", value.data()->bytes);
    case Kind::kArray: {
      Json array = Json::array();
      for (const Value& element : *value.array()) array.push_back(convert(element));
      return array;
    }
    case Kind::kDict: return dict_to_json(*value.dict());
  }
  return nullptr;
}

class JsonReader {
 public:
  explicit JsonReader(std::string_view name) : name_(name) {}

  Result<Value> read(const Json& json, uint32_t depth) {
    if (json.is_null()) return Value();
    if (json.is_string()) return Value(json.get<std::string>());
    if (json.is_boolean()) return Value::boolean(json.get<bool>());
    if (json.is_number_unsigned() &&
        json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return refuse("a number does not fit 64 bits with a sign");
    }
    if (json.is_number_integer()) return Value(json.get<int64_t>());
    if (json.is_array()) return read_array(json, depth + 1);
    if (json.is_object()) return read_object(json, depth + 1);
    return refuse("numbers must be whole");
  }

 private:
  std::unexpected<Error> refuse(std::string message, Code code = Code::kInvalidArgument) {
    return fail(code, std::string(name_), std::move(message));
  }

  Result<> check_depth(uint32_t depth) {
    if (depth > kDictDepthMax)
      return refuse(fmt::format("nested deeper than {} levels", kDictDepthMax), Code::kTooLarge);
    return {};
  }

  Result<Value> read_array(const Json& json, uint32_t depth) {
    CANOPY_TRY(check_depth(depth));
    Array array;
    array.reserve(json.size());
    for (const Json& element : json) {
      CANOPY_ASSIGN(Value value, read(element, depth));
      array.push_back(std::move(value));
    }
    return Value(std::move(array));
  }

  Result<Value> read_object(const Json& json, uint32_t depth) {
    if (json.size() == 1 && json.begin().key().starts_with('$')) {
      return read_special(json.begin().key(), json.begin().value(), depth);
    }
    CANOPY_TRY(check_depth(depth));
    Dict dict;
    for (const auto& [key, member] : json.items()) {
      if (key.starts_with('$'))
        return refuse("keys that begin with '$' stand in {\"$dict\":[[KEY,VALUE],…]}");
      CANOPY_TRY(add(dict, key, member, depth));
    }
    return Value(std::move(dict));
  }

  Result<> add(Dict& dict, const std::string& key, const Json& member, uint32_t depth) {
    if (key.empty()) return refuse("a key is empty");
    if (dict.contains(key)) return refuse(fmt::format("the key {} stands twice", print(Value(key))));
    CANOPY_ASSIGN(Value value, read(member, depth));
    dict.set(key, std::move(value));
    return {};
  }

  Result<Value> read_special(const std::string& form, const Json& json, uint32_t depth) {
    if (form == "$dict") return read_pairs(json, depth);
    std::optional<std::string> bytes;
    if (form == "$date" && json.is_string()) {
      std::optional<Date> date = Date::parse_iso(json.get<std::string>());
      if (date) return Value(*date);
    } else if ((form == "$data" || form == "$bytes") && json.is_string()) {
      bytes = base64_decode(json.get<std::string>());
    }
    if (!bytes) return refuse(fmt::format("malformed {}: $date, $data, $bytes and $dict are known", form));
    return form == "$data" ? Value(Data{*std::move(bytes)}) : Value(*std::move(bytes));
  }

  Result<Value> read_pairs(const Json& json, uint32_t depth) {
    CANOPY_TRY(check_depth(depth));
    if (!json.is_array()) return refuse("$dict takes an array of [KEY,VALUE]");
    Dict dict;
    for (const Json& pair : json) {
      if (!pair.is_array() || pair.size() != 2) return refuse("$dict takes an array of [KEY,VALUE]");
      CANOPY_ASSIGN(Value key, read(pair[0], kDictDepthMax));
      if (key.string() == nullptr) return refuse("a key must be a string");
      CANOPY_TRY(add(dict, *key.string(), pair[1], depth));
    }
    return Value(std::move(dict));
  }

  std::string_view name_;
};

// nlohmann keeps one of two equal members and recurses without bound: both are found on the way in. The
// nested $dict form takes up to four levels of JSON for one of ours.
constexpr int kJsonDepthMax = static_cast<int>(kDictDepthMax) * 4;

struct Refusal {
  std::string message;
  Code code = Code::kInvalidArgument;
};

Json parse_guarded(std::string_view text, std::optional<Refusal>& refusal) {
  std::vector<std::set<std::string>> keys;
  auto guard = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kJsonDepthMax && !refusal) refusal = Refusal{"nested too deep", Code::kTooLarge};
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty() &&
        !keys.back().insert(parsed.get<std::string>()).second && !refusal) {
      refusal = Refusal{fmt::format("the key {} stands twice", print(Value(parsed.get<std::string>())))};
    }
    return !refusal;
  };
  return Json::parse(text, guard, /*allow_exceptions=*/false);
}

}  // namespace

std::string to_json(const Value& value, int indent) { return convert(value).dump(indent); }
std::string to_json(const Dict& dict, int indent) { return dict_to_json(dict).dump(indent); }

Result<Value> from_json(std::string_view text, std::string_view name) {
  if (text.size() > kDictBytesMax) {
    return fail(Code::kTooLarge, std::string(name), fmt::format("longer than {} bytes", kDictBytesMax));
  }
  std::optional<Refusal> refusal;
  Json json = parse_guarded(text, refusal);
  if (refusal) return fail(refusal->code, std::string(name), refusal->message);
  if (json.is_discarded()) return fail(Code::kInvalidArgument, std::string(name), "not well-formed JSON");
  return JsonReader(name).read(json, 0);
}

}  // namespace canopy::dict
