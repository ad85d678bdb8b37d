#include "daemon/account/domains.h"

#include <algorithm>
#include <iterator>

#include "daemon/account/account_listing.h"
#include "daemon/account/domain_move.h"
#include "daemon/base/log.h"

namespace canopy {

Result<std::shared_ptr<const Domain>> DomainTable::get(std::string_view name) const {
  if (auto at = domains.find(name); at != domains.end()) return at->second;
  if (auto at = broken.find(name); at != broken.end()) return fail(at->second.error);
  if (!unread.empty()) return fail(unread.begin()->second.about(std::string(name)));
  return fail(Code::kNotFound, std::string(name), "there is no such domain");
}

// The two keys of a layout, in a domain's settings or in one of its superseded layouts.
static Result<TreeLayout> layout_of(const Foldering& domains, const std::string& name,
                                    const dict::Dict& settings) {
  // A value of another kind must not pass for the default: the accounts would be sought elsewhere.
  const dict::Value* method = settings.find(kAccountFolderingKey);
  if (method != nullptr && method->string() == nullptr)
    return fail(Code::kInvalidArgument, std::string(kAccountFolderingKey),
                "a foldering method is text, as flat or 2-1");
  CANOPY_ASSIGN(Foldering accounts, Foldering::parse(method == nullptr ? "flat" : *method->string()));
  const dict::Value* after = settings.find(kFastIndexKey);
  if (after != nullptr && after->number() == nullptr)
    return fail(Code::kInvalidArgument, std::string(kFastIndexKey), "a fast index is a number, as #2");
  int64_t index = after == nullptr ? 0 : *after->number();
  if (index < 0 || index > 1000)
    return fail(Code::kInvalidArgument, name, "FastIndex is a small number, not below 0");
  return TreeLayout::make(domains, accounts, static_cast<uint32_t>(index));
}

// Each once, and not the newest.
static Result<std::vector<TreeLayout>> superseded_of(const TreeLayout& newest, const std::string& name,
                                                     const dict::Dict& settings) {
  std::vector<TreeLayout> layouts;
  const dict::Value* value = settings.find(kSupersededKey);
  if (value == nullptr) return layouts;
  if (value->array() == nullptr || value->array()->size() > kSupersededMax)
    return fail(Code::kInvalidArgument, std::string(kSupersededKey),
                fmt::format("an array of at most {} dictionaries", kSupersededMax));
  for (const dict::Value& one : *value->array()) {
    if (one.dict() == nullptr)
      return fail(Code::kInvalidArgument, std::string(kSupersededKey), "an array of dictionaries");
    Foldering domains = newest.domain_foldering();
    if (const dict::Value* own = one.dict()->find(kDomainFolderingKey)) {
      CANOPY_ASSIGN(domains, Foldering::parse(own->string() == nullptr ? "" : *own->string()));
    }
    CANOPY_ASSIGN(TreeLayout layout, layout_of(domains, name, *one.dict()));
    if (layout != newest && std::ranges::find(layouts, layout) == layouts.end()) layouts.push_back(layout);
  }
  return layouts;
}

void put_superseded(const std::vector<TreeLayout>& layouts, const std::optional<Foldering>& lies_under,
                    dict::Dict& settings) {
  dict::Array all;
  for (const TreeLayout& layout : layouts) {
    dict::Dict one;
    if (layout.domain_foldering() != lies_under)
      one.set(kDomainFolderingKey, layout.domain_foldering().to_string());
    one.set(kAccountFolderingKey, layout.account_foldering().to_string());
    one.set(kFastIndexKey, static_cast<int64_t>(layout.fast_index()));
    all.emplace_back(std::move(one));
  }
  settings.set(kSupersededKey, std::move(all));
}

Result<void> supersede(const Domain& before, const TreeLayout& now, dict::Dict& settings) {
  std::vector<TreeLayout> layouts = {before.layout};
  layouts.insert(layouts.end(), before.older.begin(), before.older.end());
  std::erase(layouts, now);
  if (layouts.size() > kSupersededMax)
    return fail(Code::kInvalidArgument, before.name,
                fmt::format("its accounts lie under {} layouts already; let its relocation end first",
                            layouts.size()));
  put_superseded(layouts, now.domain_foldering(), settings);
  return {};
}

Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, std::string name,
                                                  dict::VersionedDict settings,
                                                  std::optional<Foldering> lies_under) {
  auto domain = std::make_shared<Domain>();
  const Foldering domains = lies_under.value_or(tree.domain_foldering);
  CANOPY_ASSIGN(domain->layout, layout_of(domains, name, settings.dict));
  CANOPY_ASSIGN(domain->older, superseded_of(domain->layout, name, settings.dict));
  const dict::Value* defaults = settings.dict.find(kAccountDefaultsKey);
  if (defaults != nullptr && defaults->dict() == nullptr) {
    return fail(Code::kInvalidArgument, name, "AccountDefaults is a dictionary");
  }
  domain->name = std::move(name);
  domain->settings = std::move(settings);
  domain->slot = slot_of("", domain->name);
  return domain;
}

Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, const Domain& before,
                                                  dict::VersionedDict settings) {
  // It must have its place where it is going to be, too.
  CANOPY_TRY(layout_of(tree.domain_foldering, before.name, settings.dict));
  return make_domain(tree, before.name, std::move(settings), before.layout.domain_foldering());
}

