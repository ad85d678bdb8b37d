// A listing of mailboxes that is larger than a message.
#include "daemon/wire/client/listing.h"
#include "tests/wire/services_fixture.h"

namespace canopy::wire {
namespace {

TEST_F(ServicesTest, MailboxesAndSubscriptionsComeInPagesThatFitIntoAMessage) {
  MailboxesStub stub(*admin);
  const v1::AccountRef account = named(kUser);
  for (int i = 0; i < 300;
       ++i) {  // 32 levels each, names of up to 1,000 bytes: together more than one message
    v1::CreateMailboxRequest create;
    *create.mutable_account() = account;
    std::string name = fmt::format("{:03}", i);
    for (int level = 1; level < 32; ++level) name += "/" + std::string(30, 'x');
    create.set_name(name);
    ASSERT_TRUE(run(stub.create(create)));
  }
  v1::SubscribeRequest subscribe;
  *subscribe.mutable_account() = account;
  subscribe.set_on(true);
  for (const char* name : {"A", "B", "INBOX"}) {  // two of them are the names of no mailbox
    subscribe.set_name(name);
    ASSERT_TRUE(run(stub.subscribe(subscribe)));
  }
  v1::ListMailboxesRequest request;
  request.set_name(account.name());
  auto first = run(stub.list(request));
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_FALSE(first->next().empty());
  EXPECT_EQ(first->subscriptions_size(), 0);
  auto all = run(list_all_mailboxes(stub, account));
  ASSERT_TRUE(all) << all.error().to_string();
  std::set<uint32_t> ids;
  for (const auto& mailbox : all->mailboxes()) ids.insert(mailbox.id());
  EXPECT_EQ(ids.size(), 1u + 300 * 32);
  EXPECT_EQ(all->mailboxes_size(), 1 + 300 * 32);
  EXPECT_THAT(all->subscriptions(), testing::ElementsAre("A", "B", "INBOX"));

  request.set_limit(7);
  v1::ListMailboxesResponse by_seven;
  do {
    auto page = run(stub.list(request));
    ASSERT_TRUE(page) << page.error().to_string();
    EXPECT_LE(page->mailboxes_size() + page->subscriptions_size(), 7);
    request.set_cursor(page->next());
    by_seven.MergeFrom(*page);
  } while (!request.cursor().empty());
  by_seven.clear_next();
  EXPECT_EQ(by_seven.SerializeAsString(), all->SerializeAsString());

  request.set_cursor("abc");
  EXPECT_EQ(code_of(run(stub.list(request))), Code::kInvalidArgument);
}

}  // namespace
}  // namespace canopy::wire
