// Any files in an account's directory: opening ends in an account or a named error, what is shown can be read
// or is named as damaged, and the account then takes a message and a compaction without losing either.
#include "daemon/account/account.h"
#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/log/compaction.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/memory/memory_store.h"
#include "tests/fuzz/account_directory.h"

namespace canopy {
namespace {

constexpr char kDirectory[] = "SharedDomains/company.com/jsmith.macnt";
constexpr uint64_t kOwnEpoch = (uint64_t{1} << 32) + 1000;  // above those that an input can name

void put_files(MemoryDisk& disk, const std::vector<fuzz::DirectoryFile>& files) {
  for (const char* part : {"SharedDomains", "SharedDomains/company.com", kDirectory})
    CANOPY_CHECK(disk.make_directory(part, 0700, Durable::kYes));
  for (const fuzz::DirectoryFile& file : files) {
    OpenOptions options;
    options.write = options.create = options.truncate = true;
    auto id = disk.open(std::string(kDirectory) + "/" + file.name(), options);
    CANOPY_CHECK(id);
    const std::string_view pieces[] = {file.bytes};
    CANOPY_CHECK(disk.write(*id, false, 0, pieces, Durable::kYes));
    disk.close(*id);
  }
}

using Messages = std::map<std::pair<uint32_t, uint32_t>, std::string>;  // mailbox id, UID; what can be read

Messages read_all(SimWorld& world, SimLoop& loop, Account& account) {
  Messages all;
  const AccountState& state = account.state();
  uint64_t messages = 0, bytes = 0;
  for (const auto& [id, box] : state.mailboxes()) {
    uint32_t before = 0, unseen = 0;
    for (const MessageRow& row : box.rows) {
      CANOPY_CHECK(row.uid > before && row.uid < box.uidnext);
      before = row.uid;
      unseen += (row.flags & kFlagSeen) == 0;
      bytes += row.size;
      if (++messages > 64) continue;
      auto content = world.run_until_done(loop, account.fetch(id, row.uid, 0, 1u << 20));
      CANOPY_CHECK(content);
      if (*content)
        all[{id, row.uid}] = **content;
      else
        CANOPY_CHECK(content->error().code() == Code::kDamaged || content->error().code() == Code::kNotFound);
    }
    CANOPY_CHECK(unseen == box.unseen);
  }
  CANOPY_CHECK(messages == state.messages() && bytes == state.bytes());
  return all;
}

struct Opened {
  Opened(SimWorld& in, MemoryDisk& disk, uint64_t epoch)
      : world(in), loop(in.add_loop("backend")), store(&loop, disk) {
    LogEnvironment environment;
    environment.store = &store;
    environment.loop = &loop;
    environment.files = &files;
    environment.epoch = epoch;
    environment.options.copy_chunk_bytes = 8192;
    auto opened = world.run_until_done(loop, Account::open(environment, "a@b", kDirectory, AccountOptions{}));
    CANOPY_CHECK(opened);
    if (*opened)
      account = **opened;
    else
      CANOPY_CHECK(opened->error().code() == Code::kDamaged);
  }
  ~Opened() {
    if (account) world.run_until_done(loop, account->close());
  }
  SimWorld& world;
  SimLoop& loop;
  MemoryStore store;
  SliceFiles files;
  std::shared_ptr<Account> account;
};

// `trusted`: no checkpoint lies about the slices, so that what can be read must stay.
void use(MemoryDisk& disk, bool trusted) {
  SimWorld world(1);
  Messages before;
  uint32_t inbox = 0, uid = 0;
  constexpr std::string_view kMail = "Subject: one more\r\n\r\n";
  {
    Opened own(world, disk, kOwnEpoch);
    if (!own.account) return;
    before = read_all(world, own.loop, *own.account);
    auto report = world.run_until_done(own.loop, own.account->check());
    CANOPY_CHECK(report && *report);
    NewMessage message;
    message.content = kMail;
    auto delivered = world.run_until_done(own.loop, own.account->append(message));
    CANOPY_CHECK(delivered);
    if (!*delivered) return;  // no UID left, or the names are used up
    inbox = (*delivered)->mailbox_id;
    uid = (*delivered)->uids[0].first;
    auto compacted = world.run_until_done(own.loop, own.account->compact());
    CANOPY_CHECK(compacted);
    before[{inbox, uid}] = kMail;
    read_all(world, own.loop, *own.account);
  }
  Opened next(world, disk, kOwnEpoch + 1);
  CANOPY_CHECK(next.account);
  const Messages after = read_all(world, next.loop, *next.account);
  if (!trusted) before = {{{inbox, uid}, std::string(kMail)}};
  for (const auto& [key, content] : before) {
    auto found = after.find(key);
    CANOPY_CHECK(after.size() >= 64 || found != after.end());
    CANOPY_CHECK(found == after.end() || found->second == content);
  }
}

}  // namespace
}  // namespace canopy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy;
  static const bool quiet = (log_start({.level = LogLevel::kError, .file = "/dev/null"}), true);
  CANOPY_CHECK(quiet);
  const auto files = fuzz::directory_files(std::string_view(reinterpret_cast<const char*>(data), size));
  MemoryDisk disk;
  put_files(disk, files);
  const bool sealed_checkpoint = size > 0 && (data[0] & 1) != 0 &&
                                 std::ranges::any_of(files, [](const auto& file) { return file.kind == 2; });
  use(disk, !sealed_checkpoint);
  return 0;
}
