// Every bit flipped and every length cut of a small account: what is served is what was written, what is
// missing is named by file and offset, and nothing crashes. docs/formats/account-log.md says what is torn and
// what is damage.
#include "daemon/account/account_settings.h"
#include "daemon/account/settings_files.h"
#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/log/compaction.h"
#include "tests/account/small_account.h"

namespace canopy {
namespace {

using Key = std::pair<uint32_t, uint32_t>;  // mailbox id, UID

// What an account shows to who reads it.
struct Shown {
  std::map<Key, std::string> messages;
  std::map<Key, std::pair<uint16_t, uint64_t>> flags_and_modseq;
  std::map<uint32_t, std::string> mailboxes;
  bool operator==(const Shown&) const = default;
};

struct Seen {
  std::optional<Error> refused;  // the open
  Shown shown;
  std::vector<Error> unreadable;  // messages
  std::vector<Damage> damages;    // named by opening
  CheckReport check;
};

class AccountDamageTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { log_start({.level = LogLevel::kError, .file = "/dev/null"}); }
  static void TearDownTestSuite() { log_start({}); }

  void write(SmallAccountShape shape) {
    covered = shape.checkpoint;
    write_small_account(disk, shape);
    const Seen seen = look();
    ASSERT_FALSE(seen.refused);
    ASSERT_TRUE(seen.unreadable.empty());
    ASSERT_TRUE(seen.damages.empty() && seen.check.damages.empty());
    written = seen.shown;
    ASSERT_EQ(written.messages.size(), 8u);
    ever = written.messages;  // and what was expunged or moved
    ever[{1, 2}] = small_content(2);
    ever[{1, 4}] = small_content(5, 33);
    for (const std::string& name : account_files(disk)) {
      if (parse_slice_file_name(name)) slices.push_back(name);
      if (parse_checkpoint_file_name(name)) checkpoints.push_back(name);
    }
    newest = slices.back();  // names sort by number, and the test's numbers rise with the epoch
    manifest_end = frames_of(file_bytes(disk, newest))[1];
  }

  Seen look() {
    Seen seen;
    AccountProcess reader(disk, kFirstEpoch + 11);
    if (auto opened = reader.open(); !opened) {
      seen.refused = opened.error();
      return seen;
    }
    Account& account = *reader.account;
    for (const auto& [id, box] : account.state().mailboxes()) {
      seen.shown.mailboxes[id] = box.name;
      for (const MessageRow& row : box.rows) {
        auto content = reader.run(account.fetch(id, row.uid, 0, kMessageBytesMax));
        if (!content) {
          seen.unreadable.push_back(content.error());
          continue;
        }
        seen.shown.messages[{id, row.uid}] = *content;
        seen.shown.flags_and_modseq[{id, row.uid}] = {row.flags & kSystemFlagsMask, row.modseq};
      }
    }
    seen.damages = account.damages();
    auto report = reader.run(account.check());
    EXPECT_TRUE(report);
    if (report) seen.check = *std::move(report);
    reader.close();
    return seen;
  }

  static bool names(const std::vector<Damage>& damages, const std::string& file, uint64_t at) {
    return std::ranges::any_of(damages, [&](const Damage& damage) {
      return damage.file == file && damage.offset <= at && damage.offset + damage.length > at;
    });
  }

  // What holds whatever was done to the account's files.
  void expect_nothing_wrong(const Seen& seen) {
    for (const auto& [key, content] : seen.shown.messages) {
      auto original = ever.find(key);
      ASSERT_NE(original, ever.end()) << key.first << "/" << key.second;
      ASSERT_EQ(content, original->second);
    }
    for (const Error& error : seen.unreadable) {
      ASSERT_EQ(error.code(), Code::kDamaged) << error.to_string();
      ASSERT_THAT(error.to_string(), testing::HasSubstr(".slice"));
      ASSERT_THAT(error.to_string(), testing::HasSubstr("at offset"));
    }
  }