Result<TreeSettings> parse_tree_settings(dict::VersionedDict file) {
  TreeSettings settings;
  settings.tree = std::move(file);
  const auto damaged = [](std::string_view key, const std::string& why) {
    return fail(Code::kDamaged, std::string(kTreeSettingsFile), fmt::format("{}: {}", key, why));
  };
  const dict::Value* method = settings.tree.dict.find(kDomainFolderingKey);
  auto foldering = Foldering::parse(method == nullptr             ? "flat"
                                    : method->string() == nullptr ? ""
                                                                  : *method->string());
  if (!foldering) return damaged(kDomainFolderingKey, foldering.error().message());
  settings.domain_foldering = *foldering;
  const dict::Value* older = settings.tree.dict.find(kSupersededDomainsKey);
  if (older == nullptr) return settings;
  if (older->array() == nullptr || older->array()->size() > kSupersededMax)
    return damaged(kSupersededDomainsKey, fmt::format("an array of at most {} methods", kSupersededMax));
  for (const dict::Value& one : *older->array()) {
    auto parsed = Foldering::parse(one.string() == nullptr ? "" : *one.string());
    if (!parsed) return damaged(kSupersededDomainsKey, parsed.error().message());
    settings.older_domain_folderings.push_back(*parsed);
  }
  return settings;
}

static Task<Result<dict::VersionedDict>> read_or_empty(SettingsFiles& files, std::string path) {
  auto read = co_await files.read(path);
  if (!read && read.error().code() == Code::kNotFound) co_return dict::VersionedDict{};
  co_return read;
}

Task<Result<TreeSettings>> load_tree_settings(SettingsFiles& files) {
  auto tree = co_await read_or_empty(files, std::string(kTreeSettingsFile));
  if (!tree) co_return fail(std::move(tree).error());
  CANOPY_CO_ASSIGN(TreeSettings settings, parse_tree_settings(std::move(*tree)));
  auto defaults = co_await read_or_empty(files, std::string(kDefaultsFile));
  if (defaults) {
    settings.defaults = std::move(*defaults);
  } else if (defaults.error().retryable()) {
    co_return fail(std::move(defaults).error());  // the store, not the file
  } else {
    settings.defaults_error = std::move(defaults).error();
  }
  co_return settings;
}

// The domain foldering that a domain's directory lies under; none: no present or superseded one.
static std::optional<Foldering> foldering_at(const TreeSettings& tree, const std::string& name,
                                             const std::string& directory) {
  if (domain_directory(tree.domain_foldering, name) == directory) return tree.domain_foldering;
  for (const Foldering& older : tree.older_domain_folderings)
    if (domain_directory(older, name) == directory) return older;
  return std::nullopt;
}

