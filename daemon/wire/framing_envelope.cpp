#include "daemon/wire/framing_envelope.h"

#include "daemon/base/check.h"

namespace canopy::wire {
namespace {

using google::protobuf::MessageLite;

// Protobuf's wire types and keys of fields 1 to 5.
constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
constexpr char key_of(int field, uint64_t type) {
  return static_cast<char>(field << 3 | static_cast<int>(type));
}

class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool done() const { return at_ == end_; }
  bool varint(uint64_t& value) {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0) {
      value = static_cast<uint8_t>(*at_++);
      return true;
    }
    value = 0;
    for (int shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<uint8_t>(*at_++);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool bytes(std::string_view& value) {
    uint64_t size;
    if (!varint(size) || size > static_cast<uint64_t>(end_ - at_)) return false;
    value = {at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }
  bool skip(uint64_t type) {
    uint64_t number;
    std::string_view ignored;
    switch (type) {
      case kVarint: return varint(number);
      case kBytes: return bytes(ignored);
      case kFixed64: return jump(8);
      case kFixed32: return jump(4);
      default: return false;  // groups are not in proto3
    }
  }

 private:
  bool jump(ptrdiff_t count) {
    if (end_ - at_ < count) return false;
    at_ += count;
    return true;
  }
  const char* at_;
  const char* end_;
};

size_t varint_bytes(uint64_t value) { return static_cast<size_t>((std::bit_width(value | 1) + 6) / 7); }

char* put_varint_at(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

char* put_field(char* at, int field, std::string_view bytes) {
  *at++ = key_of(field, kBytes);
  at = put_varint_at(at, bytes.size());
  std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

size_t field_bytes(size_t size) { return 1 + varint_bytes(size) + size; }

// Grows `out` by `size` bytes without filling them first.
char* extend(std::string& out, size_t size) {
  const size_t before = out.size();
  const size_t after = before + size;
  if (out.capacity() < after) out.reserve(std::max(after, out.capacity() * 2));
  out.resize_and_overwrite(after, [](char*, size_t count) { return count; });
  return out.data() + before;
}

char* put_message(char* at, int field, const MessageLite& message, size_t size) {
  *at++ = key_of(field, kBytes);
  at = put_varint_at(at, size);
  auto* end = message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(at));
  CANOPY_CHECK(reinterpret_cast<char*>(end) == at + size);
  return reinterpret_cast<char*>(end);
}

std::unexpected<Error> too_large(size_t size, std::string_view object) {
  return fail(Code::kTooLarge, std::string(object),
              fmt::format("the message has {} bytes, over {}", size, kWireMessageBytesMax));
}

}  // namespace

bool parse_request(std::string_view bytes, RequestView& request) {
  request = {};
  Cursor cursor(bytes);
  while (!cursor.done()) {
    uint64_t key, number;
    if (!cursor.varint(key)) return false;
    bool good;
    switch (key) {
      case 1 << 3 | kBytes: good = cursor.bytes(request.service); break;
      case 2 << 3 | kBytes: good = cursor.bytes(request.method); break;
      case 3 << 3 | kBytes: good = cursor.bytes(request.payload); break;
      case 4 << 3 | kVarint:
        good = cursor.varint(number);
        request.timeout_nano = static_cast<int64_t>(number);
        break;
      default: good = key >> 3 != 0 && cursor.skip(key & 7);
    }
    if (!good) return false;
  }
  return true;
}

bool parse_response(std::string_view bytes, ResponseView& response) {
  response = {};
  Cursor cursor(bytes);
  while (!cursor.done()) {
    uint64_t key;
    if (!cursor.varint(key)) return false;
    bool good;
    switch (key) {
      case 1 << 3 | kBytes: good = cursor.bytes(response.status); break;
      case 2 << 3 | kBytes: good = cursor.bytes(response.payload); break;
      default: good = key >> 3 != 0 && cursor.skip(key & 7);
    }
    if (!good) return false;
  }
  return true;
}

Result<void> append_request(std::string& out, uint32_t stream_id, std::string_view service,
                            std::string_view method, int64_t timeout_nano, const MessageLite& payload) {
  const size_t inner = payload.ByteSizeLong();
  size_t size = field_bytes(service.size()) + field_bytes(method.size()) + field_bytes(inner);
  if (timeout_nano > 0) size += 1 + varint_bytes(static_cast<uint64_t>(timeout_nano));
  if (size > kWireMessageBytesMax) return too_large(size, method);
  char* at = extend(out, kFrameHeaderBytes + size);
  char* const begin = at;
  put_frame_header(at, static_cast<uint32_t>(size), stream_id, FrameType::kRequest);
  at = put_field(at + kFrameHeaderBytes, 1, service);
  at = put_field(at, 2, method);
  at = put_message(at, 3, payload, inner);
  if (timeout_nano > 0) {
    *at++ = key_of(4, kVarint);
    at = put_varint_at(at, static_cast<uint64_t>(timeout_nano));
  }
  CANOPY_CHECK(at == begin + kFrameHeaderBytes + size);
  return {};
}

Result<void> append_response(std::string& out, uint32_t stream_id, const MessageLite& payload) {
  const size_t inner = payload.ByteSizeLong();
  const size_t size = field_bytes(inner);
  if (size > kWireMessageBytesMax) return too_large(size, "response");
  char* at = extend(out, kFrameHeaderBytes + size);
  put_frame_header(at, static_cast<uint32_t>(size), stream_id, FrameType::kResponse);
  put_message(at + kFrameHeaderBytes, 2, payload, inner);
  return {};
}

void append_failure(std::string& out, uint32_t stream_id, std::string_view status) {
  const size_t size = field_bytes(status.size());
  char* at = extend(out, kFrameHeaderBytes + size);
  put_frame_header(at, static_cast<uint32_t>(size), stream_id, FrameType::kResponse);
  put_field(at + kFrameHeaderBytes, 1, status);
}

}  // namespace canopy::wire
