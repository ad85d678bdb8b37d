// ttrpc from an enemy: the frames, the envelopes in them, statuses, and the split of the bytes over reads.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>

#include "daemon/base/check.h"
#include "daemon/wire/framing_envelope.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/ttrpc.pb.h"

using namespace canopy;
using namespace canopy::wire;

namespace {

// Our readers against protobuf's: what we take, it takes, and finds the same in it.
void look_inside(std::string_view payload) {
  RequestView request;
  if (parse_request(payload, request)) {
    CANOPY_CHECK(request.payload.size() <= payload.size());
    ttrpc::Request reference;
    if (reference.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
      CANOPY_CHECK(reference.service() == request.service && reference.method() == request.method);
      CANOPY_CHECK(reference.payload() == request.payload &&
                   reference.timeout_nano() == request.timeout_nano);
    }
  }
  ResponseView response;
  if (parse_response(payload, response)) {
    decode_status(response.status);
    ttrpc::Response reference;
    if (reference.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
      CANOPY_CHECK(reference.payload() == response.payload);
  }
}

uint64_t read_all(std::string_view bytes, size_t piece, bool look) {
  FrameReader reader;
  uint64_t seen = 0;
  while (!bytes.empty()) {
    auto room = reader.room();
    const size_t count = std::min({piece, bytes.size(), room.size()});
    std::memcpy(room.data(), bytes.data(), count);
    bytes.remove_prefix(count);
    reader.filled(count);
    CANOPY_CHECK(reader.buffer_bytes() <= kWireMessageBytesMax + kFrameHeaderBytes);
    Frame frame;
    FrameReader::State state;
    while ((state = reader.next(frame)) == FrameReader::State::kFrame) {
      seen = seen * 31 + frame.stream_id + frame.payload.size() * 7 + frame.flags + (frame.oversized ? 1 : 0);
      if (look) look_inside(frame.payload);
    }
    if (state == FrameReader::State::kBroken) return seen + 1;
    if (reader.idle()) reader.release();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  [[maybe_unused]] static const auto quiet = google::protobuf::SetLogHandler(nullptr);
  (void)quiet;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const uint64_t whole = read_all(bytes, bytes.size(), true);
  CANOPY_CHECK(read_all(bytes, 1 + data[0], false) == whole);
  look_inside(bytes);
  return 0;
}
