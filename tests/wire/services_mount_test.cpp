// What the mount asks of the services.
#include "tests/wire/services_fixture.h"

namespace canopy::wire {
namespace {

TEST_F(ServicesTest, AMountWritesMailAndSettingsOfAccountsButSetsNoFlags) {
  auto mount = client("mount");
  v1::AppendRequest append;
  *append.mutable_account() = named(kUser);
  append.set_content("Subject: x\r\n\r\n");
  EXPECT_EQ(code_of(run(MailboxesStub(*mount).append(append))), Code::kOk);
  append.mutable_flags()->set_system(1);
  EXPECT_EQ(code_of(run(MailboxesStub(*mount).append(append))), Code::kPermissionDenied);
  EXPECT_EQ(code_of(run(MailboxesStub(*admin).append(append))), Code::kOk);
  v1::StoreFlagsRequest flags;
  *flags.mutable_account() = named(kUser);
  flags.add_uids()->set_last(1);
  EXPECT_EQ(code_of(run(MailboxesStub(*mount).store_flags(flags))), Code::kPermissionDenied);

  v1::SetInfoRequest settings;
  *settings.mutable_account() = named(kUser);
  settings.set_text("{Colour=green;}");
  EXPECT_EQ(code_of(run(InfoStub(*mount).set(settings))), Code::kOk);
  for (const char* others : {"", "@company.com"}) {
    *settings.mutable_account() = named(others);
    EXPECT_EQ(code_of(run(InfoStub(*mount).set(settings))), Code::kPermissionDenied) << others;
  }
  run(mount->close());
}

TEST_F(ServicesTest, SettingsMayBeWrittenBackAsTheyWereReadAndNothingElseChangesWhatHasItsOwnCommand) {
  v1::GetInfoRequest get;
  *get.mutable_account() = named(kUser);
  const std::string shown = run(InfoStub(*admin).get(get))->text();
  ASSERT_NE(shown.find("Password"), std::string::npos);
  v1::SetInfoRequest set;
  *set.mutable_account() = named(kUser);
  set.set_replace(true);
  set.set_text(shown);
  ASSERT_EQ(code_of(run(InfoStub(*admin).set(set))), Code::kOk);
  EXPECT_EQ(run(InfoStub(*admin).get(get))->text(), shown);
  EXPECT_TRUE(authenticate(*frontend, kUser, "secret"));
  for (const char* wrong :
       {"{Password=other;}", "{State=suspended;}", "{Created=#NULL#;}", "{SessionGeneration=#7;}"}) {
    set.set_text(wrong);
    EXPECT_EQ(code_of(run(InfoStub(*admin).set(set))), Code::kInvalidArgument) << wrong;
  }
  set.set_text("{Colour=green;}");  // what is left out stays
  ASSERT_EQ(code_of(run(InfoStub(*admin).set(set))), Code::kOk);
  EXPECT_TRUE(authenticate(*frontend, kUser, "secret"));
}

TEST_F(ServicesTest, InboxHasItsIdBeforeTheFirstMail) {
  v1::MailboxRequest by_name;
  *by_name.mutable_account() = named(kUser);
  const uint32_t id = run(MailboxesStub(*admin).status(by_name))->id();
  ASSERT_NE(id, 0u);
  v1::MailboxRequest by_id = by_name;
  by_id.set_mailbox_id(id);
  EXPECT_EQ(run(MailboxesStub(*admin).status(by_id))->name(), "INBOX");
  v1::ListMailboxesRequest all;
  all.set_name(kUser);
  auto listed = run(MailboxesStub(*admin).list(all));
  ASSERT_EQ(listed->mailboxes_size(), 1);
  EXPECT_EQ(listed->mailboxes(0).id(), id);
  v1::ListMessagesRequest rows;
  *rows.mutable_account() = named(kUser);
  rows.set_mailbox_id(id);
  EXPECT_EQ(run(MailboxesStub(*admin).list_messages(rows))->messages_size(), 0);
  v1::WatchRequest watch;
  *watch.mutable_account() = named(kUser);
  watch.add_cursors()->set_mailbox_id(id);
  watch.set_seconds(1);
  EXPECT_EQ(run(EventsStub(*admin).watch(watch))->changed_size(), 0);

  v1::AppendRequest append;
  *append.mutable_account() = named(kUser);
  append.set_content("Subject: x\r\n\r\n");
  ASSERT_EQ(code_of(run(MailboxesStub(*admin).append(append))), Code::kOk);
  EXPECT_EQ(run(MailboxesStub(*admin).list_messages(rows))->messages_size(), 1);
  EXPECT_EQ(run(MailboxesStub(*admin).status(by_name))->id(), id);
  EXPECT_EQ(run(EventsStub(*admin).watch(watch))->changed(0).mailbox_id(), id);
}

TEST_F(ServicesTest, AMailboxIsDeletedOnlyWhenItIsEmptyWhereThatIsAsked) {
  MailboxesStub stub(*admin);
  v1::CreateMailboxRequest create_one;
  *create_one.mutable_account() = named(kUser);
  create_one.set_name("Work");
  ASSERT_TRUE(run(stub.create(create_one)));
  v1::AppendRequest append;
  *append.mutable_account() = named(kUser);
  append.set_mailbox("Work");
  append.set_content("Subject: x\r\n\r\n");
  ASSERT_TRUE(run(stub.append(append)));
  v1::DeleteMailboxRequest remove;
  *remove.mutable_account() = named(kUser);
  remove.set_name("Work");
  remove.set_only_empty(true);
  EXPECT_EQ(code_of(run(stub.remove(remove))), Code::kNotEmpty);
  v1::ExpungeRequest expunge;
  *expunge.mutable_account() = named(kUser);
  expunge.set_mailbox("Work");
  expunge.add_uids()->set_last(1);
  ASSERT_TRUE(run(stub.expunge(expunge)));
  EXPECT_EQ(code_of(run(stub.remove(remove))), Code::kOk);
}

TEST_F(ServicesTest, AnUploadIsNeverTakenForOneOfAnotherConnection) {
  v1::OpenUploadRequest open;
  *open.mutable_account() = named(kUser);
  auto other = client("");
  auto first = run(MailboxesStub(*admin).open_upload(open));
  auto second = run(MailboxesStub(*other).open_upload(open));
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->upload_id(), second->upload_id());
  v1::UploadRequest piece;
  piece.set_upload_id(first->upload_id());
  piece.set_data("x");
  EXPECT_EQ(code_of(run(MailboxesStub(*other).upload(piece))), Code::kNotFound);
  run(other->close());
}

}  // namespace
}  // namespace canopy::wire
