#include "daemon/wire/services/info_service.h"

#include "daemon/account/log_end.h"
#include "daemon/dict/dict.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/domain_moves.h"

namespace canopy::wire {
namespace {

constexpr uint32_t kWatchSecondsMax = 1800;
constexpr size_t kInfoBesidesTextBytes = 64;  // of an InfoResponse and its frame, at most

// Settings that only Canopy's own operations may change.
constexpr std::string_view kGuardedKeys[] = {kPasswordKey, kSessionGenerationKey, kCreatedKey, kStateKey,
                                             kLogEndKey};
constexpr std::string_view kGuardedDomainKeys[] = {kSupersededKey, kRelocationKey};
constexpr std::string_view kDomainKeys[] = {kAccountFolderingKey, kFastIndexKey, kAccountDefaultsKey,
                                            kSupersededKey, kRelocationKey};

v1::InfoResponse respond(const dict::Dict& dict, const dict::Version& version) {
  v1::InfoResponse out;
  out.set_text(dict::print(dict, dict::Style::kPretty));
  out.set_version(version.number);
  out.set_epoch(version.epoch);
  return out;
}

// Merges or replaces; #NULL# removes a key.
void change(dict::Dict& onto, const dict::Dict& with, bool replace) {
  if (replace) onto = dict::Dict();
  for (const dict::Entry& entry : with) {
    if (entry.value.is_null()) {
      onto.erase(entry.key);
    } else {
      onto.set(entry.key, entry.value);
    }
  }
}

ChangeRequest request_of(const Loop& loop, RequestId id) { return {id, loop.wall_clock_ns() / kSecond}; }

Result<void> expect(const dict::Version& is, uint64_t expected, const std::string& object) {
  if (expected == 0 || is.number == expected) return {};
  return fail(Code::kConflict, object,
              fmt::format("its version is {}, not {}: read it again", is.number, expected));
}

dict::Dict without_secrets(dict::Dict dict) {
  if (dict.contains(kPasswordKey)) dict.set(kPasswordKey, "***");
  return dict;
}

// As Get shows them they may come back: what was read, changed and written again is no attempt on them.
Result<void> refuse_guarded(std::span<const std::string_view> keys, const dict::Dict& given,
                            const dict::Dict& now) {
  const dict::Dict shown = without_secrets(now);
  for (std::string_view key : keys) {
    const dict::Value* value = given.find(key);
    const dict::Value* known = shown.find(key);
    if (value == nullptr || (known != nullptr && *value == *known)) continue;
    return fail(Code::kInvalidArgument, std::string(key), "this setting is changed by its own command only");
  }
  return {};
}

// How a key may be written by whoever means the same: "fast-index", "FASTINDEX".
std::string folded(std::string_view key) {
  std::string out;
  for (char c : key)
    if (c != '-' && c != '_') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// Such a key would be kept and change nothing, or removing it would. One that is there already may come back
// or go.
Result<void> refuse_misspelt(const dict::Dict& given, const dict::Dict& now) {
  for (const dict::Entry& entry : given) {
    if (now.contains(entry.key)) continue;
    const std::string is = folded(entry.key);
    for (std::string_view key : kDomainKeys)
      if (entry.key != key &&
          (is == folded(key) || (key == kAccountFolderingKey && is == "accountfoldering")))
        return fail(Code::kInvalidArgument, entry.key, fmt::format("this setting is written {}", key));
  }
  return {};
}

// As they were before a change that could not touch them, whatever it has left out.
void keep_guarded(std::span<const std::string_view> keys, const dict::Dict& before, dict::Dict& now) {
  for (std::string_view key : keys) {
    now.erase(key);
    if (const dict::Value* value = before.find(key)) now.set(key, *value);
  }
}

Error effective_is_derived() {
  return Error(Code::kInvalidArgument, "kind", "effective settings follow from others; set SETTINGS");
}

// Of a domain ("@name") or the cluster ("").
Error has_no_info(const std::string& name) {
  return Error(Code::kInvalidArgument, name.empty() ? "cluster" : name.substr(1),
               "only accounts have info; domains and the cluster have settings");
}

}  // namespace

void InfoService::add_to(MethodTable& table) {
  table.add<v1::GetInfoRequest, v1::InfoResponse>("canopy.v1.Info", "Get", this, &InfoService::get);
  table.add<v1::SetInfoRequest, v1::InfoResponse>("canopy.v1.Info", "Set", this, &InfoService::set);
}

Task<Result<v1::InfoResponse>> InfoService::get(CallContext& call, const v1::GetInfoRequest& request) {
  const std::string& name = request.account().name();
  bool of_account = call.role() == Role::kFrontend || (!name.empty() && name.front() != '@');
  if (!of_account) {
    if (request.kind() == v1::INFO) co_return fail(has_no_info(name));
    const DomainTable& table = node_.here().accounts.domains();
    if (name.empty() && table.tree.defaults_error) co_return fail(*table.tree.defaults_error);
    if (name.empty()) {
      dict::Dict shown = table.tree.defaults.dict;
      if (table.tree.domain_foldering.levels() != 0)
        shown.set(kDomainFolderingKey, table.tree.domain_foldering.to_string());
      co_return respond(shown, table.tree.defaults.version);
    }
    CANOPY_CO_ASSIGN(AccountAddress address, parse_address_or_domain(name));
    CANOPY_CO_ASSIGN(auto domain, table.get(address.domain));
    co_return respond(domain->settings.dict, domain->settings.version);
  }
  auto found = co_await enter(node_, call, request.account(), Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  if (request.kind() == v1::INFO) {
    auto info = co_await found->shard->accounts.info(found->address);
    if (!info) co_return fail(std::move(info).error());
    co_return respond(info->dict, info->version);
  }
  const AccountSettings& settings = *found->settings;
  if (request.kind() != v1::EFFECTIVE_SETTINGS)
    co_return respond(without_secrets(settings.own.dict), settings.own.version);
  v1::InfoResponse out = respond(without_secrets(settings.effective), settings.own.version);
  // Each of the three has room in an answer; merged they need not.
  if (out.text().size() + kInfoBesidesTextBytes > kWireMessageBytesMax)
    co_return fail(
        Code::kTooLarge, found->address.to_string(),
        fmt::format("its effective settings have {} bytes, over the {} of an answer: get those of the "
                    "account, its domain and the cluster one by one, or make them smaller",
                    out.text().size(), kWireMessageBytesMax));
  co_return out;
}

// The new settings must find the accounts that are there. The damaged file is kept.
static Task<Result<void>> replace_damaged_domain(Shard& on, DomainTable& into, std::string name,
                                                 const dict::Dict& given, ChangeRequest request,
                                                 v1::InfoResponse& response) {
  dict::VersionedDict file;
  change(file.dict, given, true);
  CANOPY_CO_ASSIGN(auto made, make_domain(into.tree, name, file));
  if (const dict::Value* defaults = file.dict.find(kAccountDefaultsKey))
    CANOPY_CO_TRY(check_account_defaults(*defaults->dict()));
  CANOPY_CO_TRY(co_await check_layout(*on.store, made));
  CANOPY_CO_TRY(co_await set_damaged_aside(*on.store, on.loop, made->settings_file(), made->directory()));
  auto now = co_await on.files.replace(made->slot, made->settings_file(), std::move(file), request);
  if (!now) co_return fail(std::move(now).error());
  response = respond(now->dict, now->version);
  CANOPY_CO_ASSIGN(into.domains[name], make_domain(into.tree, name, std::move(*now)));
  into.broken.erase(name);
  co_return Result<void>();
}

Task<Result<v1::InfoResponse>> InfoService::set_domain(const std::string& name,
                                                       const v1::SetInfoRequest& request) {
  CANOPY_CO_ASSIGN(AccountAddress address, parse_address_or_domain(name));
  CANOPY_CO_ASSIGN(dict::Dict with, dict::parse_dict(request.text(), "text"));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(with, "text"));
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  v1::InfoResponse out;
  auto set = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Shard& on, DomainTable& into, std::string domain_name, const dict::Dict& given, RequestId of,
              const v1::SetInfoRequest& asked, v1::InfoResponse& response) -> Task<Result<void>> {
      if (auto at = into.broken.find(domain_name); at != into.broken.end()) {
        if (!asked.replace() || at->second.error.code() != Code::kDamaged) co_return fail(at->second.error);
        co_return co_await replace_damaged_domain(on, into, domain_name, given, request_of(on.loop, of),
                                                  response);
      }
      CANOPY_CO_ASSIGN(auto domain, into.get(domain_name));
      dict::VersionedDict file = domain->settings;
      const ChangeRequest changing = request_of(on.loop, of);
      if (const dict::AnsweredRequest* before = file.answered(changing.key())) {
        response = respond(file.dict, before->version);
        co_return Result<void>();
      }
      CANOPY_CO_TRY(expect(file.version, asked.expected_version(), domain_name));
      CANOPY_CO_TRY(refuse_guarded(kGuardedDomainKeys, given, domain->settings.dict));
      CANOPY_CO_TRY(refuse_misspelt(given, domain->settings.dict));
      change(file.dict, given, asked.replace());
      keep_guarded(kGuardedDomainKeys, domain->settings.dict, file.dict);
      CANOPY_CO_ASSIGN(auto made, make_domain(into.tree, *domain, file));
      if (const dict::Value* defaults = file.dict.find(kAccountDefaultsKey))
        CANOPY_CO_TRY(check_account_defaults(*defaults->dict()));
      // For new accounts it holds at once; the others move behind (Relocations).
      if (made->layout != domain->layout) CANOPY_CO_TRY(supersede(*domain, made->layout, file.dict));
      auto now = co_await on.files.replace(made->slot, made->settings_file(), std::move(file), changing);
      if (!now) co_return fail(std::move(now).error());
      response = respond(now->dict, now->version);
      CANOPY_CO_ASSIGN(into.domains[domain_name], make_domain(into.tree, *domain, std::move(*now)));
      co_return Result<void>();
    }(shard, table, address.domain, with, id, request, out);
  };
  CANOPY_CO_TRY(co_await node_.change_domains(set));
  co_return out;
}