  // Bytes [from, to) of `file` are bad. `torn_from`: from where on nothing proves that it was acknowledged.
  void expect_named(const Seen& seen, const std::string& file, uint64_t from, uint64_t to,
                    uint64_t torn_from) {
    expect_nothing_wrong(seen);
    if (seen.refused) {  // only when the manifest in force itself is unreadable
      ASSERT_EQ(file, newest);
      ASSERT_LT(from, manifest_end) << seen.refused->to_string();
      ASSERT_EQ(seen.refused->code(), Code::kDamaged) << seen.refused->to_string();
      ASSERT_THAT(seen.refused->to_string(), testing::HasSubstr(file));
      return;
    }
    if (file == newest && from >= torn_from) {
      ASSERT_TRUE(seen.damages.empty());
      ASSERT_GE(seen.shown.messages.size(), written.messages.size() - 1);  // the last write was a delivery
      return;
    }
    ASSERT_TRUE(names(seen.check.damages, file, from) && names(seen.check.damages, file, to - 1));
    // Rows that a checkpoint gave stand for what is damaged; without one opening has read the bytes itself.
    if (checkpoints.empty()) ASSERT_FALSE(seen.damages.empty());
    for (const auto& [key, content] : written.messages) {
      if (seen.shown.messages.contains(key)) continue;
      ASSERT_FALSE(seen.damages.empty() && seen.unreadable.empty()) << key.first << "/" << key.second;
    }
  }

  // Everything that `before` showed is there, and two more.
  static void expect_nothing_lost(const Seen& before, const Seen& after) {
    for (const auto& [key, content] : before.shown.messages) {
      auto found = after.shown.messages.find(key);
      ASSERT_NE(found, after.shown.messages.end()) << key.first << "/" << key.second;
      ASSERT_EQ(found->second, content);
    }
    ASSERT_EQ(after.shown.messages.size(), before.shown.messages.size() + 2);
    ASSERT_EQ(after.unreadable.size(), before.unreadable.size());
  }

  // Where the frames of a sound slice begin, and the end.
  static std::vector<uint64_t> frames_of(const std::string& bytes) {
    std::vector<uint64_t> at{kSliceHeaderBytes};
    while (at.back() < bytes.size()) at.push_back(at.back() + get_le<uint64_t>(&bytes[at.back() + 8]));
    return at;
  }

  void flip_every_bit();
  void cut_at_every_length();
  void goes_on_wherever_its_first_slice_is_damaged();

  MemoryDisk disk;
  Shown written;
  std::map<Key, std::string> ever;
  std::vector<std::string> slices, checkpoints;
  std::string newest;
  uint64_t manifest_end = 0;  // in the newest
  bool covered = false;       // by a checkpoint, to the last byte
};

void AccountDamageTest::flip_every_bit() {
  for (const std::string& name : slices) {
    const std::string bytes = file_bytes(disk, name);
    const auto frames = frames_of(bytes);
    const uint64_t torn_from = covered ? bytes.size() : frames[frames.size() - 2];
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        write_file(disk, name, flipped);
        const Seen seen = look();
        SCOPED_TRACE(name + " at " + std::to_string(at) + " bit " + std::to_string(bit));
        expect_named(seen, name, at, at + 1, torn_from);
        if (HasFatalFailure()) return;
      }
    }
    write_file(disk, name, bytes);
  }
}

void AccountDamageTest::cut_at_every_length() {
  for (const std::string& name : slices) {
    const std::string bytes = file_bytes(disk, name);
    for (size_t length = 0; length < bytes.size(); ++length) {
      write_file(disk, name, bytes.substr(0, length));
      const Seen seen = look();
      SCOPED_TRACE(name + " cut at " + std::to_string(length));
      if (name == newest && !covered) {
        // A log that ends earlier is what a tear leaves. Nothing that is shown may be wrong.
        expect_nothing_wrong(seen);
        ASSERT_FALSE(seen.refused);
        ASSERT_TRUE(seen.damages.empty());
      } else {
        expect_named(seen, name, length, bytes.size(), bytes.size());
      }
      if (HasFatalFailure()) return;
    }
    write_file(disk, name, bytes);
  }
}

void AccountDamageTest::goes_on_wherever_its_first_slice_is_damaged() {
  std::map<std::string, std::string> all;
  for (const std::string& name : account_files(disk)) all[name] = file_bytes(disk, name);
  for (size_t at = 0; at < all.at(slices[0]).size(); at += 31) {
    for (const std::string& name : account_files(disk))
      ASSERT_TRUE(disk.remove(std::string(kSmallAccount) + "/" + name, Durable::kYes));
    for (const auto& [name, bytes] : all) write_file(disk, name, bytes);
    std::string flipped = all.at(slices[0]);
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    write_file(disk, slices[0], flipped);
    SCOPED_TRACE(at);
    const Seen before = look();
    ASSERT_FALSE(before.refused);
    {
      AccountProcess process(disk, kFirstEpoch + 10);
      ok(process.open());
      process.deliver("", small_content(20));
      ok(process.run(process.account->compact()));
      process.deliver("", small_content(21));
      process.close();
    }
    const Seen after = look();
    ASSERT_FALSE(after.refused) << after.refused->to_string();
    expect_nothing_lost(before, after);
    if (HasFatalFailure()) return;
  }
}

