// The two messages that ttrpc puts into its frames, Request and Response (ttrpc.proto), read and written by
// hand: they are on the way of every call, and have five and two fields. Unknown fields are skipped.
#pragma once

#include <google/protobuf/message_lite.h>

#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/wire/framing.h"

namespace canopy::wire {

struct RequestView {
  std::string_view service, method, payload;
  int64_t timeout_nano = 0;  // 0: none
};
struct ResponseView {
  std::string_view status;  // an encoded Status; empty: OK
  std::string_view payload;
};

// False when the bytes are no such message. The views point into `bytes`.
bool parse_request(std::string_view bytes, RequestView& request);
bool parse_response(std::string_view bytes, ResponseView& response);

// Appends a whole frame. kTooLarge, and nothing appended, when it would be over kWireMessageBytesMax.
Result<void> append_request(std::string& out, uint32_t stream_id, std::string_view service,
                            std::string_view method, int64_t timeout_nano,
                            const google::protobuf::MessageLite& payload);
Result<void> append_response(std::string& out, uint32_t stream_id,
                             const google::protobuf::MessageLite& payload);
// `status`: an encoded Status (framing_status.h).
void append_failure(std::string& out, uint32_t stream_id, std::string_view status);

}  // namespace canopy::wire
