#include "daemon/wire/framing_status.h"
#include "daemon/dict/text.h"
#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/ttrpc.pb.h"

namespace canopy::wire {
namespace {

// The numbers of google.rpc.Code.
enum Grpc {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

constexpr uint32_t kErrorNumberMax = 4095;  // what the kernel can answer

}  // namespace

int grpc_code_of(Code code) {
  switch (code) {
    case Code::kOk: return kOk;
    case Code::kInvalidArgument: return kInvalidArgument;
    case Code::kNotFound: return kNotFound;
    case Code::kAlreadyExists: return kAlreadyExists;
    case Code::kPermissionDenied: return kPermissionDenied;
    case Code::kUnauthenticated: return kUnauthenticated;
    case Code::kNotEmpty: return kFailedPrecondition;
    case Code::kNotDirectory: return kFailedPrecondition;
    case Code::kIsDirectory: return kFailedPrecondition;
    case Code::kBusy: return kUnavailable;
    case Code::kStoreUnavailable: return kUnavailable;
    case Code::kStoreFull: return kResourceExhausted;
    case Code::kQuotaExceeded: return kResourceExhausted;
    case Code::kTooLarge: return kResourceExhausted;
    case Code::kFenced: return kUnavailable;
    case Code::kWrongBackend: return kUnavailable;
    case Code::kDeadlineExceeded: return kDeadlineExceeded;
    case Code::kCancelled: return kCancelled;
    case Code::kConnectionLost: return kUnavailable;
    case Code::kDamaged: return kDataLoss;
    case Code::kUnsupported: return kUnimplemented;
    case Code::kSuspended: return kFailedPrecondition;
    case Code::kTryAgain: return kUnavailable;
    case Code::kIo: return kUnavailable;
    case Code::kInternal: return kInternal;
    case Code::kConflict: return kAborted;
    case Code::kNoSpaceForName: return kInvalidArgument;
    case Code::kCrossStore: return kFailedPrecondition;
    case Code::kLoop: return kFailedPrecondition;
    case Code::kTooManyLinks: return kFailedPrecondition;
    case Code::kReadOnly: return kFailedPrecondition;
  }
  return kInternal;
}

Code code_of_grpc(int grpc_code) {
  switch (grpc_code) {
    case kOk: return Code::kOk;
    case kCancelled: return Code::kCancelled;
    case kInvalidArgument:
    case kOutOfRange: return Code::kInvalidArgument;
    case kDeadlineExceeded: return Code::kDeadlineExceeded;
    case kNotFound: return Code::kNotFound;
    case kAlreadyExists: return Code::kAlreadyExists;
    case kPermissionDenied: return Code::kPermissionDenied;
    case kResourceExhausted: return Code::kTooLarge;
    case kFailedPrecondition:
    case kAborted: return Code::kConflict;
    case kUnimplemented: return Code::kUnsupported;
    case kUnavailable: return Code::kTryAgain;
    case kDataLoss: return Code::kDamaged;
    case kUnauthenticated: return Code::kUnauthenticated;
    default: return Code::kInternal;
  }
}

// The names of files are any bytes, but a message with a string that is no UTF-8 would not be read at all.
std::string as_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    uint32_t code_point = 0;
    const uint32_t length = dict::utf8_sequence(bytes, code_point);
    if (length == 0)
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint8_t>(bytes[0]));
    else
      out.append(bytes.substr(0, length));
    bytes.remove_prefix(std::max(length, 1u));
  }
  return out;
}

void fill_error(const Error& error, v1::Error& out) {
  out.set_code(static_cast<uint32_t>(error.code()));
  out.set_name(std::string(code_name(error.code())));
  out.set_object(as_utf8(error.object()));
  out.set_message(as_utf8(error.message()));
  out.set_retryable(error.retryable());
  if (error.is_of_system()) out.set_error_number(static_cast<uint32_t>(error.error_number()));
}

Error error_of(const v1::Error& in) {
  // A code of a later version keeps its words; as a number it means nothing here.
  const bool known = in.code() > 0 && in.code() <= static_cast<uint32_t>(Code::kLast);
  const Code unknown = in.retryable() ? Code::kTryAgain : Code::kInternal;
  return Error(known ? static_cast<Code>(in.code()) : unknown, in.object(), in.message(),
               in.error_number() <= kErrorNumberMax ? static_cast<int>(in.error_number()) : 0);
}

std::string encode_status(const Error& error, const v1::Owner* owner) {
  v1::Error detail;
  fill_error(error, detail);
  if (owner != nullptr) *detail.mutable_owner() = *owner;
  ttrpc::Status status;
  status.set_code(grpc_code_of(error.code()));
  status.set_message(as_utf8(error.to_string()));
  auto* any = status.add_details();
  any->set_type_url(std::string(kErrorTypeUrl));
  detail.SerializeToString(any->mutable_value());
  return status.SerializeAsString();
}

std::optional<Error> decode_status(std::string_view bytes, v1::Owner* owner) {
  if (bytes.empty()) return std::nullopt;
  ttrpc::Status status;
  if (!status.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error(Code::kInternal, "response", "the server's status is no valid message");
  if (status.code() == kOk) return std::nullopt;
  for (const auto& any : status.details()) {
    v1::Error detail;
    if (any.type_url() != kErrorTypeUrl || !detail.ParseFromString(any.value())) continue;
    if (owner != nullptr && detail.has_owner()) *owner = detail.owner();
    return error_of(detail);
  }
  return Error(code_of_grpc(status.code()), "server", status.message());
}

}  // namespace canopy::wire
