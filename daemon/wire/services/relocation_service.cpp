#include "daemon/wire/services/relocation_service.h"

#include "daemon/wire/services/relocation_stores.h"

namespace canopy::wire {
namespace {

void put_layout(const TreeLayout& layout, v1::Layout* out) {
  out->set_account_foldering(layout.account_foldering().to_string());
  out->set_fast_index(layout.fast_index());
}

// Which the run may have yet to look at: then it is paused no longer.
void put_settings(const RelocationSettings& settings, v1::RelocationInfo& out) {
  if (!settings.paused && out.state() == relocation_state_name(Relocations::State::kPaused))
    out.set_state(std::string(relocation_state_name(Relocations::State::kWaiting)));
  out.set_rate(settings.rate);
  out.set_concurrency(settings.concurrency);
  out.set_window(settings.window ? settings.window->to_string() : "");
}

RelocationSettings settings_in(const dict::Dict& dictionary) {
  auto parsed = RelocationSettings::parse(dictionary);
  return parsed ? *parsed : RelocationSettings();  // a broken one is replaced by the next change
}

RelocationSettings settings_of(const dict::Dict& of_domain) {
  const dict::Value* value = of_domain.find(kRelocationKey);
  if (value == nullptr || value->dict() == nullptr) return {};
  return settings_in(*value->dict());
}

Result<void> change_settings(RelocationSettings& now, const v1::SetRelocationRequest& request) {
  if ((request.which() & 1) != 0) now.paused = request.paused();
  if ((request.which() & 2) != 0) now.rate = request.rate();
  if ((request.which() & 4) != 0) now.concurrency = request.concurrency();
  if ((request.which() & 8) != 0) now.window.reset();
  if ((request.which() & 8) != 0 && !request.window().empty()) {
    CANOPY_ASSIGN(now.window, DayWindow::parse(request.window()));
  }
  CANOPY_TRY(RelocationSettings::parse(now.to_dict()));
  return {};
}

void keep_settings(const RelocationSettings& settings, dict::Dict& of_domain) {
  dict::Dict dictionary = settings.to_dict();
  if (dictionary.empty())
    of_domain.erase(kRelocationKey);
  else
    of_domain.set(kRelocationKey, std::move(dictionary));
}

// Once its other figures are there.
void put_times(Nanos moving_for, v1::RelocationInfo& out) {
  const double seconds = static_cast<double>(moving_for) / static_cast<double>(kSecond);
  out.set_seconds(static_cast<uint64_t>(seconds));
  if (seconds <= 0) return;
  out.set_moved_per_second(static_cast<double>(out.moved()) / seconds);
  const bool moving = out.state() == relocation_state_name(Relocations::State::kMoving);
  if (moving && out.accounts() > out.seen() && out.seen() > 0)
    out.set_seconds_left(static_cast<uint64_t>(static_cast<double>(out.accounts() - out.seen()) * seconds /
                                               static_cast<double>(out.seen())));
}

v1::RelocationInfo describe(const Relocations::Run& run, Nanos now) {
  v1::RelocationInfo out;
  out.set_domain(run.domain);
  out.set_state(std::string(relocation_state_name(run.state)));
  if (run.mounts != nullptr) {
    out.set_superseded_rows(static_cast<uint32_t>(run.mounts->superseded().size()));
  } else {
    put_layout(run.to, out.mutable_to());
    for (const TreeLayout& layout : run.from) put_layout(layout, out.add_from());
  }
  put_settings(run.settings, out);
  out.set_bytes_copied(run.bytes_copied);
  out.set_held_ms_max(static_cast<uint64_t>(run.held_max / kMillisecond));
  out.set_accounts(run.accounts);
  out.set_seen(run.seen);
  out.set_moved(run.moved);
  out.set_failed(run.failed);
  out.set_last_error(run.last_error);
  put_times(run.moving_until(now), out);
  return out;
}

// Of the domains themselves; `tree` may be newer than the figures.
v1::RelocationInfo describe(const DomainMoves::Figures& of, const TreeSettings& tree, Nanos now) {
  v1::RelocationInfo out;
  out.set_domain(std::string(kAllDomains));
  const bool known = of.to == tree.domain_foldering && of.from == tree.older_domain_folderings;
  out.set_state(tree.older_domain_folderings.empty() ? (of.any ? "finished" : "none")
                : known                              ? std::string(relocation_state_name(of.state))
                                                     : "waiting");
  out.mutable_to()->set_account_foldering(tree.domain_foldering.to_string());
  for (const Foldering& from : tree.older_domain_folderings)
    out.add_from()->set_account_foldering(from.to_string());
  put_settings(settings_of(tree.tree.dict), out);
  out.set_accounts(of.domains);
  out.set_seen(of.seen);
  out.set_moved(of.moved);
  out.set_failed(of.failed);
  out.set_last_error(of.last_error);
  out.set_held_ms_max(static_cast<uint64_t>(of.held_max / kMillisecond));
  put_times(of.moving_until(now), out);
  return out;
}

// Before the first look at it.
v1::RelocationInfo describe(const Domain& domain) {
  v1::RelocationInfo out;
  out.set_domain(domain.name);
  out.set_state(domain.older.empty() ? "none"
                                     : std::string(relocation_state_name(Relocations::State::kWaiting)));
  put_layout(domain.layout, out.mutable_to());
  for (const TreeLayout& layout : domain.older) put_layout(layout, out.add_from());
  put_settings(settings_of(domain.settings.dict), out);
  return out;
}

}  // namespace

void RelocationService::add_to(MethodTable& table) {
  constexpr std::string_view kName = "canopy.v1.Relocation";
  using S = RelocationService;
  table.add<v1::Empty, v1::ListRelocationsResponse>(kName, "List", this, &S::list);
  table.add<v1::DomainRequest, v1::RelocationInfo>(kName, "Get", this, &S::get);
  table.add<v1::SetRelocationRequest, v1::RelocationInfo>(kName, "Set", this, &S::set);
  table.add<v1::DomainRequest, v1::RelocationInfo>(kName, "Cancel", this, &S::cancel);
}

Task<Result<v1::ListRelocationsResponse>> RelocationService::list(CallContext& call, const v1::Empty&) {
  v1::ListRelocationsResponse out;
  Loop& first = node_.shards().front()->loop;
  const v1::RelocationInfo domains = co_await info_of_domains(call);
  if (domains.state() != "none") *out.add_relocations() = domains;
  co_await first.switch_to();
  for (const Relocations::RunRef& run : relocations_.all())
    *out.add_relocations() = describe(*run, first.now());
  co_await call.loop().switch_to();
  std::vector<v1::RelocationInfo*> all;
  for (v1::RelocationInfo& one : *out.mutable_relocations()) all.push_back(&one);
  co_await put_stores(node_, all);
  co_return out;
}

Task<Result<v1::RelocationInfo>> RelocationService::info_of(CallContext& call, std::string domain) {
  Shard& first = *node_.shards().front();
  co_await first.loop.switch_to();
  auto known = first.accounts.domains().get(domain);
  Result<v1::RelocationInfo> out = v1::RelocationInfo();
  const Relocations::RunRef run = relocations_.find(domain);
  if (!known) {
    out = fail(std::move(known).error());
  } else if (run && run->to == (*known)->layout &&
             (run->from == (*known)->older || (*known)->older.empty())) {
    out = describe(*run, first.loop.now());
    put_settings(settings_of((*known)->settings.dict), *out);  // which the run may have yet to look at
  } else {
    out = describe(**known);
  }
  co_await call.loop().switch_to();
  co_return out;
}

Task<Result<v1::RelocationInfo>> RelocationService::mounts_info(CallContext& call) {
  Shard& first = *node_.shards().front();
  co_await first.loop.switch_to();
  v1::RelocationInfo out;
  out.set_domain(kMountsRun);
  out.set_state("none");
  if (first.stores != nullptr) {
    const auto config = first.stores->config();
    const Relocations::RunRef run = relocations_.find(kMountsRun);
    const bool under_way = !config->mounts->superseded().empty();
    if (run && (!under_way || *run->mounts == *config->mounts)) {
      out = describe(*run, first.loop.now());
    } else if (under_way) {
      out.set_state(std::string(relocation_state_name(Relocations::State::kWaiting)));
      out.set_superseded_rows(static_cast<uint32_t>(config->mounts->superseded().size()));
    }
    put_settings(settings_in(config->relocation), out);
  }
  co_await call.loop().switch_to();
  co_return out;
}

Task<v1::RelocationInfo> RelocationService::info_of_domains(CallContext& call) {
  Shard& first = *node_.shards().front();
  co_await first.loop.switch_to();
  v1::RelocationInfo out = describe(domain_moves_.figures(), first.accounts.domains().tree, first.loop.now());
  co_await call.loop().switch_to();
  co_return out;
}

Task<Result<v1::RelocationInfo>> RelocationService::get(CallContext& call, const v1::DomainRequest& request) {
  CANOPY_CO_ASSIGN(v1::RelocationInfo out, co_await info_named(call, request.name()));
  v1::RelocationInfo* const one[] = {&out};
  co_await put_stores(node_, one);
  co_return out;
}

Task<Result<v1::RelocationInfo>> RelocationService::info_named(CallContext& call, std::string name) {
  if (name == kMountsRun) co_return co_await mounts_info(call);
  if (name == kAllDomains) co_return co_await info_of_domains(call);
  CANOPY_CO_ASSIGN(std::string domain, prepare_domain(name));
  co_return co_await info_of(call, std::move(domain));
}

Task<Result<void>> RelocationService::change_domain(std::string domain, bool beforehand, Change change) {
  auto apply = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Shard& on, DomainTable& into, std::string name, bool early,
              const Change& alter) -> Task<Result<void>> {
      CANOPY_CO_ASSIGN(auto before, into.get(name));
      if (before->older.empty() && !early)
        co_return fail(Code::kNotFound, name,
                       fmt::format("no account of it has to move; canopyctl domain set {} Foldering=METHOD "
                                   "begins a relocation",
                                   name));
      dict::VersionedDict file = before->settings;
      CANOPY_CO_TRY(alter(*before, file.dict));
      CANOPY_CO_ASSIGN(auto made, make_domain(into.tree, *before, file));
      auto written = co_await on.files.replace(made->slot, made->settings_file(), std::move(file));
      if (!written) co_return fail(std::move(written).error());
      CANOPY_CO_ASSIGN(into.domains[name], make_domain(into.tree, *before, std::move(*written)));
      co_return Result<void>();
    }(shard, table, domain, beforehand, change);
  };
  co_return co_await node_.change_domains(apply);
}

