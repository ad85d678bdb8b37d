// WireBackend over a real RpcServer, whose methods answer from a table: every field goes where it belongs.
#include <gtest/gtest.h>

#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/server/rpc_server.h"
#include "daemon/wire/server/session_methods.h"
#include "proto-frontends/common/wire_backend.h"

namespace canopy::frontend {
namespace {

struct FakeDaemon {
  std::vector<std::string> said;
  std::string uploaded;
  int deliveries = 0;

  Result<v1::ResolveResponse> resolve(wire::CallContext&, const v1::ResolveRequest& request) {
    v1::ResolveResponse out;
    for (const auto& address : request.addresses()) {
      auto* result = out.add_results();
      if (address.starts_with("none@")) {
        result->mutable_error()->set_code(static_cast<uint32_t>(Code::kNotFound));
        result->mutable_error()->set_message("no such account");
      } else if (address.starts_with("odd@")) {
        result->mutable_error()->set_code(9999);
      } else {
        result->set_account(address);
      }
    }
    return out;
  }
  Result<v1::OpenUploadResponse> open_upload(wire::CallContext&, const v1::OpenUploadRequest&) {
    v1::OpenUploadResponse out;
    out.set_upload_id(77);
    return out;
  }
  Result<v1::UploadResponse> upload(wire::CallContext&, const v1::UploadRequest& request) {
    if (request.upload_id() != 77 || request.offset() != uploaded.size())
      return fail(Code::kInvalidArgument, "upload", "wrong id or offset");
    uploaded += request.data();
    v1::UploadResponse out;
    out.set_next_offset(uploaded.size());
    return out;
  }
  Result<v1::DeliverResponse> deliver(wire::CallContext&, const v1::DeliverRequest& request) {
    ++deliveries;
    said.push_back(fmt::format("{} {} {}", request.return_path(), request.upload_id(), request.content()));
    v1::DeliverResponse out;
    for (const auto& recipient : request.recipients()) {
      auto* result = out.add_results();
      if (recipient.request_id().size() != 16)
        return fail(Code::kInvalidArgument, "request_id", "not 16 bytes");
      if (recipient.address() == "full@x.org")
        result->mutable_error()->set_code(static_cast<uint32_t>(Code::kQuotaExceeded));
      else
        result->set_uid(1);
    }
    return out;
  }
  Result<v1::AuthenticateResponse> authenticate(wire::CallContext&, const v1::AuthenticateRequest& request) {
    if (request.response() != std::string("\0a\0b", 4)) return fail(Code::kUnauthenticated, "a", "no");
    v1::AuthenticateResponse out;
    out.set_done(true);
    out.set_account("a@" + request.domain());
    out.set_ticket("T");
    return out;
  }
  Result<v1::ListMessagesResponse> list(wire::CallContext&, const v1::ListMessagesRequest& request) {
    if (request.account().ticket() != "T") return fail(Code::kUnauthenticated, "ticket", "wrong");
    v1::ListMessagesResponse out;
    out.set_uid_validity(9);
    out.set_mailbox_id(1);
    for (uint32_t uid = request.after_uid() + 1; uid <= 5 && out.messages_size() < 2; ++uid) {
      out.add_messages()->set_uid(uid);
      out.mutable_messages(out.messages_size() - 1)->set_size(uid * 10);
    }
    out.set_end(request.after_uid() + 2 >= 5);
    return out;
  }
  Result<v1::ExpungeResponse> expunge(wire::CallContext&, const v1::ExpungeRequest& request) {
    for (const auto& range : request.uids())
      said.push_back(fmt::format("{}-{}", range.first(), range.last()));
    return v1::ExpungeResponse();
  }
  Result<v1::FetchManyResponse> fetch_many(wire::CallContext&, const v1::FetchManyRequest& request) {
    v1::FetchManyResponse out;
    for (uint32_t uid : request.uids()) {
      auto* message = out.add_messages();
      message->set_uid(uid);
      if (uid == 3)
        message->mutable_error()->set_code(static_cast<uint32_t>(Code::kDamaged));
      else
        message->set_content(fmt::format("content {}", uid));
    }
    return out;
  }
};

class WireBackendTest : public testing::Test {
 protected:
  WireBackendTest() : loop(*UringLoop::create({.entries = 64, .file_workers = 1})) {
    session.add_to(table);
    table.add<v1::ResolveRequest, v1::ResolveResponse>("canopy.v1.Directory", "Resolve", &daemon,
                                                       &FakeDaemon::resolve);
    table.add<v1::DeliverRequest, v1::DeliverResponse>("canopy.v1.Mailboxes", "Deliver", &daemon,
                                                       &FakeDaemon::deliver);
    table.add<v1::OpenUploadRequest, v1::OpenUploadResponse>("canopy.v1.Mailboxes", "OpenUpload", &daemon,
                                                             &FakeDaemon::open_upload);
    table.add<v1::UploadRequest, v1::UploadResponse>("canopy.v1.Mailboxes", "Upload", &daemon,
                                                     &FakeDaemon::upload);
    table.add<v1::AuthenticateRequest, v1::AuthenticateResponse>("canopy.v1.Session", "Authenticate", &daemon,
                                                                 &FakeDaemon::authenticate);
    table.add<v1::ListMessagesRequest, v1::ListMessagesResponse>("canopy.v1.Mailboxes", "ListMessages",
                                                                 &daemon, &FakeDaemon::list);
    table.add<v1::ExpungeRequest, v1::ExpungeResponse>("canopy.v1.Mailboxes", "Expunge", &daemon,
                                                       &FakeDaemon::expunge);
    table.add<v1::FetchManyRequest, v1::FetchManyResponse>("canopy.v1.Mailboxes", "FetchMany", &daemon,
                                                           &FakeDaemon::fetch_many);
    address = *Address::parse("unix:" CANOPY_BINARY_DIR "/wire_backend_test.sock");
    start_server();
    wire::ClientOptions options;
    options.addresses = {address};
    options.role = "frontend";
    options.call_timeout = kSecond;
    options.backoff_max = 50 * kMillisecond;
    backend = std::make_unique<WireBackend>(*loop, options);
  }
  ~WireBackendTest() override {
    loop->run_until_done(backend->close());
    stop_server();
  }
  void start_server() {
    server = std::make_unique<wire::RpcServer>(*loop, table);
    server->serve(std::move(*loop->listen(address, {})));
  }
  void stop_server() {
    if (server != nullptr) loop->run_until_done(server->stop(loop->now() + kSecond));
    server.reset();
  }