static Task<Result<std::shared_ptr<const Domain>>> read_domain(SettingsFiles& files, const TreeSettings& tree,
                                                               std::string name, std::string directory) {
  const std::string path = directory + "/domain.settings";
  auto settings = co_await files.read(path);
  if (!settings) co_return fail(std::move(settings).error());
  const std::optional<Foldering> lies_under = foldering_at(tree, name, directory);
  if (!lies_under)
    co_return fail(Code::kUnsupported, name,
                   fmt::format("it lies in {}, but DomainFoldering={} in {} puts it into {}, and {} names no "
                               "other place of it: canopyctl adopt, with canopyd stopped, finds domains "
                               "wherever they are",
                               directory, tree.domain_foldering.to_string(), kTreeSettingsFile,
                               domain_directory(tree.domain_foldering, name), kSupersededDomainsKey));
  auto domain = make_domain(tree, std::move(name), std::move(*settings), lies_under);
  if (!domain) co_return fail(Code::kDamaged, path, domain.error().to_string());
  co_return domain;
}

// Fails where the store did not answer: only what is wrong with the file itself is the domain's.
static Task<Result<void>> take_in(SettingsFiles& files, std::string name, std::string directory,
                                  DomainTable& table) {
  auto domain = co_await read_domain(files, table.tree, name, directory);
  if (domain) {
    table.broken.erase(name);
    table.domains[name] = std::move(*domain);
  } else if (domain.error().code() == Code::kNotFound) {
    table.broken.erase(name);  // a creation that was never finished
  } else if (domain.error().retryable()) {
    co_return fail(std::move(domain).error());
  } else if (!table.domains.contains(name)) {
    table.broken.insert_or_assign(name, BrokenDomain{directory, std::move(domain).error()});
  }
  co_return Result<void>();
}

static Task<Result<void>> walk(SettingsFiles& files, std::string directory, uint32_t depth,
                               DomainTable& table);

// The domains in what one store holds of the directory; `alone`: no other holds anything of it.
static Task<Result<void>> walk_part(SettingsFiles& files, StoreSite part, bool alone, std::string directory,
                                    uint32_t depth, DomainTable& table) {
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await files.store().list(part.path, cookie);
    if (!page && page.error().code() == Code::kNotFound && !alone) co_return Result<void>();
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (entry.type != FileType::kDirectory) continue;
      TreeElement kind = classify_element(entry.name, false);
      std::string path = directory + "/" + entry.name;
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) {
        CANOPY_CO_TRY(co_await walk(files, path, depth + 1, table));
      } else if (kind == TreeElement::kDomain && !table.domains.contains(entry.name)) {
        CANOPY_CO_TRY(co_await take_in(files, entry.name, path, table));
      }
    }
  }
  co_return Result<void>();
}

// A store other than the root that does not answer takes away its own domains only.
static Task<Result<void>> walk(SettingsFiles& files, std::string directory, uint32_t depth,
                               DomainTable& table) {
  const std::vector<StoreSite> parts = files.store().parts_of(directory);
  for (const StoreSite& part : parts) {
    auto walked = co_await walk_part(files, part, parts.size() == 1, directory, depth, table);
    if (walked) continue;
    if (part.root.empty() || !walked.error().retryable()) co_return walked;
    table.unread.emplace(part.name, std::move(walked).error());
  }
  co_return Result<void>();
}

// Of those that were on their way when a process ended. `unread` takes in stores that do not answer, other
// than the root; none: they are errors.
static Task<Result<std::vector<StrandedDomain>>> settle_all_domains(
    SettingsFiles& files, const TreeSettings& tree, std::map<std::string, Error, std::less<>>* unread) {
  std::vector<StrandedDomain> stranded;
  for (const StoreSite& part : files.store().parts_of(std::string(kTreeRoot))) {
    auto settled = co_await settle_domains(files, tree, part);
    if (settled)
      std::ranges::move(*settled, std::back_inserter(stranded));
    else if (unread == nullptr || part.root.empty() || !settled.error().retryable())
      co_return fail(std::move(settled).error());
    else
      unread->emplace(part.name, std::move(settled).error());
  }
  co_return stranded;
}

