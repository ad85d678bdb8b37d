// canopy-bench wire: Ping over the wire protocol, one at a time and pipelined, beside raw sockets of the same
// sizes.
#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "daemon/wire/ttrpc.pb.h"
#include "tools/canopy-bench/process_figures.h"
#include "tools/canopy-bench/raw_ping.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string server;
  std::vector<uint32_t> depths = {1, 16, 64, 256};
  uint32_t payload = 64, answer = 0;
  double seconds = 3;
  bool no_raw = false;
};

struct Row {
  Loop& loop;
  wire::RpcConnection& connection;
  const v1::PingRequest& request;
  Nanos stop_at = 0;
  Latencies latencies = {};
  std::optional<Error> error = {};
};

Task<void> ping_until(Row& row) {
  constexpr std::string_view kService = wire::SessionStub::kService;
  v1::PingResponse response;
  Nanos begun = row.loop.now();
  while (begun < row.stop_at && !row.error) {
    Result<void> done = co_await row.connection.call(kService, "Ping", row.request, response, kNever);
    Nanos ended = row.loop.now();
    if (!done) row.error.emplace(done.error());
    row.latencies.add(ended - begun);
    begun = ended;
  }
}

Task<void> ping_at_depth(Row& row, uint32_t depth) {
  TaskGroup group(row.loop);
  for (uint32_t i = 0; i < depth; ++i) group.spawn(ping_until(row));
  co_await group.join();
}

Task<Result<std::shared_ptr<wire::RpcConnection>>> connect(UringLoop& loop, Address to) {
  CANOPY_CO_ASSIGN(auto stream, co_await loop.connect(to, loop.now() + 5 * kSecond));
  auto connection = wire::RpcConnection::start(loop, std::move(stream));
  v1::HelloRequest hello;
  hello.set_client("canopy-bench");
  hello.set_version(1);
  v1::HelloResponse answer;
  CANOPY_CO_TRY(co_await connection->call(wire::SessionStub::kService, "Hello", hello, answer,
                                          loop.now() + 5 * kSecond));
  co_return connection;
}

Task<void> close_connection(std::shared_ptr<wire::RpcConnection> connection) {
  connection->close();
  co_await connection->wait_closed();
}

// Bytes on the connection for one Ping and its answer, headers included.
PingSizes sizes_of(const v1::PingRequest& request) {
  ttrpc::Request out;
  out.set_service(std::string(wire::SessionStub::kService));
  out.set_method("Ping");
  out.set_payload(request.SerializeAsString());
  v1::PingResponse response;
  response.set_payload(
      std::string(request.answer_bytes() > 0 ? request.answer_bytes() : request.payload().size(), '\0'));
  ttrpc::Response in;
  in.set_payload(response.SerializeAsString());
  return PingSizes{.request = static_cast<uint32_t>(wire::kFrameHeaderBytes + out.ByteSizeLong()),
                   .answer = static_cast<uint32_t>(wire::kFrameHeaderBytes + in.ByteSizeLong())};
}

Result<Json> measure_wire(UringLoop& loop, wire::RpcConnection& connection, const v1::PingRequest& request,
                          uint32_t depth, double seconds) {
  Row row{.loop = loop, .connection = connection, .request = request};
  double cpu_before = own_cpu_seconds();
  Nanos begun = loop.now();
  row.stop_at = begun + static_cast<Nanos>(seconds * 1e9);
  loop.run_until_done(ping_at_depth(row, depth));
  if (row.error) return fail(*row.error);
  double took = static_cast<double>(loop.now() - begun) / 1e9;
  Json figures{{"what", "wire"},
               {"depth", depth},
               {"requests_per_s", rounded(static_cast<double>(row.latencies.count()) / took)}};
  row.latencies.put(figures);
  figures["client_cpu"] = rounded((own_cpu_seconds() - cpu_before) / took);
  return figures;
}

Result<Json> measure_raw(bool tcp, PingSizes sizes, uint32_t depth, double seconds) {
  CANOPY_ASSIGN(RawPing raw, raw_ping(tcp, sizes, depth, seconds));
  Json figures{{"what", tcp ? "raw tcp" : "raw unix"},
               {"depth", depth},
               {"requests_per_s", rounded(raw.requests_per_s)}};
  raw.round_trips.put(figures);
  return figures;
}

Result<Report> run(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  CANOPY_ASSIGN(auto connection, loop->run_until_done(connect(*loop, to)));
  v1::PingRequest request;
  request.set_payload(std::string(options.payload, 'p'));
  request.set_answer_bytes(options.answer);
  PingSizes sizes = sizes_of(request);
  Report report("wire");
  report.add_note(
      fmt::format("on the connection a request is {} bytes, an answer {}", sizes.request, sizes.answer));
  Result<void> done;
  for (uint32_t depth : options.depths) {
    Result<Json> row = measure_wire(*loop, *connection, request, depth, options.seconds);
    if (!row) {
      done = fail(std::move(row).error());
      break;
    }
    Json figures = std::move(*row);
    for (bool tcp : {true, false}) {
      if (options.no_raw) break;
      CANOPY_ASSIGN(Json raw, measure_raw(tcp, sizes, depth, options.seconds / 2));
      bool same_kind = tcp == (to.kind == Address::Kind::kTcp);
      if (depth == 1 && tcp)
        figures["p50_to_raw_tcp"] = rounded(figures["p50_us"].get<double>() / raw["p50_us"].get<double>());
      if (depth == 1 && same_kind && !tcp)
        figures["p50_to_raw_unix"] = rounded(figures["p50_us"].get<double>() / raw["p50_us"].get<double>());
      report.add_row(std::move(raw));
    }
    report.add_row(std::move(figures));
  }
  loop->run_until_done(close_connection(std::move(connection)));
  CANOPY_TRY(std::move(done));
  return report;
}

}  // namespace

void add_wire(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("wire", "Ping over the wire protocol, beside raw sockets");
  command->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd")->required();
  command
      ->add_option("--depths", options->depths, "requests under way at once on one connection; rows for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  command->add_option("--payload", options->payload, "bytes of a request")->check(CLI::Range(0, 65536));
  command->add_option("--answer", options->answer, "bytes of an answer; 0: the payload comes back")
      ->check(CLI::Range(0, 65536));
  command->add_option("--seconds", options->seconds, "for each row; raw rows take half")
      ->check(CLI::PositiveNumber);
  command->add_flag("--no-raw", options->no_raw, "leave the raw sockets out");
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