TEST_F(AccountDamageTest, EveryFlippedBitOfAnAccountIsNamedOrATear) {
  write({});
  ASSERT_EQ(slices.size(), 2u);
  flip_every_bit();
}

TEST_F(AccountDamageTest, EveryCutOfAnAccountIsNamedOrATear) {
  write({});
  cut_at_every_length();
}

TEST_F(AccountDamageTest, EveryFlippedBitOfACompactedAccountIsNamedOrATear) {
  write({.compacted = true});
  ASSERT_EQ(slices.size(), 3u);
  flip_every_bit();
}

TEST_F(AccountDamageTest, EveryCutOfACompactedAccountIsNamedOrATear) {
  write({.compacted = true});
  cut_at_every_length();
}

// With a checkpoint that covers everything a flip in the last write, and a cut of it, are damage as well.
TEST_F(AccountDamageTest, EveryFlippedBitUnderACheckpointIsNamed) {
  write({.checkpoint = true});
  ASSERT_EQ(checkpoints.size(), 1u);
  flip_every_bit();
}

TEST_F(AccountDamageTest, EveryCutUnderACheckpointIsNamed) {
  write({.checkpoint = true});
  cut_at_every_length();
}

TEST_F(AccountDamageTest, ADamagedCheckpointCostsNothing) {
  write({.checkpoint = true});
  const std::string name = checkpoints.at(0);
  const std::string bytes = file_bytes(disk, name);
  const auto expect_intact = [&](const std::string& changed) {
    write_file(disk, name, changed);
    const Seen seen = look();
    ASSERT_FALSE(seen.refused);
    ASSERT_EQ(seen.shown, written);
    ASSERT_TRUE(seen.damages.empty() && seen.check.damages.empty());
    ASSERT_THAT(seen.check.orphans, testing::ElementsAre(name));
  };
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      expect_intact(flipped);
    }
    expect_intact(bytes.substr(0, at));
    if (HasFatalFailure()) FAIL() << at;
  }
}

// Its checksum holds, but two rows have each other's records: what a defect would write, or an old checkpoint
// under a new name. No message is shown as another.
TEST_F(AccountDamageTest, ACheckpointThatIsWrongShowsNoOthersMessage) {
  write({.checkpoint = true});
  const std::string name = checkpoints.at(0);
  std::string bytes = file_bytes(disk, name);
  const auto row_of = [&](uint32_t uid) {
    std::string begin;
    put_le<uint32_t>(begin, uid);
    put_le<uint32_t>(begin, 90);  // its size; the first such row is INBOX's
    return bytes.find(begin);
  };
  const size_t one = row_of(1), other = row_of(5);
  ASSERT_NE(one, std::string::npos);
  ASSERT_NE(other, std::string::npos);
  std::swap_ranges(&bytes[one + 24], &bytes[one + 40], &bytes[other + 24]);  // place and length
  const std::string secret = file_bytes(disk, newest).substr(24, kSecretBytes);
  bytes.resize(bytes.size() - 4);
  const uint64_t body_at = bytes.size() - get_le<uint64_t>(&bytes[24]);
  const uint32_t seed = SliceSeed(secret, *parse_checkpoint_file_name(name)).at(body_at);
  put_le<uint32_t>(bytes, crc32c(seed, std::string_view(bytes).substr(body_at)));
  write_file(disk, name, bytes);
  const Seen seen = look();
  ASSERT_FALSE(seen.refused);
  expect_nothing_wrong(seen);
  EXPECT_EQ(seen.unreadable.size(), 2u);
  EXPECT_EQ(seen.shown.messages.size(), written.messages.size() - 2);
}

// An account of one slice whose beginning is unreadable has no other place that says what it was.
TEST_F(AccountDamageTest, AnAccountOfOneSliceNeverLooksEmpty) {
  {
    AccountProcess only(disk, kFirstEpoch);
    ok(only.open());
    only.deliver("", small_content(1));
    only.deliver("", small_content(2));
    only.close();
  }
  ever = {{{1, 1}, small_content(1)}, {{1, 2}, small_content(2)}};
  const std::string name = account_files(disk).at(0);
  const std::string bytes = file_bytes(disk, name);
  for (size_t at = 0; at < frames_of(bytes)[1]; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      write_file(disk, name, flipped);
      const Seen seen = look();
      expect_nothing_wrong(seen);
      ASSERT_FALSE(HasFatalFailure());
      if (seen.refused) {
        ASSERT_EQ(seen.refused->code(), Code::kDamaged);
        ASSERT_THAT(seen.refused->to_string(), testing::HasSubstr(name));
      } else {
        ASSERT_EQ(seen.shown.messages.size(), 2u) << at;
        ASSERT_TRUE(names(seen.damages, name, at)) << at;
      }
    }
  }
}

