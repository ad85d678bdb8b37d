// Accounts in short: directories with an info in each that is replaced, removed, written in place, linked and
// moved about, while the process is killed, the power fails and the store refuses.
#pragma once

#include "daemon/runtime/sim_loop.h"
#include "daemon/store/journal/journaled_store.h"
#include "tests/store/store_fixture.h"

namespace canopy {

// Whole or not is seen by its end.
inline std::string version_text(uint64_t version) {
  return fmt::format("{:08}{}{:08}", version, std::string(200 + version % 300, 'x'), version);
}
// The version of a text; none when it is not whole.
inline std::optional<uint64_t> version_in(std::string_view text) {
  const uint64_t version = std::strtoull(std::string(text.substr(0, 8)).c_str(), nullptr, 10);
  if (text != version_text(version)) return std::nullopt;
  return version;
}

inline JournalOptions small_journal() {
  JournalOptions options;
  options.file_bytes = 96 << 10;
  options.records_max = 25;
  options.bytes_free_min = 0;
  options.checkpoint_after = 40 * kMillisecond;
  return options;
}

// What an account is like. Version 0: it has no info.
struct AccountState {
  uint32_t home = 0;  // of its directory
  uint64_t version = 0;
  auto operator<=>(const AccountState&) const = default;
};
struct AccountFacts {
  AccountState answered, asked;  // they differ while something is under way
  uint64_t next = 1;
  bool in_place = false;  // it is being written where it lies
};

struct JournalPlan {
  uint64_t seed = 1;
  uint32_t accounts = 6;
  bool moves = false;  // and all else that is done to a path
  bool large = false;  // the journal
  FaultPlan faults = {};
};

// A process on the disk of a model.
class JournalProcess {
 public:
  JournalProcess(SimWorld& world, SimLoop& server, MemoryDisk& disk, FaultPlan faults, JournalOptions options,
                 uint64_t seed)
      : loop(world.add_loop("process")),
        memory(&server, disk, {.yields_max = 2, .seed = seed}),
        faulty(std::make_shared<FaultyStore>(memory, loop, std::move(faults), seed, &server)),
        journal(std::make_shared<ReplaceJournal>(loop, faulty, std::move(options))),
        store(loop, faulty, journal) {}

  SimLoop& loop;
  MemoryStore memory;
  std::shared_ptr<FaultyStore> faulty;
  std::shared_ptr<ReplaceJournal> journal;
  JournaledStore store;
};

class JournalModel {
 public:
  static constexpr uint32_t kHomes = 3;

  explicit JournalModel(JournalPlan plan);

  SimWorld& world() { return world_; }
  MemoryDisk& disk() { return disk_; }
  std::vector<AccountFacts>& facts() { return facts_; }

  JournalProcess& start();  // a new process; the one before is dead or idle
  JournalProcess& process() { return *processes_.back(); }
  // Dies before the operation `after` from now takes effect.
  void die_before(uint64_t after);
  bool dead() const { return dead_; }
  void power_cut(uint64_t seed) { disk_.crash(seed); }

  // Begins the journal; then does things to all accounts for ever. Errors of begin() end the process.
  void serve();
  bool begin();  // alone
  // What is wrong with the accounts as they are now, if anything is; what was under way is decided with it.
  std::string complaint();
  const std::string& wrong() const { return wrong_; }  // complaints at the beginning of serve()
  uint64_t answered() const { return answered_; }
  uint64_t refused() const { return refused_; }

 private:
  static std::string directory_of(uint32_t account, uint32_t home) {
    return fmt::format("h{}/a{}.macnt", home, account);
  }
  static std::string info_of(uint32_t account, uint32_t home) {
    return directory_of(account, home) + "/account.info";
  }
  static std::string aside_of(uint32_t account) { return fmt::format("h0/a{}.aside", account); }
  std::optional<AccountState> found(uint32_t account, std::string& complaint);
  static Task<void> live(JournalModel& self, uint32_t account, SeededRandom random);
  static Task<Result<void>> change(JournalModel& self, Store& store, uint32_t account, SeededRandom& random,
                                   std::string staged);
  static Task<Result<void>> write_in_place(Store& store, std::string path, std::string text);
  static Task<void> begin_into(JournalProcess& process, std::optional<Result<void>>& into);

  JournalPlan plan_;
  SimWorld world_;
  SimLoop& server_;
  MemoryDisk disk_;
  std::vector<AccountFacts> facts_;
  std::vector<std::unique_ptr<JournalProcess>> processes_;
  bool dead_ = false;
  std::string wrong_;
  uint64_t answered_ = 0, refused_ = 0;
};

}  // namespace canopy
