// A client that nobody here wrote: Debian's Go ttrpc package, in the example of tools/examples/go-client,
// against our server. The services behind it are a few lines of this test; the daemon's own are tested with
// it in tests/integration.
#include <gtest/gtest.h>

#include <cstdio>
#include <thread>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"

namespace canopy::wire {
namespace {

class OneMailbox {
 public:
  void add_to(MethodTable& table) {
    table.add("canopy.v1.Session", "Authenticate", this, &OneMailbox::authenticate);
    table.add("canopy.v1.Mailboxes", "Deliver", this, &OneMailbox::deliver);
    table.add("canopy.v1.Mailboxes", "ListMessages", this, &OneMailbox::list);
    table.add("canopy.v1.Mailboxes", "FetchMany", this, &OneMailbox::fetch);
  }

 private:
  Result<v1::AuthenticateResponse> authenticate(CallContext&, const v1::AuthenticateRequest& request) {
    if (request.mechanism() != "PLAIN" || request.response() != std::string("\0go@company.com\0secret", 22))
      return fail(Code::kUnauthenticated, "go@company.com", "wrong password");
    v1::AuthenticateResponse response;
    response.set_done(true);
    response.set_account("go@company.com");
    response.set_ticket("a ticket");
    return response;
  }
  Task<Result<v1::DeliverResponse>> deliver(CallContext& call, const v1::DeliverRequest& request) {
    co_await call.loop().sleep(kMillisecond);
    if (call.deadline() == kNever || request.recipients(0).request_id().size() != kRequestIdBytes)
      co_return fail(Code::kInvalidArgument, "request", "no deadline or no request id came");
    messages_.push_back(request.content());
    v1::DeliverResponse response;
    auto* result = response.add_results();
    result->set_account(request.recipients(0).address());
    result->set_uid(static_cast<uint32_t>(messages_.size()));
    co_return response;
  }
  Result<v1::ListMessagesResponse> list(CallContext&, const v1::ListMessagesRequest& request) {
    if (request.account().ticket() != "a ticket") return fail(Code::kUnauthenticated, "ticket", "not ours");
    v1::ListMessagesResponse response;
    response.set_uid_validity(5);
    for (size_t i = 0; i < messages_.size(); ++i)
      response.add_messages()->set_uid(static_cast<uint32_t>(i + 1));
    return response;
  }
  Result<v1::FetchManyResponse> fetch(CallContext&, const v1::FetchManyRequest& request) {
    v1::FetchManyResponse response;
    auto* message = response.add_messages();  // one at a time: the client has to come back
    message->set_uid(request.uids(0));
    message->set_content(messages_[request.uids(0) - 1]);
    return response;
  }

  std::vector<std::string> messages_ = {std::string(1'000'000, 'm')};
};

Task<void> stop(RpcServer& server, UringLoop& loop) {
  co_await server.stop(loop.now() + kSecond);
  loop.stop();
}

struct Outcome {
  int status;
  std::string text;
};

Outcome run(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  Outcome outcome{-1, {}};
  char piece[4096];
  while (size_t got = fread(piece, 1, sizeof piece, pipe)) outcome.text.append(piece, got);
  outcome.status = pclose(pipe);
  return outcome;
}

TEST(GoClient, TalksToOurServer) {
  SessionMethods session({.server = "canopyd/test"});
  OneMailbox mailbox;
  MethodTable table;
  session.add_to(table);
  mailbox.add_to(table);
  auto loop = *UringLoop::create();
  const std::string path = fmt::format("/tmp/canopy-go-{}.sock", getpid());
  auto listener = *loop->listen({Address::Kind::kUnix, path, 0}, {});
  RpcServer server(*loop, table);
  std::thread thread([&] {
    server.serve(std::move(listener));
    loop->run();
  });
  const std::string base =
      fmt::format("{} -socket {} -account go@company.com -password ", CANOPY_GO_CLIENT, path);
  const Outcome good = run(base + "secret");
  EXPECT_EQ(good.status, 0) << good.text;
  for (std::string_view line :
       {"hello: canopyd/test, protocol 1, role frontend, messages up to 4194304 bytes",
        "ping: \"are you there\"", "deliver: go@company.com has it as UID 2",
        "authenticate: go@company.com, ticket of 8 bytes", "list: 2 messages, UIDVALIDITY 5",
        "fetch: UID 1, 1000000 bytes", "the message that was delivered came back"})
    EXPECT_NE(good.text.find(line), std::string::npos) << line << "\n" << good.text;
  const Outcome bad = run(base + "wrong");
  EXPECT_NE(bad.status, 0);
  EXPECT_NE(bad.text.find("go@company.com: wrong password (unauthenticated, retryable false)"),
            std::string::npos)
      << bad.text;
  loop->post([&] { loop->spawn(stop(server, *loop)); });
  thread.join();
}

}  // namespace
}  // namespace canopy::wire