// The cluster's settings show it, and what was read may come back; otherwise it is changed alone.
static Result<std::optional<Foldering>> take_domain_foldering(const TreeSettings& tree, dict::Dict& given) {
  const dict::Value* value = given.find(kDomainFolderingKey);
  if (value == nullptr) return std::nullopt;
  CANOPY_ASSIGN(const Foldering method, Foldering::parse(value->is_null()             ? "flat"
                                                         : value->string() == nullptr ? ""
                                                                                      : *value->string()));
  given.erase(kDomainFolderingKey);
  if (method == tree.domain_foldering) return std::nullopt;
  if (!given.empty())
    return fail(Code::kInvalidArgument, std::string(kDomainFolderingKey),
                "it moves all domains: change it alone, with no other setting");
  return method;
}

Task<Result<v1::InfoResponse>> InfoService::set_defaults(const v1::SetInfoRequest& request) {
  CANOPY_CO_ASSIGN(dict::Dict with, dict::parse_dict(request.text(), "text"));
  CANOPY_CO_TRY(dict::refuse_reserved_keys(with, "text"));
  const TreeSettings& tree = node_.here().accounts.domains().tree;
  CANOPY_CO_ASSIGN(const std::optional<Foldering> domains, take_domain_foldering(tree, with));
  if (domains && request.replace())
    co_return fail(Code::kInvalidArgument, std::string(kDomainFolderingKey),
                   "it moves all domains: change it alone, not with all of the settings");
  if (domains) {
    CANOPY_CO_TRY(co_await set_domain_foldering(node_, *domains));
    const TreeSettings& now = node_.here().accounts.domains().tree;
    co_return respond(now.defaults.dict, now.defaults.version);
  }
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  v1::InfoResponse out;
  auto set = [&](Shard& shard, DomainTable& table) -> Task<Result<void>> {
    return [](Shard& on, DomainTable& into, const dict::Dict& given, RequestId of,
              const v1::SetInfoRequest& asked, v1::InfoResponse& response) -> Task<Result<void>> {
      const bool damaged = into.tree.defaults_error.has_value();
      if (damaged && !asked.replace()) co_return fail(*into.tree.defaults_error);
      dict::VersionedDict file = into.tree.defaults;
      const ChangeRequest changing = request_of(on.loop, of);
      if (const dict::AnsweredRequest* before = file.answered(changing.key())) {
        response = respond(file.dict, before->version);
        co_return Result<void>();
      }
      CANOPY_CO_TRY(expect(file.version, asked.expected_version(), "defaults"));
      change(file.dict, given, asked.replace());
      CANOPY_CO_TRY(check_account_defaults(file.dict));
      if (damaged) {
        CANOPY_CO_TRY(co_await set_damaged_aside(*on.store, on.loop, std::string(kDefaultsFile),
                                                 std::string(kSettingsRoot)));
      }
      auto now = co_await on.files.replace(0, std::string(kDefaultsFile), std::move(file), changing);
      if (!now) co_return fail(std::move(now).error());
      response = respond(now->dict, now->version);
      into.tree.defaults = std::move(*now);
      into.tree.defaults_error.reset();
      co_return Result<void>();
    }(shard, table, with, id, request, out);
  };
  CANOPY_CO_TRY(co_await node_.change_domains(set));
  co_return out;
}