Task<Result<v1::RelocationInfo>> RelocationService::set(CallContext& call,
                                                        const v1::SetRelocationRequest& request) {
  if (request.domain() == kMountsRun) {
    const bool early = (request.which() & 1) == 0;
    CANOPY_CO_TRY(co_await stores_.change_relocation(call, early, [&](dict::Dict& how) -> Result<void> {
      RelocationSettings now = settings_in(how);
      CANOPY_TRY(change_settings(now, request));
      how = now.to_dict();
      return {};
    }));
    co_return co_await mounts_info(call);
  }
  if (request.domain() == kAllDomains) {
    CANOPY_CO_TRY(co_await domain_moves_.change_settings(
        [&request](RelocationSettings& now) { return change_settings(now, request); }));
    co_return co_await info_of_domains(call);
  }
  CANOPY_CO_ASSIGN(std::string domain, prepare_domain(request.domain()));
  CANOPY_CO_TRY(co_await change_domain(domain, (request.which() & 1) == 0,
                                       [&](const Domain&, dict::Dict& settings) -> Result<void> {
                                         RelocationSettings now = settings_of(settings);
                                         CANOPY_TRY(change_settings(now, request));
                                         keep_settings(now, settings);
                                         return {};
                                       }));
  co_return co_await info_of(call, std::move(domain));
}

