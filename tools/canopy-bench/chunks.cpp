// canopy-bench chunks: one large message up and down in chunks, with few or many of them under way, beside
// raw sockets that answer as many bytes: what the round trip of a chunk costs.
#include "daemon/base/limits.h"
#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tools/canopy-bench/raw_ping.h"
#include "tools/canopy-bench/scenario.h"

namespace canopy::bench {
namespace {

struct Options {
  std::string server, account;
  std::vector<uint32_t> depths = {1, 2, 4};
  uint32_t mib = 100, rounds = 10;
};

struct Run {
  UringLoop& loop;
  wire::Client& client;
  const Options& options;
  uint32_t uid = 0;
  uint64_t next = 0;  // offset of the chunk that is asked for next
  std::optional<Error> error = {};
  uint64_t bytes() const { return uint64_t{options.mib} << 20; }
  v1::AccountRef account() const {
    v1::AccountRef of;
    of.set_name(options.account);
    return of;
  }
};

double mb_per_s(uint64_t bytes, Nanos took) {
  return rounded(static_cast<double>(bytes) * 1e3 / static_cast<double>(took));
}

// A message of that size: headers and one long text, in chunks one after the other.
Task<Result<double>> upload(Run& run) {
  const wire::MailboxesStub mailboxes(run.client);
  const Nanos begun = run.loop.now();
  v1::OpenUploadRequest open;
  *open.mutable_account() = run.account();
  open.set_bytes(run.bytes());
  CANOPY_CO_ASSIGN(const auto opened, co_await mailboxes.open_upload(open));
  std::string line(kWireChunkBytesMax, 'x');
  for (size_t at = 78; at + 1 < line.size(); at += 80) line.replace(at, 2, "\r\n");
  v1::UploadRequest chunk;
  chunk.set_upload_id(opened.upload_id());
  for (uint64_t offset = 0; offset < run.bytes(); offset += kWireChunkBytesMax) {
    chunk.set_offset(offset);
    chunk.set_data(line);
    if (offset == 0) chunk.mutable_data()->replace(0, 20, "Subject: large\r\n\r\n12");
    CANOPY_CO_TRY(co_await mailboxes.upload(chunk));
  }
  v1::AppendRequest append;
  *append.mutable_account() = run.account();
  append.set_mailbox("INBOX");
  append.set_upload_id(opened.upload_id());
  append.set_request_id(run.client.new_request_id());
  CANOPY_CO_ASSIGN(const auto appended, co_await mailboxes.append(append));
  run.uid = appended.uid();
  co_return mb_per_s(run.bytes(), run.loop.now() - begun);
}

Task<void> fetch_next(Run& run) {
  v1::FetchRequest fetch;
  *fetch.mutable_account() = run.account();
  fetch.set_mailbox("INBOX");
  fetch.set_uid(run.uid);
  while (run.next < run.bytes() && !run.error) {
    fetch.set_offset(run.next);
    fetch.set_bytes(kWireChunkBytesMax);
    run.next += kWireChunkBytesMax;
    auto got = co_await wire::MailboxesStub(run.client).fetch(fetch);
    if (!got)
      run.error.emplace(got.error());
    else if (got->data().size() != kWireChunkBytesMax)
      run.error.emplace(Code::kInternal, run.options.account, "a chunk came short");
  }
}

Task<Result<double>> fetch_all(Run& run, uint32_t depth) {
  const Nanos begun = run.loop.now();
  for (uint32_t round = 0; round < run.options.rounds; ++round) {
    run.next = 0;
    TaskGroup group(run.loop);
    for (uint32_t i = 0; i < depth; ++i) group.spawn(fetch_next(run));
    co_await group.join();
    if (run.error) co_return fail(*run.error);
  }
  co_return mb_per_s(run.bytes() * run.options.rounds, run.loop.now() - begun);
}

Task<Result<Report>> measure(Run& run) {
  Report report("chunks");
  CANOPY_CO_ASSIGN(const double up, co_await upload(run));
  report.add_row({{"what", "upload, durable"}, {"under_way", 1}, {"mb_per_s", up}});
  for (const uint32_t depth : run.options.depths) {
    CANOPY_CO_ASSIGN(const double down, co_await fetch_all(run, depth));
    report.add_row({{"what", "fetch"}, {"under_way", depth}, {"mb_per_s", down}});
    CANOPY_CO_ASSIGN(const RawPing raw,
                     raw_ping(false, {.request = 100, .answer = kWireChunkBytesMax}, depth, 2));
    report.add_row({{"what", "raw unix"},
                    {"under_way", depth},
                    {"mb_per_s", rounded(raw.requests_per_s * kWireChunkBytesMax / 1e6)}});
  }
  v1::ExpungeRequest expunge;
  *expunge.mutable_account() = run.account();
  expunge.set_mailbox("INBOX");
  auto* range = expunge.add_uids();
  range->set_first(run.uid);
  range->set_last(run.uid);
  CANOPY_CO_TRY(co_await wire::MailboxesStub(run.client).expunge(expunge));
  co_return report;
}

Result<Report> run(const Options& options) {
  CANOPY_ASSIGN(Address to, Address::parse(options.server));
  CANOPY_ASSIGN(auto loop, UringLoop::create());
  wire::ClientOptions client_options;
  client_options.addresses = {to};
  wire::Client client(*loop, client_options);
  Run run{.loop = *loop, .client = client, .options = options};
  auto report = loop->run_until_done(measure(run));
  loop->run_until_done(client.close());
  return report;
}

}  // namespace

void add_chunks(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("chunks", "a large message up and down in chunks, beside raw sockets");
  command->add_option("--server", options->server, "unix:PATH or tcp:HOST:PORT of canopyd")->required();
  command->add_option("--account", options->account, "to which the message is appended, and removed from")
      ->required();
  command->add_option("--depths", options->depths, "chunks under way at once; rows for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command->add_option("--mib", options->mib, "size of the message")->check(CLI::Range(1, 512));
  command->add_option("--rounds", options->rounds, "how often it is fetched for each row")
      ->check(CLI::Range(1, 1000));
  choose(command, chosen, options, &run);
}

}  // namespace canopy::bench
