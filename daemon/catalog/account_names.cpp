#include "daemon/catalog/account_names.h"

#include "daemon/base/log.h"

namespace canopy {
namespace {

constexpr size_t kFoldersAtOnce = 1000;
constexpr size_t kComparedAtOnce = 4096;
constexpr size_t kDifferencesMax = 100;
constexpr Nanos kRewalkWait = kSecond;
constexpr int kRowsReadMax = 3;  // for one page; then it is walked

// Runs on the loop after everything that any thread has posted before.
struct AfterWhatWasPosted {
  Loop& loop;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    loop.post([handle] { handle.resume(); });
  }
  void await_resume() const noexcept {}
};

std::unexpected<Error> overtaken(const std::string& domain) {
  return fail(Code::kConflict, domain, "the catalog's rows of the domain are made anew");
}

// What one generation lists and another does not.
Result<void> compare(const AccountNamesRows& rows, uint64_t before, uint64_t now,
                     std::vector<std::string>& out) {
  std::string after;
  for (bool end = false; !end && out.size() < kDifferencesMax;) {
    CANOPY_ASSIGN(NamePage old_page, rows.names(before, after, "", kComparedAtOnce));
    CANOPY_ASSIGN(NamePage new_page, rows.names(now, after, "", kComparedAtOnce));
    // Beyond the smaller of two full pages nothing is known of the other.
    std::string until;
    for (const NamePage* page : {&old_page, &new_page}) {
      if (!page->end && (until.empty() || page->names.back() < until)) until = page->names.back();
    }
    end = until.empty();
    std::vector<std::string> differ;
    std::ranges::set_symmetric_difference(old_page.names, new_page.names, std::back_inserter(differ));
    for (std::string& name : differ) {
      if ((end || name <= until) && out.size() < kDifferencesMax) out.push_back(std::move(name));
    }
    after = until;
  }
  return {};
}

}  // namespace

AccountNames::AccountNames(Loop& loop, Store& store, Catalog* catalog)
    : loop_(loop), store_(store), catalog_(catalog), background_(loop) {}

AccountNames::~AccountNames() = default;

Task<void> AccountNames::stop() {
  stopping_ = true;
  for (auto& [name, names] : domains_) lose(*names);  // a walk ends at its next step
  co_await background_.join();
}

void AccountNames::lose(Names& names) {
  names.generation = names.building = 0;
  names.complete = false;
  names.pending.clear();
}

AccountNames::NamesRef AccountNames::find(const std::shared_ptr<const Domain>& domain) {
  NamesRef& names = domains_[domain->name];
  if (!names) names = std::make_shared<Names>(loop_);
  uint64_t instance = catalog_->instance();
  if (names->domain != domain || names->instance != instance) {
    lose(*names);
    names->domain = domain;
    names->instance = instance;
    names->loaded = false;
  }
  return names;
}

template <class F>
auto AccountNames::on_rows(NamesRef names, F work)
    -> Task<std::invoke_result_t<F&, AccountNamesRows&, CatalogRows&>> {
  using Answer = std::invoke_result_t<F&, AccountNamesRows&, CatalogRows&>;
  auto alone = co_await names->gate.lock();
  const uint64_t instance = names->instance;
  const std::shared_ptr<const Domain> domain = names->domain;
  const std::array<uint64_t, 2> generations{names->generation, names->building};
  const std::map<std::string, bool> pending = std::exchange(names->pending, {});
  Answer result = co_await catalog_->run(loop_, [&](CatalogRows& rows) -> Answer {
    if (catalog_->instance() != instance) return overtaken(domain->name);
    AccountNamesRows mine(rows, domain->name);
    CatalogChanges changes;
    for (uint64_t generation : generations) {
      if (generation == 0) continue;
      for (const auto& [name, present] : pending) mine.add_change(changes, generation, name, present);
    }
    if (!changes.empty()) CANOPY_TRY(rows.write(changes));
    return work(mine, rows);
  });
  // Changes may be lost with it: the rows are of no more use.
  if (!result && names->instance == instance && names->domain == domain) lose(*names);
  co_return result;
}

