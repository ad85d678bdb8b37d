// The services as clients see them.
#include "tests/wire/services_fixture.h"

namespace canopy::wire {
namespace {

TEST_F(ServicesTest, AFrontendDeliversToAnyoneAndReadsOnlyWithTheAccountsOwnTicket) {
  create("other@company.com", "other");
  auto delivered = deliver(*frontend, kUser, "hello\r\n");
  ASSERT_TRUE(delivered);
  EXPECT_FALSE(delivered->has_error());
  EXPECT_EQ(delivered->uid(), 1u);

  EXPECT_EQ(code_of(list(*frontend, named(kUser))), Code::kUnauthenticated);
  EXPECT_EQ(code_of(fetch(*frontend, named(kUser), 1)), Code::kUnauthenticated);
  std::string others = ticket("other@company.com", "other");
  v1::AccountRef crossed = ref(others);
  crossed.set_name(kUser);
  EXPECT_EQ(code_of(list(*frontend, crossed)), Code::kPermissionDenied);
  EXPECT_EQ(code_of(fetch(*frontend, crossed, 1)), Code::kPermissionDenied);
  EXPECT_EQ(list(*frontend, ref(others))->messages_size(), 0);
  std::string own = ticket(kUser, "secret");
  for (size_t at = 0; at < own.size(); at += 7) {
    std::string altered = own;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    EXPECT_EQ(code_of(list(*frontend, ref(altered))), Code::kUnauthenticated) << at;
  }
  auto got = fetch(*frontend, ref(own), 1);
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(got->data(), "Return-Path: <sender@example.org>\r\nhello\r\n");
  EXPECT_TRUE(got->end());
  EXPECT_EQ(fetch(*admin, named(kUser), 1)->data(), got->data());

  // What belongs to administrators.
  v1::CreateDomainRequest domain;
  domain.set_name("evil.com");
  EXPECT_EQ(code_of(run(DirectoryStub(*frontend).create_domain(domain))), Code::kPermissionDenied);
  v1::SetPasswordRequest password;  // one's own may be changed, but not another's
  *password.mutable_account() = crossed;
  password.set_password("x");
  EXPECT_EQ(code_of(run(DirectoryStub(*frontend).set_password(password))), Code::kPermissionDenied);
  *password.mutable_account() = named(kUser);
  EXPECT_EQ(code_of(run(DirectoryStub(*frontend).set_password(password))), Code::kUnauthenticated);
  v1::SetStateRequest state;
  state.set_name(kUser);
  state.set_state("disabled");
  EXPECT_EQ(code_of(run(DirectoryStub(*frontend).set_state(state))), Code::kPermissionDenied);
  v1::CheckRequest check;
  EXPECT_EQ(code_of(run(StoresStub(*frontend).check(check))), Code::kPermissionDenied);
  v1::SetInfoRequest settings;
  *settings.mutable_account() = ref(own);
  settings.set_text("{StorageLimit=#0;}");
  EXPECT_EQ(code_of(run(InfoStub(*frontend).set(settings))), Code::kPermissionDenied);
}

TEST_F(ServicesTest, ASessionEndsWithThePasswordTheStateAndTheAccount) {
  EXPECT_EQ(code_of(authenticate(*frontend, kUser, "wrong")), Code::kUnauthenticated);
  EXPECT_EQ(code_of(authenticate(*frontend, "nobody@company.com", "secret")), Code::kUnauthenticated);
  std::string first = ticket(kUser, "secret");
  ASSERT_TRUE(list(*frontend, ref(first)));
  auto logins = node->counters().cached_logins.load();
  ticket(kUser, "secret");
  EXPECT_EQ(node->counters().cached_logins.load(), logins + 1);  // the second costs no argon2id

  v1::SetPasswordRequest password;
  *password.mutable_account() = named(kUser);
  password.set_password("changed");
  ASSERT_TRUE(run(DirectoryStub(*admin).set_password(password)));
  EXPECT_EQ(code_of(list(*frontend, ref(first))), Code::kUnauthenticated);
  EXPECT_EQ(code_of(authenticate(*frontend, kUser, "secret")), Code::kUnauthenticated);
  std::string second = ticket(kUser, "changed");

  auto set_state = [&](const char* state) {
    v1::SetStateRequest request;
    request.set_name(kUser);
    request.set_state(state);
    return run(DirectoryStub(*admin).set_state(request));
  };
  ASSERT_TRUE(set_state("disabled"));
  EXPECT_EQ(code_of(authenticate(*frontend, kUser, "changed")), Code::kSuspended);
  EXPECT_EQ(code_of(list(*frontend, ref(second))), Code::kUnauthenticated);
  EXPECT_FALSE(deliver(*frontend, kUser, "still taken")->has_error());
  ASSERT_TRUE(set_state("suspended"));
  auto refused = deliver(*frontend, kUser, "not now");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error().code(), static_cast<uint32_t>(Code::kSuspended));
  EXPECT_EQ(refused->error().object(), kUser);
  EXPECT_EQ(code_of(list(*admin, named(kUser))), Code::kSuspended);
  auto record = run(DirectoryStub(*admin).get_account(named(kUser)));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->state(), "suspended");
  EXPECT_EQ(record->messages(), 1u);
  v1::SetStateRequest resume;
  resume.set_name(kUser);
  resume.set_state("active");
  resume.set_request_id(std::string(16, 'r'));
  for (int sent = 0; sent < 2;
       ++sent) {  // the first answer may have been lost before the check came to its end
    auto resumed = run(DirectoryStub(*admin).set_state(resume));
    ASSERT_TRUE(resumed);
    EXPECT_TRUE(resumed->checked());
    EXPECT_EQ(resumed->damages_size(), 0);
  }
  EXPECT_FALSE(set_state("active")->checked());
  EXPECT_TRUE(list(*frontend, ref(second)));

