#include "daemon/wire/services/domain_moves.h"

#include <algorithm>

#include "daemon/base/log.h"
#include "daemon/store/set/store_set.h"
#include "daemon/wire/services/domain_hold.h"

namespace canopy::wire {
namespace {

constexpr Nanos kDomainsLookedAtEvery = kSecond;
constexpr Nanos kDomainsRetriedAfter = 5 * kSecond;
constexpr Nanos kDomainInUseAgainAfter = 50 * kMillisecond;
constexpr Nanos kDomainRestMax = kSecond;
// So long others wait for a domain that is about to move while somebody goes on using an account of it: in
// the first attempt of a pass, the second one, and so on.
constexpr Nanos kHoldsAwaited[] = {20 * kMillisecond, 20 * kMillisecond, 50 * kMillisecond,
                                   100 * kMillisecond, 200 * kMillisecond};

const Foldering& foldering_of(const Domain& domain) { return domain.layout.domain_foldering(); }

bool is_at_place(const Domain& domain, const TreeSettings& tree) {
  return foldering_of(domain) == tree.domain_foldering;
}

RelocationSettings how_to_move(const dict::Dict& tree) {
  const dict::Value* value = tree.find(kRelocationKey);
  if (value == nullptr || value->dict() == nullptr) return {};
  auto parsed = RelocationSettings::parse(*value->dict());
  return parsed ? *parsed : RelocationSettings();
}

bool is_time(const RelocationSettings& how, Loop& loop) {
  return !how.paused && (!how.window || how.window->contains(loop.wall_clock_ns() / kSecond));
}

// Of one store, as one rename cannot be of several.
Task<Result<void>> check_one_store(Store& store, std::string directory, std::string to) {
  size_t parts = 0;
  for (const StoreSite& part : store.parts_of(directory)) {
    auto there = co_await store.attributes(part.path);
    if (!there && there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
    if (there) ++parts;
  }
  if (parts > 1)
    co_return fail(Code::kCrossStore, std::move(directory),
                   "it lies on several stores, and only a domain on one store can get another place");
  CANOPY_CO_ASSIGN(const StoreSite is, co_await store.site_of(directory));
  const StoreSite next = store.parts_of(to).front();
  if (is.root != next.root)
    co_return fail(Code::kCrossStore, std::move(directory),
                   fmt::format("it lies on store {}, and the mount table has {} on store {}: a row for that "
                               "place comes first",
                               is.name, to, next.name));
  co_return Result<void>();
}

Task<Result<void>> change_tree(
    Node& node, std::function<Result<void>(const DomainTable& table, dict::Dict& settings)> change) {
  co_return co_await node.change_domains([&change](Shard& on, DomainTable& table) -> Task<Result<void>> {
    return
        [](Shard& shard, DomainTable& into,
           const std::function<Result<void>(const DomainTable&, dict::Dict&)>& alter) -> Task<Result<void>> {
          dict::VersionedDict file = into.tree.tree;
          CANOPY_CO_TRY(alter(into, file.dict));
          CANOPY_CO_TRY(parse_tree_settings(file));
          auto written = co_await shard.files.replace(0, std::string(kTreeSettingsFile), std::move(file));
          if (!written) co_return fail(std::move(written).error());
          CANOPY_CO_ASSIGN(TreeSettings made, parse_tree_settings(std::move(*written)));
          made.defaults = std::move(into.tree.defaults);
          made.defaults_error = std::move(into.tree.defaults_error);
          into.tree = std::move(made);
          co_return Result<void>();
        }(on, table, change);
  });
}

// What an account has left on another store is known by where it went.
constexpr const char kAccountsGoElsewhere[] =
    "accounts are on the way to other stores: canopyctl relocation show /";

bool accounts_go_elsewhere(const Shard& on, const Domain& domain) {
  return on.stores != nullptr && on.stores->config()->mounts->may_have_led_to(domain.directory());
}

}  // namespace

struct DomainMoves::Attempt {
  std::string domain, directory;  // the latter: where it was
  Nanos awaited = 0;              // so long others wait while somebody goes on using an account of it
  Result<Moved> outcome = Moved::kNothing;
  std::string waits_for;  // kNotYet
  std::optional<DomainHold> hold;
  std::string now;  // where it is
};

// What is asked for may have become possible when it is another thing.
void DomainMoves::follow() {
  const TreeSettings& tree = node_.shards().front()->accounts.domains().tree;
  const bool other = figures_.to != tree.domain_foldering || figures_.from != tree.older_domain_folderings;
  if (other) next_pass_ = 0;
  figures_.to = tree.domain_foldering;
  figures_.from = tree.older_domain_folderings;
  figures_.settings = how_to_move(tree.tree.dict);
}

Task<void> DomainMoves::run(const std::atomic<bool>& over) {
  Loop& loop = node_.shards().front()->loop;
  while (!over) {
    follow();
    co_await read_half_moved();
    const RelocationSettings how = figures_.settings;
    const bool any = !figures_.from.empty(), time = is_time(how, loop);
    if (any) {
      if (!figures_.any || figures_.state == Relocations::State::kFinished)
        log_event(LogLevel::kInfo, "domains-relocation-begun", kTreeRoot,
                  {{"foldering", figures_.to.to_string()}});
      figures_.any = true;
      if (!time)
        figures_.state = how.paused ? Relocations::State::kPaused : Relocations::State::kWaiting;
      else if (figures_.state == Relocations::State::kFinished)
        figures_.state = Relocations::State::kMoving;
    }
    if (any && time && loop.now() >= next_pass_) {
      figures_.state = Relocations::State::kMoving;
      figures_.moving_since = loop.now();
      co_await pass(over);
      figures_.moving_for = figures_.moving_until(loop.now());
      figures_.moving_since = 0;
    }
    if (!over) co_await loop.sleep(kDomainsLookedAtEvery);
  }
}

void DomainMoves::hold_up(const std::string& error) {
  figures_.state = Relocations::State::kRetrying;
  next_pass_ = node_.shards().front()->loop.now() + kDomainsRetriedAfter;
  if (std::exchange(figures_.last_error, error) == error) return;
  log_event(LogLevel::kWarning, "domains-relocation-held-up", kTreeRoot, {{"error", error}});
}

Task<void> DomainMoves::pass(const std::atomic<bool>& over) {
  Shard& first = *node_.shards().front();
  const auto table = first.accounts.domain_table();
  bool some = false, may_some = false;
  for (const auto& [name, domain] : table->domains) {
    if (is_at_place(*domain, table->tree)) continue;
    some = true;
    may_some = may_some || !accounts_go_elsewhere(first, *domain);
  }
  if (some && !may_some) co_return hold_up(kAccountsGoElsewhere);
  figures_.domains = table->domains.size();
  figures_.seen = figures_.failed = 0;
  bool all = true;
  for (const auto& [name, domain] : table->domains) {
    ++figures_.seen;
    if (is_at_place(*domain, table->tree)) continue;
    const TreeSettings& now = first.accounts.domains().tree;
    const RelocationSettings how = how_to_move(now.tree.dict);
    if (over || !is_time(how, first.loop) || now.domain_foldering != table->tree.domain_foldering) co_return;
    const Nanos began = first.loop.now();
    Result<Moved> moved = Moved::kInUse;
    for (const Nanos awaited : kHoldsAwaited) {
      moved = co_await move(name, awaited);
      if (!moved || *moved != Moved::kInUse) break;
      co_await first.loop.sleep(kDomainInUseAgainAfter);
    }
    if (moved && *moved == Moved::kMoved) ++figures_.moved;
    if (!moved) {
      ++figures_.failed;
      figures_.last_error = moved.error().to_string();
      log_event(LogLevel::kWarning, "domain-not-moved", name, {{"error", figures_.last_error}});
    }
    all = all && moved && (*moved == Moved::kMoved || *moved == Moved::kNothing);
    // As long again is left to the users; with a rate, what is left of its part of a second.
    const Nanos took = first.loop.now() - began;
    co_await first.loop.sleep(
        std::max(std::min(took, kDomainRestMax), how.rate == 0 ? 0 : kSecond / how.rate - took));
  }
  if (!all) {
    if (figures_.failed != 0) {
      figures_.state = Relocations::State::kRetrying;
      next_pass_ = first.loop.now() + kDomainsRetriedAfter;
    }
    co_return;
  }
  auto done = co_await finish();
  if (!done) co_return hold_up(done.error().to_string());
  figures_.state = Relocations::State::kFinished;
  figures_.last_error.clear();
  log_event(LogLevel::kInfo, "domains-relocation-finished", kTreeRoot, {{"moved", figures_.moved}});
}

// Of a move nobody knows where it has ended.
Task<void> DomainMoves::read_half_moved() {
  Shard& first = *node_.shards().front();
  std::vector<std::pair<std::string, std::string>> were;  // names, and where they were
  for (const auto& [name, broken] : first.accounts.domains().broken)
    if (broken.error.retryable()) were.emplace_back(name, broken.directory);
  if (were.empty() || first.loop.now() < next_look_) co_return;
  auto read = co_await node_.change_domains(
      [](Shard& on, DomainTable& into) { return read_broken_again(on.files, into); });
  if (!read) co_return hold_up(read.error().to_string());
  for (const auto& [name, directory] : were) {
    const Domain* now = first.accounts.domains().find(name);
    if (now == nullptr) next_look_ = first.loop.now() + kDomainsRetriedAfter;  // somebody has to make room
    if (now == nullptr) continue;
    const std::string lies = now->directory();
    for (const auto& shard : node_.shards()) {
      co_await shard->loop.switch_to();
      shard->aliases.open_domain(directory, lies);
      shard->requests.open_domain(directory, lies);
    }
    co_await first.loop.switch_to();
  }
}

// Everybody waits from before the directory moves until every loop knows its new place.
Task<Result<DomainMoves::Moved>> DomainMoves::move(std::string domain, Nanos awaited) {
  Shard& first = *node_.shards().front();
  Attempt attempt;
  attempt.domain = std::move(domain);
  attempt.awaited = awaited;
  auto changed = co_await node_.change_domains(
      [this, &attempt](Shard& on, DomainTable& table) { return move_held(node_, on, table, attempt); });
  if (attempt.hold) {  // until every loop knows where it is
    co_await attempt.hold->release(attempt.now);
    figures_.held_max = std::max(figures_.held_max, first.loop.now() - attempt.hold->since());
  }
  if (!attempt.waits_for.empty()) figures_.last_error = attempt.waits_for;
  if (!changed) co_return fail(std::move(changed).error());
  co_return std::move(attempt.outcome);
}

Task<Result<void>> DomainMoves::move_held(Node& node, Shard& on, DomainTable& table, Attempt& attempt) {
  auto at = table.domains.find(attempt.domain);
  if (at == table.domains.end() || is_at_place(*at->second, table.tree)) co_return Result<void>();
  const std::shared_ptr<const Domain> domain = at->second;
  attempt.directory = attempt.now = domain->directory();
  attempt.outcome = Moved::kNotYet;
  if (accounts_go_elsewhere(on, *domain)) {
    attempt.waits_for = kAccountsGoElsewhere;
    co_return Result<void>();
  }
  auto planned = plan_domain_move(*domain, table.tree.domain_foldering);
  if (!planned && planned.error().code() == Code::kBusy) {
    attempt.waits_for = planned.error().to_string();
    co_return Result<void>();
  }
  Result<void> can;
  if (!planned)
    can = fail(planned.error().about(domain->name));
  else
    can = co_await check_one_store(*on.store, planned->from, planned->to);
  if (!can) {
    attempt.outcome = fail(std::move(can).error());
    co_return Result<void>();
  }
  attempt.hold.emplace(node, attempt.domain, attempt.directory);
  auto held = co_await attempt.hold->take(attempt.awaited);
  if (!held || !*held) {
    attempt.outcome = Moved::kInUse;
    if (!held) attempt.outcome = fail(std::move(held).error());
    co_return Result<void>();
  }
  co_return co_await move_now(on, table, domain, std::move(*planned), attempt);
}

// Where the domain is, with these settings, after a rename that was not answered with success.
static Task<Result<std::shared_ptr<const Domain>>> look_for(SettingsFiles& files, const TreeSettings& tree,
                                                            std::string name, StoreSite site,
                                                            dict::VersionedDict settings) {
  CANOPY_CO_TRY(co_await settle_domains(files, tree, std::move(site)));
  CANOPY_CO_ASSIGN(const Foldering lies, co_await find_domain(files.store(), tree, name));
  co_return make_domain(tree, std::move(name), std::move(settings), lies);
}

// The table has what is true of the domain afterwards, whatever has failed.
Task<Result<void>> DomainMoves::move_now(Shard& on, DomainTable& table, std::shared_ptr<const Domain> domain,
                                         DomainMove planned, Attempt& attempt) {
  CANOPY_CO_ASSIGN(const StoreSite site, co_await on.store->site_of(planned.from));
  dict::VersionedDict file = domain->settings;
  if (!planned.superseded.empty()) {
    put_superseded(planned.superseded, std::nullopt, file.dict);
    auto written = co_await on.files.replace(domain->slot, domain->settings_file(), std::move(file));
    if (!written) {
      attempt.outcome = fail(std::move(written).error());
      co_return Result<void>();
    }
    file = std::move(*written);
    CANOPY_CO_ASSIGN(table.domains[domain->name], make_domain(table.tree, *domain, file));
  }
  auto moved = co_await move_domain_directory(on.files, planned.from, planned.to);
  auto now = moved ? make_domain(table.tree, domain->name, std::move(file))
                   : co_await look_for(on.files, table.tree, domain->name, site, std::move(file));
  if (!moved) attempt.outcome = fail(std::move(moved).error());
  if (!now) {  // it is served again when it has been found
    table.domains.erase(domain->name);
    Error error(Code::kStoreUnavailable, domain->name,
                fmt::format("its directory was on the way from {} to {}, and is sought: {}", planned.from,
                            planned.to, now.error().to_string()));
    table.broken.insert_or_assign(domain->name, BrokenDomain{planned.from, std::move(error)});
    co_return Result<void>();
  }
  attempt.now = (*now)->directory();
  if (is_at_place(**now, table.tree)) attempt.outcome = Moved::kMoved;
  table.domains[domain->name] = std::move(*now);
  if (attempt.now != planned.from) co_await remove_empty_parents(*on.store, planned.from);
  co_return Result<void>();
}

// Nothing has to be looked for elsewhere any more; the renames were durable.
Task<Result<void>> DomainMoves::finish() {
  co_return co_await change_tree(node_, [](const DomainTable& table, dict::Dict& settings) -> Result<void> {
    if (!table.unread.empty()) return fail(table.unread.begin()->second);
    for (const auto& [name, domain] : table.domains)
      if (!is_at_place(*domain, table.tree)) return fail(Code::kTryAgain, name, "it has yet to move");
    for (const auto& [name, broken] : table.broken)
      if (broken.directory != domain_directory(table.tree.domain_foldering, name)) return fail(broken.error);
    settings.erase(kSupersededDomainsKey);
    return {};
  });
}

// What the settings say when the foldering becomes `to`.
static Result<void> put_foldering(const DomainTable& table, const Foldering& to, dict::Dict& settings) {
  if (!table.unread.empty()) return fail(table.unread.begin()->second);
  for (const auto& [name, domain] : table.domains) {
    auto place = TreeLayout::make(to, domain->layout.account_foldering(), domain->layout.fast_index());
    if (!place) return fail(place.error().about(name));
  }
  dict::Array older;
  std::vector<Foldering> before = {table.tree.domain_foldering};
  before.insert(before.end(), table.tree.older_domain_folderings.begin(),
                table.tree.older_domain_folderings.end());
  for (const Foldering& each : before)
    if (each != to) older.emplace_back(each.to_string());
  if (older.size() > kSupersededMax)
    return fail(Code::kInvalidArgument, std::string(kDomainFolderingKey),
                "domains lie under too many folderings already; let their relocation end first");
  settings.set(kDomainFolderingKey, to.to_string());
  if (older.empty())
    settings.erase(kSupersededDomainsKey);
  else
    settings.set(kSupersededDomainsKey, std::move(older));
  return {};
}

Task<Result<void>> set_domain_foldering(Node& node, Foldering to) {
  co_return co_await change_tree(node, [to](const DomainTable& table, dict::Dict& settings) -> Result<void> {
    return put_foldering(table, to, settings);
  });
}

Task<Result<void>> DomainMoves::cancel() {
  co_return co_await change_tree(node_, [](const DomainTable& table, dict::Dict& settings) -> Result<void> {
    if (table.tree.older_domain_folderings.empty())
      return fail(Code::kNotFound, std::string(kAllDomains), "no domain has to move");
    CANOPY_TRY(put_foldering(table, table.tree.older_domain_folderings.front(), settings));
    RelocationSettings how = how_to_move(settings);
    how.paused = false;
    settings.set(kRelocationKey, how.to_dict());
    return {};
  });
}

Task<Result<void>> DomainMoves::change_settings(Change change) {
  co_return co_await change_tree(node_, [&change](const DomainTable&, dict::Dict& settings) -> Result<void> {
    RelocationSettings how = how_to_move(settings);
    CANOPY_TRY(change(how));
    CANOPY_TRY(RelocationSettings::parse(how.to_dict()));
    if (how.to_dict().empty())
      settings.erase(kRelocationKey);
    else
      settings.set(kRelocationKey, how.to_dict());
    return {};
  });
}

}  // namespace canopy::wire
