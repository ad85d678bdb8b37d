// Any text is refused with a rule, or prints to text that reads as the same value, in both styles and as
// JSON.
#include "daemon/base/check.h"
#include "daemon/dict/dict.h"
#include "daemon/dict/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy::dict;
  auto value = parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!value) {
    CANOPY_CHECK(!value.error().message().empty());
    return 0;
  }
  for (Style style : {Style::kCompact, Style::kPretty}) {
    std::string text = print(*value, style);
    auto again = parse(text);
    CANOPY_CHECK(again && *again == *value && print(*again, style) == text);
  }
  auto json = from_json(to_json(*value));
  CANOPY_CHECK(json && *json == *value);
  return 0;
}