Task<Result<NamePage>> AccountNames::list(std::shared_ptr<const Domain> domain, std::string after,
                                          std::string prefix, size_t limit) {
  co_await AfterWhatWasPosted{loop_};
  take_moves();
  if (catalog_ != nullptr && catalog_->instance() == 0) {
    // Opens it, or learns that it cannot be.
    (void)co_await catalog_->run(loop_, [](CatalogRows&) -> Result<void> { return {}; });
  }
  if (catalog_ != nullptr && catalog_->instance() != 0 && !stopping_) {
    NamesRef names = find(domain);
    if (!names->loaded || after.empty()) co_await verify(names);
    if (!names->complete && !stopping_) {
      start_build(names, nullptr);
      co_await names->built.wait_until(loop_.now() + kNamesBuildWait);
    }
    for (int i = 0; i < kRowsReadMax && names->complete && names->domain == domain; ++i) {
      const uint64_t generation = names->generation;
      auto page = co_await on_rows(names, [&](AccountNamesRows& rows, CatalogRows&) {
        return rows.names(generation, after, prefix, limit);
      });
      if (!page) break;
      // They may have been given up, or made anew, before or while they were read.
      if (!names->complete || names->generation != generation || names->domain != domain) continue;
      catalog_->counters().pages_from_rows.fetch_add(1, std::memory_order_relaxed);
      co_return page;
    }
  }
  if (catalog_ != nullptr) catalog_->counters().pages_walked.fetch_add(1, std::memory_order_relaxed);
  co_return co_await walk_pages(domain, {std::move(after), std::move(prefix), limit, {}});
}

Task<Result<NamePage>> AccountNames::walk_pages(std::shared_ptr<const Domain> domain, NameWindow window) {
  for (int walks = 0; walks < kNamesWalksMax; ++walks) {
    take_moves();
    const uint64_t begun = moves_begun_;
    const bool quiet = moving_.empty();
    CANOPY_CO_TRY(co_await walk_accounts(store_, domain, window));
    take_moves();
    if (quiet && moves_begun_ == begun) break;
  }
  co_return window.page();
}

void AccountNames::changed(const AccountAddress& address, std::optional<bool> present) {
  take_moves();  // of what was told before this, nothing may come after it
  change(address, present);
}

void AccountNames::change(const AccountAddress& address, std::optional<bool> present) {
  auto at = domains_.find(address.domain);
  if (at == domains_.end()) return;
  const NamesRef& names = at->second;
  if (names->generation == 0 && names->building == 0)
    return;  // whoever makes rows reads the tree after this change
  if (!present) return lose(*names);
  names->pending[address.account] = *present;
  names->hidden = true;
  if (names->pending.size() > kNamesPendingMax) return lose(*names);
  if (names->pending.size() >= kNamesFlushedAt && !names->flushing && !stopping_) {
    names->flushing = true;
    background_.spawn(flush(names));
  }
}

bool AccountNames::moves(const AccountAddress& address, bool begins) {
  std::lock_guard lock(told_mutex_);
  told_.emplace_back(address, begins);
  return told_.size() == kMovesToldTakenAt;
}

void AccountNames::take_moves() {
  std::vector<std::pair<AccountAddress, bool>> told;
  {
    std::lock_guard lock(told_mutex_);
    told.swap(told_);
  }
  for (const auto& [address, begins] : told) move(address, begins);
}

void AccountNames::move(const AccountAddress& address, bool begins) {
  if (begins) {
    moving_.insert(address);
    ++moves_begun_;
  } else {
    moving_.erase(address);
  }
  auto at = domains_.find(address.domain);
  if (at == domains_.end()) return;
  at->second->hidden = true;
  if (at->second->building != 0) change(address, true);
}

Task<void> AccountNames::flush(NamesRef names) {
  (void)co_await on_rows(names, [](AccountNamesRows&, CatalogRows&) -> Result<void> { return {}; });
  names->flushing = false;
}

