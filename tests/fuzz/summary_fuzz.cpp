// A summary does not depend on how the message is cut, is bounded, holds no control character and can be read
// back.
#include "daemon/base/check.h"
#include "daemon/catalog/message_summary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy;
  if (size == 0) return 0;
  std::string_view message(reinterpret_cast<const char*>(data) + 1, size - 1);
  Summarizer whole;
  whole.feed(message);
  MessageSummary summary = whole.finish();
  size_t piece = data[0] % 61 + 1;
  Summarizer cut;
  for (size_t at = 0; at < message.size(); at += piece) cut.feed(message.substr(at, piece));
  CANOPY_CHECK(cut.finish() == summary);
  CANOPY_CHECK(summary.structure.starts_with('(') && summary.structure.ends_with(')'));
  CANOPY_CHECK(summary.structure.size() < 16 * kMimeFieldBytesMax);
  for (char c : summary.structure + summary.subject) CANOPY_CHECK(static_cast<unsigned char>(c) >= ' ');
  CANOPY_CHECK(MessageSummary::decode(summary.encode()) == summary);
  (void)MessageSummary::decode(message);
  return 0;
}