  v1::DeleteRequest gone;
  gone.set_name(kUser);
  ASSERT_TRUE(run(DirectoryStub(*admin).delete_account(gone)));
  EXPECT_EQ(code_of(list(*frontend, ref(second))), Code::kNotFound);
  EXPECT_EQ(deliver(*frontend, kUser, "x")->error().code(), static_cast<uint32_t>(Code::kNotFound));
}

TEST_F(ServicesTest, TheSameRequestIdIsAnsweredWithTheFirstResult) {
  std::string own = ticket(kUser, "secret");
  const std::string id(16, 'i');
  auto first = deliver(*frontend, kUser, "once", id);
  auto again = deliver(*frontend, kUser, "once", id);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(again->uid(), first->uid());
  EXPECT_EQ(again->uid_validity(), first->uid_validity());
  v1::CreateMailboxRequest create_request;
  *create_request.mutable_account() = ref(own);
  create_request.set_name("Work/Oak");
  create_request.set_request_id(std::string(16, 'c'));
  auto made = run(MailboxesStub(*frontend).create(create_request));
  auto made_again = run(MailboxesStub(*frontend).create(create_request));
  ASSERT_TRUE(made && made_again);
  EXPECT_EQ(made->id(), made_again->id());
  create_request.set_request_id(std::string(15, 'c'));
  auto wrong = run(MailboxesStub(*frontend).create(create_request));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(wrong.error().object(), "request_id");
  EXPECT_EQ(list(*frontend, ref(own))->messages_size(), 1);
}