void AccountNames::keep_only(const DomainTable& table) {
  for (auto at = domains_.begin(); at != domains_.end();) {
    if (table.find(at->first) != nullptr) {
      ++at;
      continue;
    }
    lose(*at->second);
    if (!stopping_ && at->second->domain) background_.spawn(forget(at->second));
    at = domains_.erase(at);
  }
}

Task<void> AccountNames::forget(NamesRef names) {
  co_await names->built.wait();
  (void)co_await on_rows(names, [](AccountNamesRows& rows, CatalogRows&) { return rows.forget(); });
}

// Finds out whether the rows that there are say what the tree says.
Task<void> AccountNames::verify(NamesRef names) {
  auto alone = co_await names->verifying.lock();
  Nanos begun = loop_.now();
  if (names->loaded && names->complete && (names->young || names->hidden)) {
    Nanos pause =
        std::max(names->hidden ? kNamesRewalkMin : kNamesSettle, kNamesRewalkShare * names->build_took);
    if (begun - names->built_at < pause) co_return;
    start_build(names, nullptr);
    co_await names->built.wait_until(begun + kRewalkWait);  // the rows serve, should it take longer
    co_return;
  }
  if (names->loaded &&
      (!names->complete || begun - names->verified_at < kNamesRewalkShare * names->verify_took)) {
    co_return;
  }
  if (!names->loaded) {
    auto held =
        co_await on_rows(names, [](AccountNamesRows& rows, CatalogRows&) { return rows.generation(); });
    if (!held) co_return;
    names->loaded = true;
    names->young = names->hidden = false;
    names->generation = *held;  // takes the changes from now on
  }
  uint64_t generation = names->generation;
  if (generation == 0) co_return;
  auto hold = co_await stamps_hold(names, generation);
  take_moves();
  names->verified_at = loop_.now();
  names->verify_took = names->verified_at - begun;
  // A change of our own meanwhile may be what moved a stamp; the next listing, or a walk, tells.
  if (names->generation != generation) co_return;
  if (hold && *hold) {
    names->complete = true;
  } else if (!names->hidden || !names->complete) {
    lose(*names);
  }
}

Task<Result<bool>> AccountNames::stamps_hold(NamesRef names, uint64_t generation) {
  std::string after;
  for (;;) {
    auto page = co_await on_rows(names, [&](AccountNamesRows& rows, CatalogRows&) {
      return rows.folders(generation, after, kFoldersAtOnce);
    });
    if (!page) co_return fail(std::move(page).error());
    for (const AccountNamesRows::Folder& folder : *page) {
      if (folder.stamp.file_id == 0) co_return false;
      auto found = co_await store_.attributes(folder.path);
      if (!found && found.error().code() == Code::kNotFound) co_return false;
      if (!found) co_return fail(std::move(found).error());
      if (FolderStamp{found->file_id, found->changed} != folder.stamp) co_return false;
    }
    if (page->size() < kFoldersAtOnce) co_return !after.empty() || !page->empty();
    after = page->back().path;
  }
}

void AccountNames::start_build(const NamesRef& names, std::vector<std::string>* differences) {
  if (!names->built.is_set()) return;
  names->built.reset();
  background_.spawn(build(names, differences));
}

Task<void> AccountNames::build(NamesRef names, std::vector<std::string>* differences) {
  Nanos begun = loop_.now();
  auto done = co_await fill(names, differences);
  names->building = 0;
  names->built_at = names->verified_at = loop_.now();
  catalog_->counters().domains_walked.fetch_add(1, std::memory_order_relaxed);
  names->build_took = names->built_at - begun;
  if (!done && done.error().code() != Code::kConflict) {
    log_event(LogLevel::kWarning, "account-names-not-built", names->domain->name,
              {{"error", done.error().to_string()}});
  }
  names->built.set();
}

