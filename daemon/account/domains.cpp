#include "daemon/account/domains.h"

namespace canopy {

Result<std::shared_ptr<const Domain>> make_domain(const TreeSettings& tree, std::string name,
                                                  dict::VersionedDict settings) {
  auto domain = std::make_shared<Domain>();
  // A value of another kind must not pass for the default: the accounts would be sought elsewhere.
  const dict::Value* method = settings.dict.find(kAccountFolderingKey);
  if (method != nullptr && method->string() == nullptr)
    return fail(Code::kInvalidArgument, std::string(kAccountFolderingKey),
                "a foldering method is text, as flat or 2-1");
  CANOPY_ASSIGN(Foldering accounts, Foldering::parse(method == nullptr ? "flat" : *method->string()));
  const dict::Value* after = settings.dict.find(kFastIndexKey);
  if (after != nullptr && after->number() == nullptr)
    return fail(Code::kInvalidArgument, std::string(kFastIndexKey), "a fast index is a number, as #2");
  int64_t index = after == nullptr ? 0 : *after->number();
  if (index < 0 || index > 1000)
    return fail(Code::kInvalidArgument, name, "FastIndex is a small number, not below 0");
  CANOPY_ASSIGN(domain->layout,
                TreeLayout::make(tree.domain_foldering, accounts, static_cast<uint32_t>(index)));
  const dict::Value* defaults = settings.dict.find(kAccountDefaultsKey);
  if (defaults != nullptr && defaults->dict() == nullptr) {
    return fail(Code::kInvalidArgument, name, "AccountDefaults is a dictionary");
  }
  domain->name = std::move(name);
  domain->settings = std::move(settings);
  domain->slot = slot_of("", domain->name);
  return domain;
}

static Task<Result<dict::VersionedDict>> read_or_empty(SettingsFiles& files, std::string path) {
  auto read = co_await files.read(path);
  if (!read && read.error().code() == Code::kNotFound) co_return dict::VersionedDict{};
  co_return read;
}

Task<Result<TreeSettings>> load_tree_settings(SettingsFiles& files) {
  TreeSettings settings;
  auto tree = co_await read_or_empty(files, std::string(kTreeSettingsFile));
  if (!tree) co_return fail(std::move(tree).error());
  settings.tree = std::move(*tree);
  auto defaults = co_await read_or_empty(files, std::string(kDefaultsFile));
  if (!defaults) co_return fail(std::move(defaults).error());
  settings.defaults = std::move(*defaults);
  CANOPY_CO_ASSIGN(settings.domain_foldering,
                   Foldering::parse(settings.tree.dict.string_or("DomainFoldering", "flat")));
  co_return settings;
}

static Task<Result<void>> walk(SettingsFiles& files, std::string directory, uint32_t depth,
                               DomainTable& table) {
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await files.store().list(directory, cookie);
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (entry.type != FileType::kDirectory) continue;
      TreeElement kind = classify_element(entry.name, false);
      std::string path = directory + "/" + entry.name;
      if (kind == TreeElement::kFolder && depth < kFolderingLevelsMax) {
        CANOPY_CO_TRY(co_await walk(files, path, depth + 1, table));
      } else if (kind == TreeElement::kDomain) {
        auto settings = co_await files.read(path + "/domain.settings");
        if (!settings) {
          if (settings.error().code() == Code::kNotFound) continue;  // a creation that was never finished
          co_return fail(std::move(settings).error());
        }
        CANOPY_CO_ASSIGN(auto domain, make_domain(table.tree, entry.name, std::move(*settings)));
        table.domains[entry.name] = std::move(domain);
      }
    }
  }
  co_return Result<void>();
}

Task<Result<std::shared_ptr<const DomainTable>>> load_domains(SettingsFiles& files) {
  auto table = std::make_shared<DomainTable>();
  auto tree = co_await load_tree_settings(files);
  if (!tree) co_return fail(std::move(tree).error());
  table->tree = std::move(*tree);
  CANOPY_CO_TRY(co_await walk(files, std::string(kTreeRoot), 0, *table));
  co_return std::shared_ptr<const DomainTable>(std::move(table));
}

}  // namespace canopy