TEST_F(ServicesTest, MessagesAreChangedCopiedAndExpungedAndTheDifferenceIsListed) {
  std::string own = ticket(kUser, "secret");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(deliver(*frontend, kUser, fmt::format("{}", i)));
  auto before = list(*frontend, ref(own));
  ASSERT_TRUE(before);
  EXPECT_EQ(before->messages_size(), 3);
  MailboxesStub stub(*frontend);
  v1::CreateMailboxRequest archive;
  *archive.mutable_account() = ref(own);
  archive.set_name("Archive");
  ASSERT_TRUE(run(stub.create(archive)));
  v1::StoreFlagsRequest flags;
  *flags.mutable_account() = ref(own);
  auto* range = flags.add_uids();
  range->set_first(1);
  range->set_last(2);
  flags.set_mode(v1::StoreFlagsRequest::ADD);
  flags.mutable_flags()->set_system(kFlagSeen);
  flags.mutable_flags()->add_keywords("Blue");
  ASSERT_TRUE(run(stub.store_flags(flags)));
  v1::CopyRequest copy;
  *copy.mutable_account() = ref(own);
  copy.set_from("INBOX");
  copy.set_to("Archive");
  *copy.add_uids() = *range;
  copy.set_move(true);
  auto copied = run(stub.copy(copy));
  ASSERT_TRUE(copied);
  EXPECT_EQ(copied->source_uids_size(), 2);
  EXPECT_EQ(copied->target_uids(1), 2u);
  auto difference = list(*frontend, ref(own), before->highest_modseq());
  ASSERT_TRUE(difference);
  EXPECT_EQ(difference->messages_size(), 0);
  ASSERT_EQ(difference->vanished_size(), 1);
  EXPECT_EQ(difference->vanished(0).last(), 2u);
  v1::ExpungeRequest expunge;
  *expunge.mutable_account() = ref(own);
  auto refused = run(stub.expunge(expunge));  // neither UIDs nor only_deleted: all mail would go
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().object(), "uids");
  expunge.add_uids()->set_first(3);
  expunge.mutable_uids(0)->set_last(3);
  ASSERT_TRUE(run(stub.expunge(expunge)));
  EXPECT_EQ(list(*frontend, ref(own))->messages_size(), 0);
  auto missing = fetch(*frontend, ref(own), 3);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  EXPECT_EQ(missing.error().object(), kUser);
}

TEST_F(ServicesTest, AMessageOf100MiBGoesUpAndDownInChunksWithoutBeingHeld) {
  constexpr uint32_t kChunks = 100;
  std::string own = ticket(kUser, "secret");
  MailboxesStub stub(*frontend);
  v1::OpenUploadRequest open;
  open.add_recipients(kUser);
  open.add_recipients("nobody@company.com");
  open.set_bytes(kChunks * uint64_t{kWireChunkBytesMax});
  auto opened = run(stub.open_upload(open));
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->results(0).has_error());
  EXPECT_EQ(opened->results(1).error().code(), static_cast<uint32_t>(Code::kNotFound));
  const uint64_t resident = resident_bytes();
  uint64_t most = resident;
  v1::UploadRequest piece;
  piece.set_upload_id(opened->upload_id());
  for (uint32_t i = 0; i < kChunks; ++i) {
    piece.set_offset(uint64_t{i} * kWireChunkBytesMax);
    piece.set_data(bytes_of(i, kWireChunkBytesMax));
    auto done = run(stub.upload(piece));
    ASSERT_TRUE(done) << i << done.error().to_string();
    if (i == 5) {  // the same chunk once more is out of order
      auto twice = run(stub.upload(piece));
      ASSERT_FALSE(twice);
      EXPECT_EQ(twice.error().object(), "offset");
    }
    most = std::max(most, resident_bytes());
  }
  v1::DeliverRequest request;
  request.add_recipients()->set_address(kUser);
  request.add_recipients()->set_address("nobody@company.com");
  request.set_upload_id(opened->upload_id());
  request.set_return_path("a@b");
  auto delivered = run(stub.deliver(request));
  ASSERT_TRUE(delivered);
  EXPECT_EQ(delivered->results(0).uid(), 1u);
  EXPECT_TRUE(delivered->results(1).has_error());

  const std::string head = "Return-Path: <a@b>\r\n";
  uint64_t offset = 0;
  bool same = true;
  for (bool end = false; !end;) {
    auto got = fetch(*frontend, ref(own), 1, offset);
    ASSERT_TRUE(got) << got.error().to_string();
    ASSERT_FALSE(got->data().empty());
    EXPECT_EQ(got->size(), head.size() + kChunks * uint64_t{kWireChunkBytesMax});
    const uint32_t number = static_cast<uint32_t>((offset + 100 - head.size()) / kWireChunkBytesMax);
    const uint64_t inside = (offset + 100 - head.size()) % kWireChunkBytesMax;
    const size_t take = std::min<size_t>(64, kWireChunkBytesMax - inside);
    if (got->data().size() > 200) {
      same = same && std::string_view(got->data()).substr(100, take) ==
                         std::string_view(bytes_of(number, kWireChunkBytesMax)).substr(inside, take);
    }
    offset += got->data().size();
    end = got->end();
    most = std::max(most, resident_bytes());
  }
  EXPECT_TRUE(same);
  EXPECT_EQ(offset, head.size() + kChunks * uint64_t{kWireChunkBytesMax});
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  // Not with sanitizers, which keep what was freed. Client and server together:
  EXPECT_LT(most - resident, 50u << 20);