// Walks the domain into a new generation of rows, and lets it count.
Task<Result<void>> AccountNames::fill(NamesRef names, std::vector<std::string>* differences) {
  uint64_t kept = names->complete ? names->generation : 0;
  auto held = co_await on_rows(names, [&](AccountNamesRows& rows, CatalogRows&) -> Result<uint64_t> {
    CANOPY_TRY(rows.begin(kept));
    return rows.generation();
  });
  if (!held) co_return fail(std::move(held).error());
  uint64_t generation = std::max(*held, kept) + 1;
  if (stopping_ || (names->complete ? names->generation : 0) != kept)
    co_return overtaken(names->domain->name);
  names->building = generation;  // before the walk begins: changes behind its back go under it as well
  bool young = std::exchange(names->young, false), hidden = std::exchange(names->hidden, false);
  take_moves();
  for (const AccountAddress& address : moving_)
    if (address.domain == names->domain->name) change(address, true);
  auto walked = co_await walk(names, generation, names->domain->directory(), 0);
  take_moves();
  if (!walked) {
    names->young = names->young || young;
    names->hidden = names->hidden || hidden;
    co_return fail(std::move(walked).error());
  }
  std::vector<std::string> differ;
  auto finished = co_await on_rows(names, [&](AccountNamesRows& rows, CatalogRows&) -> Result<void> {
    if (differences != nullptr && kept != 0) CANOPY_TRY(compare(rows, kept, generation, differ));
    return rows.finish(generation);
  });
  if (!finished) co_return fail(std::move(finished).error());
  if (names->building != generation) co_return overtaken(names->domain->name);
  if (differences != nullptr) *differences = std::move(differ);
  names->generation = generation;
  names->complete = true;
  co_return Result<void>();
}

Task<Result<void>> AccountNames::walk(NamesRef names, uint64_t generation, std::string path, uint32_t depth) {
  int64_t begun = loop_.wall_clock_ns() / kSecond;
  auto before = co_await store_.attributes(path);
  if (!before) co_return fail(std::move(before).error());
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await store_.list(path, cookie);
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    auto written = co_await on_rows(names, [&](AccountNamesRows& mine, CatalogRows& rows) -> Result<void> {
      CatalogChanges changes;
      for (const DirectoryEntry& entry : page->entries) {
        if (entry.type != FileType::kDirectory) continue;
        if (classify_element(entry.name, true) != TreeElement::kAccount) continue;
        mine.add_walked(changes, generation, account_of_element(entry.name));
      }
      return rows.write(changes);
    });
    if (!written) co_return fail(std::move(written).error());
    if (names->building != generation) co_return overtaken(names->domain->name);
    for (const DirectoryEntry& entry : page->entries) {
      bool folder = entry.type == FileType::kDirectory && depth < kFolderingLevelsMax &&
                    classify_element(entry.name, true) == TreeElement::kFolder;
      if (folder) CANOPY_CO_TRY(co_await walk(names, generation, path + "/" + entry.name, depth + 1));
    }
  }
  auto after = co_await store_.attributes(path);
  if (!after) co_return fail(std::move(after).error());
  FolderStamp stamp{after->file_id, after->changed};
  bool settled = stamp == FolderStamp{before->file_id, before->changed} &&
                 begun - stamp.modified.seconds > kNamesStampSettleSeconds;
  if (!settled) {
    stamp.file_id = 0;
    names->young = true;
  }
  co_return co_await on_rows(names, [&](AccountNamesRows& mine, CatalogRows& rows) -> Result<void> {
    CatalogChanges changes;
    mine.add_folder(changes, generation, path, stamp);
    return rows.write(changes);
  });
}

Task<Result<std::vector<std::string>>> AccountNames::check(std::shared_ptr<const Domain> domain) {
  std::vector<std::string> differences;
  co_await AfterWhatWasPosted{loop_};
  if (catalog_ == nullptr || catalog_->instance() == 0) co_return differences;
  NamesRef names = find(domain);
  if (!names->loaded) co_await verify(names);
  while (!names->built.is_set()) co_await names->built.wait();
  if (!names->complete || stopping_) co_return differences;
  start_build(names, &differences);
  co_await names->built.wait();
  co_return differences;
}

}  // namespace canopy