// Those without a place are not served, and say why.
static void name_stranded(const std::vector<StrandedDomain>& stranded, DomainTable& table) {
  for (const StrandedDomain& each : stranded) {
    if (table.domains.contains(each.name)) continue;
    Error error(Code::kStoreUnavailable, each.name,
                fmt::format("its directory lies in {}, as none of its places is free: {}", each.lies_in,
                            each.error.to_string()));
    auto [at, is_new] =
        table.broken.try_emplace(each.name, BrokenDomain{.directory = each.lies_in, .error = error});
    at->second.error = std::move(error);
    if (is_new)
      log_event(LogLevel::kError, "domain-not-moved", each.name,
                {{"lies_in", each.lies_in}, {"error", each.error.to_string()}});
  }
}

static Task<Result<void>> walk_all(SettingsFiles& files, DomainTable& table) {
  CANOPY_CO_ASSIGN(const auto stranded, co_await settle_all_domains(files, table.tree, &table.unread));
  CANOPY_CO_TRY(co_await walk(files, std::string(kTreeRoot), 0, table));
  name_stranded(stranded, table);
  co_return Result<void>();
}

Task<Result<std::shared_ptr<const DomainTable>>> load_domains(SettingsFiles& files) {
  auto table = std::make_shared<DomainTable>();
  auto tree = co_await load_tree_settings(files);
  if (!tree) co_return fail(std::move(tree).error());
  table->tree = std::move(*tree);
  CANOPY_CO_TRY(co_await walk_all(files, *table));
  co_return std::shared_ptr<const DomainTable>(std::move(table));
}

Task<Result<void>> read_more_domains(SettingsFiles& files, DomainTable& table) {
  table.unread.clear();
  co_return co_await walk_all(files, table);
}

Task<Result<void>> read_broken_again(SettingsFiles& files, DomainTable& table) {
  if (table.tree.defaults_error) {
    auto defaults = co_await read_or_empty(files, std::string(kDefaultsFile));
    if (defaults) {
      table.tree.defaults = std::move(*defaults);
      table.tree.defaults_error.reset();
    } else if (defaults.error().retryable()) {
      co_return fail(std::move(defaults).error());
    } else {
      table.tree.defaults_error = std::move(defaults).error();
    }
  }
  const auto broken = table.broken;
  const bool some_on_the_way =
      std::ranges::any_of(broken, [](const auto& each) { return each.second.error.retryable(); });
  if (some_on_the_way) {  // nobody knows where their moves have ended
    CANOPY_CO_ASSIGN(const auto stranded, co_await settle_all_domains(files, table.tree, nullptr));
    name_stranded(stranded, table);
  }
  for (const auto& [name, domain] : broken) {
    std::string directory = domain.directory;
    if (domain.error.retryable()) {
      auto foldering = co_await find_domain(files.store(), table.tree, name);
      if (!foldering && foldering.error().code() == Code::kNotFound) continue;
      if (!foldering) co_return fail(std::move(foldering).error());
      directory = domain_directory(*foldering, name);
    }
    CANOPY_CO_TRY(co_await take_in(files, name, directory, table));
  }
  co_return Result<void>();
}

Task<Result<void>> check_layout(Store& store, std::shared_ptr<const Domain> domain) {
  auto page = co_await list_accounts(store, domain, "", "", 1);
  if (!page) co_return fail(std::move(page).error());
  if (page->names.empty()) co_return Result<void>();
  const AccountAddress first{page->names.front(), domain->name};
  for (const std::string& path :
       {domain->layout.account_directory(first), domain->layout.settings_file(first)}) {
    auto there = co_await store.attributes(path);
    if (there) continue;
    if (there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
    co_return fail(Code::kInvalidArgument, domain->name,
                   fmt::format("by that {} and {} the account {} would have {}, which is not there",
                               kAccountFolderingKey, kFastIndexKey, first.to_string(), path));
  }
  co_return Result<void>();
}

}  // namespace canopy