Task<Result<v1::InfoResponse>> InfoService::set(CallContext& call, const v1::SetInfoRequest& request) {
  const std::string& name = request.account().name();
  bool of_account = call.role() == Role::kFrontend || (!name.empty() && name.front() != '@');
  if (!of_account) {
    if (call.role() == Role::kMount)
      co_return fail(Code::kPermissionDenied, name, "the role mount sets what accounts have only");
    if (request.kind() == v1::INFO) co_return fail(has_no_info(name));
    if (request.kind() != v1::SETTINGS) co_return fail(effective_is_derived());
    if (name.empty()) co_return co_await set_defaults(request);
    co_return co_await set_domain(name, request);
  }
  CANOPY_CO_ASSIGN(dict::Dict with, dict::parse_dict(request.text(), "text"));
  if (request.kind() == v1::EFFECTIVE_SETTINGS) co_return fail(effective_is_derived());
  if (request.kind() == v1::SETTINGS && call.role() == Role::kFrontend) {
    co_return fail(Code::kPermissionDenied, name, "a frontend may set an account's info, not its settings");
  }
  CANOPY_CO_ASSIGN(RequestId id, request_id_of(request.request_id()));
  auto found = co_await enter(node_, call, request.account(), Need::kRecord);
  if (!found) co_return fail(std::move(found).error());
  Accounts& accounts = found->shard->accounts;
  if (request.kind() == v1::INFO) {
    auto version = co_await accounts.change_info(
        found->address, request.expected_version(),
        [&](dict::Dict& dict) -> Result<void> {
          change(dict, with, request.replace());
          return {};
        },
        id);
    if (!version) co_return fail(std::move(version).error());
    auto now = co_await accounts.info(found->address);
    if (!now) co_return fail(std::move(now).error());
    co_return respond(now->dict, *version);
  }
  auto version = co_await accounts.change_settings(
      found->address, request.expected_version(),
      [&](dict::Dict& dict) -> Result<void> {
        const dict::Dict before = dict;
        CANOPY_TRY(refuse_guarded(kGuardedKeys, with, before));
        change(dict, with, request.replace());
        keep_guarded(kGuardedKeys, before, dict);
        return {};
      },
      id);
  if (!version) co_return fail(std::move(version).error());
  auto now = co_await accounts.settings(found->address);
  if (!now) co_return fail(std::move(now).error());
  co_return respond(without_secrets((*now)->own.dict), *version);
}