TEST_F(AccountDamageTest, ASliceThatACheckpointCoversIsMissed) {
  write({.checkpoint = true});
  const std::string bytes = file_bytes(disk, newest);
  ASSERT_TRUE(disk.remove(std::string(kSmallAccount) + "/" + newest, Durable::kYes));
  Seen seen = look();
  ASSERT_TRUE(seen.refused);
  EXPECT_EQ(seen.refused->code(), Code::kDamaged);
  EXPECT_THAT(seen.refused->to_string(), testing::HasSubstr(newest));
  for (const std::string& name : slices)
    (void)disk.remove(std::string(kSmallAccount) + "/" + name, Durable::kYes);
  seen = look();
  ASSERT_TRUE(seen.refused);
  EXPECT_EQ(seen.refused->code(), Code::kDamaged);
}

// Damage is worked around: the account takes mail, and what is sound is still there after a compaction.
TEST_F(AccountDamageTest, ADamagedAccountGoesOn) {
  write({});
  goes_on_wherever_its_first_slice_is_damaged();
}

TEST_F(AccountDamageTest, ADamagedAccountGoesOnUnderACheckpoint) {
  write({.checkpoint = true});
  goes_on_wherever_its_first_slice_is_damaged();
}

// ------------------------------------------------------------------------------------------ settings and
// info

class SettingsDamageTest : public AccountDamageTest {
 protected:
  void SetUp() override {
    AccountProcess process(disk, kFirstEpoch);
    ASSERT_TRUE(process.run(make_directories(process.store(), kSmallAccount, 0700, Durable::kYes)));
    SettingsFiles files(process.store(), kFirstEpoch, 0);
    dict::Dict settings;
    settings.set("State", std::string("active"));
    settings.set("StorageLimit", int64_t{1'000'000});
    settings.set("Real Name", std::string("J\xc3\xb6rg \"Jo\" Smith"));
    dict::Dict inner;
    inner.set("Argon2", std::string("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
    settings.set("Password", inner);
    for (int i = 0; i < 2; ++i) {
      const dict::Version before{i == 0 ? 0 : kFirstEpoch, static_cast<uint64_t>(i)};
      ASSERT_TRUE(process.run(files.replace(7, kPath, {before, settings})));
    }
    text = file_bytes(disk, "account.settings");
  }

  // Reads the file as the daemon does.
  Result<dict::VersionedDict> read(std::string_view changed) {
    write_file(disk, "account.settings", changed);
    AccountProcess process(disk, kFirstEpoch + 1);
    SettingsFiles files(process.store(), kFirstEpoch + 1, 0);
    auto file = process.run(files.read(kPath));
    if (!file) return file;
    Domain domain;
    TreeSettings tree;
    auto settings = AccountSettings::make(*file, domain, tree);
    if (!settings) EXPECT_EQ(settings.error().code(), Code::kInvalidArgument);
    return file;
  }

  static constexpr char kPath[] = "SharedDomains/company.com/jsmith.macnt/account.settings";
  std::string text;
};

TEST_F(SettingsDamageTest, ACutFileIsDamagedAndNamed) {
  auto whole = read(text);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->version, (dict::Version{kFirstEpoch, 2}));
  const size_t end = text.rfind('}') + 1;
  for (size_t length = 0; length < text.size(); ++length) {
    auto file = read(text.substr(0, length));
    if (length >= end) {  // only the last line end is missing
      ASSERT_TRUE(file);
      EXPECT_EQ(*file, *whole);
      continue;
    }
    ASSERT_FALSE(file) << length;
    EXPECT_EQ(file.error().code(), Code::kDamaged) << file.error().to_string();
    EXPECT_THAT(file.error().to_string(), testing::HasSubstr(kPath));
  }
}

// Text has no checksum: a flipped letter may be another letter. But what does not read is refused whole.
TEST_F(SettingsDamageTest, AFlippedBitIsNamedOrReadsAsADictionary) {
  size_t refused = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      auto file = read(flipped);
      if (file) continue;
      ++refused;
      ASSERT_EQ(file.error().code(), Code::kDamaged) << file.error().to_string();
      ASSERT_THAT(file.error().to_string(), testing::HasSubstr(kPath));
    }
  }
  EXPECT_GT(refused, text.size());
}

}  // namespace
}  // namespace canopy
