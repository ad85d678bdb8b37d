// Failures on the wire: a google.rpc.Status with the gRPC code that fits, and Canopy's own Error as its first
// detail (docs/protocol/errors.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/error.h"

namespace canopy::v1 {
class Error;
class Owner;
}  // namespace canopy::v1

namespace canopy::wire {

inline constexpr std::string_view kErrorTypeUrl = "type.googleapis.com/canopy.v1.Error";
// Object of the kTryAgain with which a server that is being drained refuses a call before it has looked at
// it, so that the client knows that nothing has happened and goes elsewhere.
inline constexpr std::string_view kDrainingObject = "draining-server";

int grpc_code_of(Code code);
Code code_of_grpc(int grpc_code);  // for servers that send no details

// Owner: with kWrongBackend; may be null.
std::string encode_status(const Error& error, const v1::Owner* owner = nullptr);

// What a Status says. nullopt: it is OK. `owner` may be null; filled when the status names one.
std::optional<Error> decode_status(std::string_view bytes, v1::Owner* owner = nullptr);

// As it stands inside messages (CreateAccountResult.error, …).
void fill_error(const Error& error, v1::Error& out);
Error error_of(const v1::Error& in);

}  // namespace canopy::wire