#endif
}

TEST_F(ServicesTest, AnUploadThatCannotFitIsRefusedWhenItsSizeIsNamed) {
  create("small@company.com", "small", "{StorageLimit=#1000;}");
  v1::OpenUploadRequest open;
  open.add_recipients("small@company.com");
  open.set_bytes(2000);
  auto opened = run(MailboxesStub(*frontend).open_upload(open));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->results(0).error().code(), static_cast<uint32_t>(Code::kQuotaExceeded));
  v1::UploadRequest piece;
  piece.set_upload_id(opened->upload_id() + 1);
  piece.set_data("x");
  EXPECT_EQ(code_of(run(MailboxesStub(*frontend).upload(piece))), Code::kNotFound);
}

TEST_F(ServicesTest, AMaildropIsHeldByOneSessionAndLetGoWithItsConnection) {
  std::string own = ticket(kUser, "secret");
  v1::LockMaildropRequest lock;
  *lock.mutable_account() = ref(own);
  lock.set_seconds(3600);
  for (int i = 0; i < 200; ++i) {  // many sessions of one connection, one after the other
    auto held = run(MailboxesStub(*frontend).lock_maildrop(lock));
    ASSERT_TRUE(held) << i;
    v1::UnlockMaildropRequest unlock;
    *unlock.mutable_account() = ref(own);
    unlock.set_lock_id(held->lock_id());
    ASSERT_TRUE(run(MailboxesStub(*frontend).unlock_maildrop(unlock)));
  }
  auto second = client("frontend");
  ASSERT_TRUE(run(MailboxesStub(*second).lock_maildrop(lock)));
  EXPECT_EQ(code_of(run(MailboxesStub(*frontend).lock_maildrop(lock))), Code::kBusy);
  run(second->close());
  Result<v1::LockMaildropResponse> held = fail(Code::kBusy, "", "");
  for (int i = 0; i < 200 && !held; ++i) {
    held = run(MailboxesStub(*frontend).lock_maildrop(lock));
    if (!held) run([](Loop& on) -> Task<void> { co_await on.sleep(10 * kMillisecond); }(*loop));
  }
  EXPECT_TRUE(held);
}

TEST_F(ServicesTest, AWatchAnswersWithTheChangeOrAfterItsTimeAndEndsWithTheSession) {
  std::string own = ticket(kUser, "secret");
  ASSERT_TRUE(deliver(*frontend, kUser, "first"));
  auto before = list(*frontend, ref(own));
  v1::WatchRequest watch;
  *watch.mutable_account() = ref(own);
  watch.set_seconds(1);
  auto* cursor = watch.add_cursors();
  cursor->set_mailbox_id(before->mailbox_id());
  cursor->set_modseq(before->highest_modseq());
  auto nothing = run(EventsStub(*frontend).watch(watch));
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->changed_size(), 0);

  watch.set_seconds(25);
  auto watch_and = [&](auto act) {
    std::optional<Result<v1::WatchResponse>> answer;
    auto waiting = [](Client& on, const v1::WatchRequest& request,
                      std::optional<Result<v1::WatchResponse>>& into) -> Task<void> {
      into = co_await EventsStub(on).watch(request);
    };
    loop->spawn(waiting(*frontend, watch, answer));
    run([](Loop& on) -> Task<void> { co_await on.sleep(50 * kMillisecond); }(*loop));
    EXPECT_FALSE(answer);
    act();
    run([](Loop& on, auto& into) -> Task<void> {
      while (!into) co_await on.sleep(kMillisecond);
    }(*loop, answer));
    return std::move(*answer);
  };
  auto changed = watch_and([&] { ASSERT_TRUE(deliver(*admin, kUser, "second")); });
  ASSERT_TRUE(changed);
  ASSERT_EQ(changed->changed_size(), 1);
  EXPECT_GT(changed->changed(0).modseq(), cursor->modseq());
  cursor->set_modseq(changed->changed(0).modseq());
  v1::SetPasswordRequest password;
  *password.mutable_account() = named(kUser);
  password.set_password("changed");
  auto ended = watch_and([&] { ASSERT_TRUE(run(DirectoryStub(*admin).set_password(password))); });
  EXPECT_EQ(code_of(ended), Code::kUnauthenticated);
}