// Back to the layout that was the newest before this one; what has moved already goes back.
Task<Result<v1::RelocationInfo>> RelocationService::cancel(CallContext& call,
                                                           const v1::DomainRequest& request) {
  if (request.name() == kMountsRun) {
    CANOPY_CO_TRY(co_await stores_.put_back_mounts(call));
    co_return co_await mounts_info(call);
  }
  if (request.name() == kAllDomains) {
    CANOPY_CO_TRY(co_await domain_moves_.cancel());
    co_return co_await info_of_domains(call);
  }
  CANOPY_CO_ASSIGN(std::string domain, prepare_domain(request.name()));
  CANOPY_CO_TRY(
      co_await change_domain(domain, false, [](const Domain& now, dict::Dict& settings) -> Result<void> {
        const TreeLayout& back = now.older.front();
        // Where its settings lay before the domain moved is no layout that it could have here.
        if (back.domain_foldering() != now.layout.domain_foldering())
          return fail(Code::kNotFound, now.name,
                      "its settings follow the domain, which has moved: canopyctl relocation cancel '*'");
        CANOPY_TRY(supersede(now, back, settings));
        settings.set(kAccountFolderingKey, back.account_foldering().to_string());
        settings.set(kFastIndexKey, static_cast<int64_t>(back.fast_index()));
        RelocationSettings how = settings_of(settings);
        how.paused = false;
        keep_settings(how, settings);
        return {};
      }));
  co_return co_await info_of(call, std::move(domain));
}

}  // namespace canopy::wire