  std::unique_ptr<UringLoop> loop;
  FakeDaemon daemon;
  wire::MethodTable table;
  wire::SessionMethods session{wire::SessionMethods::Options{}};
  Address address;
  std::unique_ptr<wire::RpcServer> server;
  std::unique_ptr<WireBackend> backend;
};

TEST_F(WireBackendTest, resolves_with_one_answer_for_each_address) {
  auto results = loop->run_until_done(backend->resolve({"ann@x.org", "none@x.org", "odd@x.org"}, 10));
  ASSERT_TRUE(results) << results.error().to_string();
  EXPECT_EQ((*results)[0], "ann@x.org");
  EXPECT_EQ((*results)[1].error().code(), Code::kNotFound);
  EXPECT_EQ((*results)[2].error().code(), Code::kInternal) << "a code of a later version is no verdict";
}

TEST_F(WireBackendTest, delivers_inline_and_by_upload) {
  Delivery delivery;
  delivery.recipients = {{"ann@x.org", std::string(16, 'i')}, {"full@x.org", std::string(16, 'j')}};
  delivery.return_path = "s@y";
  delivery.content = "text";
  auto results = loop->run_until_done(backend->deliver(delivery));
  ASSERT_TRUE(results) << results.error().to_string();
  EXPECT_TRUE((*results)[0]);
  EXPECT_EQ((*results)[1].error().code(), Code::kQuotaExceeded);
  auto id = loop->run_until_done(backend->open_upload({"ann@x.org"}, 8));
  ASSERT_TRUE(id) << id.error().to_string();
  ASSERT_TRUE(loop->run_until_done(backend->upload(*id, 0, "part")));
  ASSERT_TRUE(loop->run_until_done(backend->upload(*id, 4, "more")));
  delivery.content.clear();
  delivery.upload_id = *id;
  ASSERT_TRUE(loop->run_until_done(backend->deliver(delivery)));
  EXPECT_EQ(daemon.uploaded, "partmore");
  EXPECT_EQ(daemon.said, (std::vector<std::string>{"s@y 0 text", "s@y 77 "}));
  auto again = loop->run_until_done(backend->deliver(delivery));
  EXPECT_EQ(again.error().code(), Code::kTryAgain) << "an upload is used once";
}

TEST_F(WireBackendTest, an_upload_that_was_given_up_closes_its_connection) {
  auto id = loop->run_until_done(backend->open_upload({"ann@x.org"}, 8));
  ASSERT_TRUE(id);
  EXPECT_EQ(server->stats().connections, 1u);
  backend->drop_upload(*id);
  auto wait = [](Loop& on, const wire::RpcServer& from) -> Task<void> {
    for (int i = 0; i < 1000 && from.stats().connections > 0; ++i) co_await on.sleep(kMillisecond);
  };
  loop->run_until_done(wait(*loop, *server));
  EXPECT_EQ(server->stats().connections, 0u);
}

TEST_F(WireBackendTest, authenticates_lists_every_page_and_expunges_in_ranges) {
  SaslRound round;
  round.mechanism = "PLAIN";
  round.response = std::string("\0a\0b", 4);
  round.domain = "x.org";
  auto answer = loop->run_until_done(backend->authenticate(round));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->access.account, "a@x.org");
  auto list = loop->run_until_done(backend->list_inbox(answer->access));
  ASSERT_TRUE(list) << list.error().to_string();
  EXPECT_EQ(list->uids, (std::vector<uint32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(list->sizes, (std::vector<uint32_t>{10, 20, 30, 40, 50}));
  EXPECT_EQ(list->uid_validity, 9u);
  ASSERT_TRUE(
      loop->run_until_done(backend->expunge(answer->access, 1, {1, 2, 3, 7, 9, 10}, std::string(16, 'x'))));
  EXPECT_EQ(daemon.said, (std::vector<std::string>{"1-3", "7-7", "9-10"}));
  round.response = "wrong";
  EXPECT_EQ(loop->run_until_done(backend->authenticate(round)).error().code(), Code::kUnauthenticated);
}

TEST_F(WireBackendTest, a_damaged_message_ahead_is_no_failure_of_the_first) {
  auto contents = loop->run_until_done(backend->fetch_many({"a", "T"}, 1, {1, 2, 3, 4}, 1000));
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->size(), 2u);
  EXPECT_EQ(loop->run_until_done(backend->fetch_many({"a", "T"}, 1, {3, 4}, 1000)).error().code(),
            Code::kDamaged);
}

TEST_F(WireBackendTest, a_backend_that_is_away_is_retryable_and_found_again) {
  ASSERT_TRUE(loop->run_until_done(backend->resolve({"ann@x.org"}, 0)));
  stop_server();
  auto results = loop->run_until_done(backend->resolve({"ann@x.org"}, 0));
  ASSERT_FALSE(results);
  EXPECT_TRUE(results.error().retryable()) << results.error().to_string();
  start_server();
  EXPECT_TRUE(loop->run_until_done(backend->resolve({"ann@x.org"}, 0)));
}

}  // namespace
}  // namespace canopy::frontend