void EventsService::add_to(MethodTable& table) {
  table.add<v1::WatchRequest, v1::WatchResponse>("canopy.v1.Events", "Watch", this, &EventsService::watch);
}

// What has changed in the account, as far as the request asks.
static v1::WatchResponse changes(const AccountState& state, const v1::WatchRequest& request) {
  v1::WatchResponse out;
  for (const v1::MailboxCursor& cursor : request.cursors()) {
    const MailboxState* box = state.mailbox(cursor.mailbox_id());
    if (box != nullptr && box->highest_modseq <= cursor.modseq()) continue;
    if (box == nullptr && cursor.mailbox_id() == kInboxId && state.never_begun()) continue;
    v1::MailboxCursor* changed = out.add_changed();
    changed->set_mailbox_id(cursor.mailbox_id());
    changed->set_modseq(box == nullptr ? 0 : box->highest_modseq);  // 0: the mailbox is gone
  }
  out.set_account_modseq(state.highest_modseq());
  return out;
}

Task<Result<v1::WatchResponse>> EventsService::watch(CallContext& call, const v1::WatchRequest& request) {
  const Nanos now = call.loop().now();
  const uint32_t seconds = std::clamp<uint32_t>(request.seconds(), 1, kWatchSecondsMax);
  const Nanos until = std::min(now + seconds * kSecond, call.deadline());
  std::optional<uint64_t> since;
  if (request.account_modseq() != 0) since = request.account_modseq();
  for (bool first = true;; first = false) {
    // Each time anew: the session may have ended, the account may be suspended or gone.
    co_await call.loop().switch_to();
    auto found = co_await enter(node_, call, request.account(), Need::kMailboxes);
    if (!found) co_return fail(std::move(found).error());
    Shard& shard = *found->shard;
    if (first) {
      co_await call.loop().switch_to();
      call.on_cancel([&shard, address = found->address] {
        shard.loop.post([&shard, address] { shard.accounts.wake(address); });
      });
      co_await shard.loop.switch_to();
    }
    v1::WatchResponse out;
    {
      // Open only while it is looked at: a thousand idle watches hold no account in memory.
      auto account = co_await shard.accounts.open(found->address);
      if (!account) co_return fail(std::move(account).error());
      out = changes((*account)->state(), request);
    }
    if (!since) since = out.account_modseq();
    bool account_changed = request.cursors().empty() && out.account_modseq() > *since;
    if (out.changed_size() > 0 || account_changed || call.cancelled()) co_return out;
    // Nothing suspends between the look and the wait.
    if (!co_await shard.accounts.wait_for_change(found->address, until)) co_return out;
    if (call.cancelled()) co_return out;
  }
}

}  // namespace canopy::wire
