#include "daemon/wire/server/session_methods.h"

namespace canopy::wire {

void SessionMethods::add_to(MethodTable& table) {
  table.add("canopy.v1.Session", "Hello", this, &SessionMethods::hello);
  table.add("canopy.v1.Session", "Ping", this, &SessionMethods::ping);
  table.add("canopy.v1.Session", "Cancel", this, &SessionMethods::cancel);
}

Result<v1::HelloResponse> SessionMethods::hello(CallContext& call, const v1::HelloRequest& request) {
  if (request.version() == 0)
    return fail(Code::kInvalidArgument, "version",
                "name the highest protocol version that you speak, from 1");
  if (!request.role().empty()) {
    const auto role = parse_role(request.role());
    if (!role)
      return fail(Code::kInvalidArgument, "role", fmt::format("there is no role '{}'", request.role()));
    CANOPY_TRY(call.connection().lower_role(*role));
  }
  v1::HelloResponse response;
  response.set_server(options_.server);
  response.set_version(std::min(request.version(), kProtocolVersion));
  response.set_role(std::string(role_name(call.role())));
  response.set_cluster(options_.cluster);
  if (options_.epoch) response.set_epoch(options_.epoch());
  v1::Limits& limits = *response.mutable_limits();
  limits.set_message_bytes_max(kWireMessageBytesMax);
  limits.set_chunk_bytes_max(kWireChunkBytesMax);
  limits.set_streams_max(kWireStreamsPerConnectionMax);
  limits.set_mail_bytes_max(options_.mail_bytes_max);
  limits.set_page_entries_max(options_.page_entries_max);
  limits.set_watch_seconds_max(options_.watch_seconds_max);
  return response;
}

Result<v1::PingResponse> SessionMethods::ping(CallContext&, const v1::PingRequest& request) {
  if (request.answer_bytes() > kPingAnswerBytesMax)
    return fail(Code::kTooLarge, "answer_bytes", fmt::format("at most {}", kPingAnswerBytesMax));
  v1::PingResponse response;
  if (request.answer_bytes() > 0)
    response.mutable_payload()->assign(request.answer_bytes(), '\0');
  else
    response.set_payload(request.payload());
  return response;
}

Result<v1::Empty> SessionMethods::cancel(CallContext& call, const v1::CancelRequest& request) {
  // A call that has ended meanwhile needs no cancelling.
  call.connection().cancel(request.stream_id());
  return v1::Empty();
}

}  // namespace canopy::wire