TEST_F(ServicesTest, WithoutTheLeaseNothingOfAnAccountIsAnswered) {
  std::string own = ticket(kUser, "secret");
  ASSERT_TRUE(deliver(*frontend, kUser, "first"));
  lease = false;
  CallOptions once;
  once.retry = false;
  v1::ListMessagesRequest request;
  *request.mutable_account() = ref(own);
  EXPECT_EQ(code_of(run(MailboxesStub(*frontend).list_messages(request, once))), Code::kTryAgain);
  v1::DeliverRequest delivery;
  delivery.add_recipients()->set_address(kUser);
  delivery.set_content("late");
  EXPECT_EQ(code_of(run(MailboxesStub(*frontend).deliver(delivery, once))), Code::kTryAgain);
  EXPECT_TRUE(run(SessionStub(*frontend).ping(v1::PingRequest())));
  EXPECT_TRUE(run(ClusterStub(*admin).get_status(v1::Empty())));
  lease = true;
  auto after = run(MailboxesStub(*frontend).list_messages(request, once));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->messages_size(), 1);
}

TEST_F(ServicesTest, ACheckNamesDamageByFileAndOffsetAndARepairSaysWhatItMended) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(deliver(*frontend, kUser, bytes_of(i, 2000)));
  const std::string account = directory + "/SharedDomains/company.com/jsmith.macnt/";
  std::string slice;
  for (const auto& entry : std::filesystem::directory_iterator(account)) {
    if (entry.path().extension() == ".slice") slice = entry.path().filename();
  }
  {
    std::fstream file(account + slice, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3500);
    file << "damage";
  }
  std::ofstream(account + "account.info") << "{Broken=";
  v1::CheckRequest check;
  check.set_scope("@");  // of no domain, and not of everything
  EXPECT_EQ(code_of(run(StoresStub(*admin).check(check))), Code::kInvalidArgument);
  check.set_scope("@company.com");
  auto found = run(StoresStub(*admin).check(check));
  ASSERT_TRUE(found) << found.error().to_string();
  ASSERT_EQ(found->damages_size(), 2);
  EXPECT_THAT(found->damages(0).file(), testing::EndsWith("account.info"));
  EXPECT_EQ(found->damages(1).file(), "SharedDomains/company.com/jsmith.macnt/" + slice);
  EXPECT_LE(found->damages(1).offset(), 3500u);
  EXPECT_GT(found->damages(1).offset() + found->damages(1).length(), 3500u);
  EXPECT_FALSE(found->damages(1).repaired());
  check.set_repair(true);
  auto mended = run(StoresStub(*admin).check(check));
  ASSERT_TRUE(mended) << mended.error().to_string();
  ASSERT_GE(mended->damages_size(), 3);  // and the message that is lost
  for (const auto& damage : mended->damages()) EXPECT_TRUE(damage.repaired()) << damage.what();
  EXPECT_THAT(mended->damages(2).what(), testing::HasSubstr("UID 2"));
  check.set_repair(false);
  EXPECT_EQ(run(StoresStub(*admin).check(check))->damages_size(), 0);
  EXPECT_EQ(list(*admin, named(kUser))->messages_size(), 2);
  // Files move once nobody reads them any more; a close waits for that.
  ASSERT_TRUE(run(ClusterStub(*admin).close_account(named(kUser))));
  EXPECT_TRUE(std::filesystem::exists(account + "damaged/" + slice));
}

}  // namespace
}  // namespace canopy::wire
