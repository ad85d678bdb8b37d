#include "tests/store/journal_model.h"

namespace canopy {

JournalModel::JournalModel(JournalPlan plan)
    : plan_(std::move(plan)), world_(plan_.seed), server_(world_.add_loop("server")), facts_(plan_.accounts) {
  plan_.faults.check_unclosed = false;
  auto make = [this](const std::string& path) {
    EXPECT_TRUE(disk_.make_directory(path, 0700, Durable::kYes)) << path;
  };
  make(".canopy");
  make(".canopy/stage");
  for (uint32_t home = 0; home < kHomes; ++home) make(fmt::format("h{}", home));
  for (uint32_t account = 0; account < plan_.accounts; ++account) make(directory_of(account, 0));
}

JournalProcess& JournalModel::start() {
  dead_ = false;
  const uint64_t seed = plan_.seed * 1000 + processes_.size();
  JournalOptions journal = small_journal();
  if (plan_.large) {
    journal.records_max = 1000;
    journal.file_bytes = 1 << 20;
  }
  processes_.push_back(
      std::make_unique<JournalProcess>(world_, server_, disk_, plan_.faults, std::move(journal), seed));
  return *processes_.back();
}

void JournalModel::die_before(uint64_t after) {
  JournalProcess* dying = &process();
  const uint64_t at = dying->faulty->operations() + after;
  dying->faulty->on_operation([this, dying, at](uint64_t index, StoreOperation, std::string_view) {
    if (index < at || dead_) return;
    dead_ = true;
    dying->faulty->halt();
    world_.kill(dying->loop);
  });
}

Task<void> JournalModel::begin_into(JournalProcess& process, std::optional<Result<void>>& into) {
  Result<void> begun;
  for (int attempt = 0; attempt < 50; ++attempt) {  // faults may refuse some
    begun = co_await process.store.begin();
    if (begun) break;
  }
  into = begun;
}

bool JournalModel::begin() {
  auto begun = std::make_shared<std::optional<Result<void>>>();
  process().loop.spawn(begin_into(process(), *begun));
  EXPECT_TRUE(world_.run_until([&] { return begun->has_value() || dead_; }, world_.now() + 600 * kSecond));
  world_.run_for(kMillisecond);
  return begun->has_value() && begun->value().has_value();
}

void JournalModel::serve() {
  if (!begin()) return;
  wrong_ += complaint();
  SeededRandom random(plan_.seed * 77 + processes_.size());
  for (uint32_t account = 0; account < plan_.accounts; ++account)
    process().loop.spawn(live(*this, account, SeededRandom(random.next())));
}

Task<Result<void>> JournalModel::write_in_place(Store& store, std::string path, std::string text) {
  OpenOptions options;
  options.write = options.truncate = true;
  CANOPY_CO_ASSIGN(auto file, co_await store.open(std::move(path), options));
  std::string_view piece = text;
  auto written = co_await file->write(0, std::span(&piece, 1), Durable::kYes);
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

Task<Result<void>> JournalModel::change(JournalModel& self, Store& store, uint32_t account,
                                        SeededRandom& random, std::string staged) {
  AccountFacts& facts = self.facts_[account];
  const AccountState now = facts.answered;
  const std::string info = info_of(account, now.home);
  const uint64_t what = self.plan_.moves ? random.below(12) : 12;
  if (what <= 1) {  // to another home, by an exchange of names at times
    facts.asked.home = static_cast<uint32_t>((now.home + 1 + random.below(kHomes - 1)) % kHomes);
    const std::string to = directory_of(account, facts.asked.home);
    co_return co_await store.rename(directory_of(account, now.home), to, RenameMode::kNoReplace,
                                    random.chance(0.5) ? Durable::kYes : Durable::kNo);
  }
  if (what == 2 && now.version != 0) {
    facts.asked.version = 0;
    co_return co_await store.remove(info, Durable::kYes);
  }
  if (what == 3 && now.version != 0) {  // away and back, as a file
    const std::string aside = aside_of(account);
    CANOPY_CO_TRY(co_await store.rename(info, aside, RenameMode::kReplace, Durable::kYes));
    for (;;) {  // so that a refusal leaves it where it is looked for
      auto back = co_await store.rename(aside, info, RenameMode::kReplace, Durable::kYes);
      if (back) co_return back;
    }
  }
  facts.asked.version = facts.next++;
  const std::string text = version_text(facts.asked.version);
  if (what == 4 && now.version != 0 && self.plan_.faults.error == 0) {
    facts.in_place = true;
    auto written = co_await write_in_place(store, info, text);
    facts.in_place = false;
    co_return written;
  }
  co_return co_await store.replace({std::move(staged), info, text});
}

// As SettingsFiles does: after an error it is looked which file is there, and that one is made sure of.
Task<void> JournalModel::live(JournalModel& self, uint32_t account, SeededRandom random) {
  JournalProcess& process = self.process();
  AccountFacts& facts = self.facts_[account];
  const size_t number = self.processes_.size();
  for (uint64_t turn = 0;; ++turn) {
    const std::string staged = fmt::format(".canopy/stage/{}.{}.{}", number, account, turn);
    auto done = co_await change(self, process.store, account, random, staged);
    if (!done) {
      ++self.refused_;
      while (!co_await process.store.sync_all()) {
      }
      std::string wrong;
      auto is = self.found(account, wrong);
      EXPECT_TRUE(is && (*is == facts.answered || *is == facts.asked)) << wrong << done.error().to_string();
      facts.asked = is.value_or(facts.asked);
    }
    facts.answered = facts.asked;
    ++self.answered_;
    if (random.chance(0.3)) co_await process.loop.sleep(static_cast<Nanos>(random.below(5 * kMillisecond)));
  }
}

std::optional<AccountState> JournalModel::found(uint32_t account, std::string& complaint) {
  std::optional<AccountState> state;
  for (uint32_t home = 0; home < kHomes; ++home) {
    if (!disk_.attributes(directory_of(account, home))) continue;
    if (state) complaint += fmt::format("account {} is at two places; ", account);
    state = AccountState{home, 0};
    std::string path = info_of(account, home);
    if (!disk_.attributes(path) && disk_.attributes(aside_of(account))) path = aside_of(account);
    auto file = disk_.open(path, {});
    if (!file) continue;
    std::string bytes(1 << 12, '\0');
    bytes.resize(*disk_.read(*file, false, 0, std::span(bytes.data(), bytes.size())));
    disk_.close(*file);
    const auto version = version_in(bytes);
    if (!version && facts_[account].in_place) {  // which no such file promises
      EXPECT_TRUE(disk_.remove(path, Durable::kYes));
      facts_[account].asked.version = 0;
      continue;
    }
    if (!version)
      complaint += fmt::format("the info of account {} is not whole ({} bytes); ", account, bytes.size());
    state->version = version.value_or(UINT64_MAX);
  }
  if (!state) complaint += fmt::format("account {} is at no place; ", account);
  return state;
}

std::string JournalModel::complaint() {
  std::string wrong;
  for (uint32_t account = 0; account < plan_.accounts; ++account) {
    AccountFacts& facts = facts_[account];
    auto state = found(account, wrong);
    if (!state) continue;
    // A move may be lost when it was not asked to be durable.
    const bool fits = state->version == facts.answered.version || state->version == facts.asked.version;
    if (!fits)
      wrong += fmt::format("account {} has version {}, answered was {}, asked {}; ", account, state->version,
                           facts.answered.version, facts.asked.version);
    facts.answered = facts.asked = *state;
    facts.in_place = false;
    if (disk_.attributes(aside_of(account)))
      EXPECT_TRUE(disk_.rename(aside_of(account), info_of(account, state->home), RenameMode::kReplace,
                               Durable::kYes));
  }
  return wrong;
}

}  // namespace canopy
