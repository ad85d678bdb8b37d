#include "daemon/tree/layout.h"

#include <algorithm>
#include <charconv>

#include "daemon/base/check.h"

namespace canopy {

namespace {

constexpr std::string_view kDomainSettingsFile = "domain.settings";
constexpr std::string_view kAccountFileName = "account";

// Cuts the first element off `rest`; the last one leaves it empty.
std::string_view take_element(std::string_view& rest) {
  size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view element = rest.substr(0, slash);
  rest.remove_prefix(std::min(slash + 1, rest.size()));
  return element;
}

// `name` under its suffix: "jsmith" of "jsmith.macnt" and ".macnt"; empty when there is none or nothing
// before it.
std::string_view stem(std::string_view element, std::string_view suffix) {
  if (element.size() <= suffix.size() || !element.ends_with(suffix)) return {};
  return element.substr(0, element.size() - suffix.size());
}

}  // namespace

std::string domain_directory(const Foldering& domain_foldering, std::string_view domain) {
  std::string out(kTreeRoot);
  out += '/';
  domain_foldering.append_folders(out, domain);
  out += domain;
  return out;
}

std::string domain_settings_file(const Foldering& domain_foldering, std::string_view domain) {
  std::string out = domain_directory(domain_foldering, domain);
  out += '/';
  out += kDomainSettingsFile;
  return out;
}

Result<TreeLayout> TreeLayout::make(Foldering domain_foldering, Foldering account_foldering,
                                    uint32_t fast_index) {
  // SharedDomains, the domain's folders, the domain, the account's folders.
  uint32_t above_account = 2 + domain_foldering.levels() + account_foldering.levels();
  if (fast_index > above_account) {
    return fail(
        Code::kInvalidArgument, fmt::format("fast index {}", fast_index),
        fmt::format("only {} path elements stand above an account under this foldering", above_account));
  }
  TreeLayout layout;
  layout.domain_foldering_ = domain_foldering;
  layout.account_foldering_ = account_foldering;
  layout.fast_index_ = fast_index;
  return layout;
}

Result<TreeLayout> TreeLayout::parse(std::string_view domain_foldering, std::string_view account_foldering,
                                     std::string_view fast_index) {
  CANOPY_ASSIGN(Foldering domains, Foldering::parse(domain_foldering));
  CANOPY_ASSIGN(Foldering accounts, Foldering::parse(account_foldering));
  uint32_t index = 0;
  auto [stop, problem] = std::from_chars(fast_index.data(), fast_index.data() + fast_index.size(), index);
  if (problem != std::errc() || stop != fast_index.data() + fast_index.size()) {
    return fail(Code::kInvalidArgument, fmt::format("fast index {}", fast_index.substr(0, 32)),
                "must be a number from 0 up");
  }
  return make(domains, accounts, index);
}

std::string TreeLayout::domain_directory(std::string_view domain) const {
  return canopy::domain_directory(domain_foldering_, domain);
}

std::string TreeLayout::domain_settings_file(std::string_view domain) const {
  return canopy::domain_settings_file(domain_foldering_, domain);
}

// `path` with the element `fast` after its first `elements` ones.
static std::string with_fast(const std::string& path, uint32_t elements) {
  size_t end = 0;
  for (uint32_t element = 0; element < elements; ++element)
    end = std::min(path.find('/', element == 0 ? 0 : end + 1), path.size());
  return path.substr(0, end) + "/" + std::string(kFastElement) + path.substr(end);
}

std::string TreeLayout::domain_fast_directory(std::string_view domain) const {
  std::string directory = domain_directory(domain);
  auto elements = static_cast<uint32_t>(std::ranges::count(directory, '/')) + 1;
  return fast_index_ == 0 || fast_index_ >= elements ? "" : with_fast(directory, fast_index_);
}

std::string TreeLayout::account_parent(const AccountAddress& address) const {
  std::string out = domain_directory(address.domain);
  out += '/';
  account_foldering_.append_folders(out, address.account);
  out.pop_back();
  return out;
}

std::string TreeLayout::account_directory(const AccountAddress& address) const {
  CANOPY_CHECK(!address.is_domain());
  std::string out = account_parent(address);
  out += '/';
  out += address.account;
  out += kAccountSuffix;
  return out;
}

std::string TreeLayout::settings_file(const AccountAddress& address) const {
  return account_file(address, kSettingsSuffix);
}
std::string TreeLayout::info_file(const AccountAddress& address) const {
  return account_file(address, kInfoSuffix);
}

std::string TreeLayout::account_file(const AccountAddress& address, std::string_view suffix) const {
  CANOPY_CHECK(!address.is_domain());
  std::string out;
  if (fast_index_ == 0) {
    out = account_directory(address);
    out += '/';
    out += kAccountFileName;
  } else {
    out = with_fast(account_parent(address), fast_index_);
    out += '/';
    out += address.account;
  }
  out += suffix;
  return out;
}

TreeElement classify_element(std::string_view element, bool below_domain) {
  if (element == kFastElement) return TreeElement::kFast;
  if (!stem(element, kFolderSuffix).empty()) return TreeElement::kFolder;
  if (!below_domain) {
    if (element.starts_with(kHeartbeatElement)) return TreeElement::kHeartbeat;
    Result<std::string> domain = prepare_domain(element);
    return domain && *domain == element ? TreeElement::kDomain : TreeElement::kOther;
  }
  if (!account_of_element(element).empty()) return TreeElement::kAccount;
  if (!stem(element, kSettingsSuffix).empty()) return TreeElement::kSettingsFile;
  if (!stem(element, kInfoSuffix).empty()) return TreeElement::kInfoFile;
  return TreeElement::kOther;
}

std::string_view account_of_element(std::string_view element) {
  std::string_view name = stem(element, kAccountSuffix);
  if (name.empty()) return {};
  Result<std::string> prepared = prepare_account(name);
  return prepared && *prepared == name ? name : std::string_view();
}

TreePlace describe_path(std::string_view path) {
  if (path.empty()) return {TreePlaceKind::kBase, {}, {}};
  std::string_view rest = path;
  std::string_view top = take_element(rest);
  if (top == kSettingsRoot) return {TreePlaceKind::kSettings, {}, {}};
  if (top != kTreeRoot) return {};
  TreePlace place{TreePlaceKind::kTreeRoot, {}, {}};
  bool fast = false;
  while (!rest.empty()) {
    std::string_view element = take_element(rest);
    TreeElement kind = classify_element(element, !place.domain.empty());
    if (kind == TreeElement::kFast && fast) kind = TreeElement::kOther;  // a layout puts in only one
    switch (kind) {
      case TreeElement::kFast: fast = true; [[fallthrough]];
      case TreeElement::kFolder: place.kind = TreePlaceKind::kFolder; continue;
      case TreeElement::kDomain:
        place.kind = TreePlaceKind::kDomain;
        place.domain = element;
        continue;
      case TreeElement::kHeartbeat: place.kind = TreePlaceKind::kHeartbeat; break;
      case TreeElement::kAccount:
        place.kind = rest.empty() ? TreePlaceKind::kAccount : TreePlaceKind::kInsideAccount;
        place.account = account_of_element(element);
        return place;
      case TreeElement::kSettingsFile:
      case TreeElement::kInfoFile: {
        std::string_view name = stem(element, kind == TreeElement::kInfoFile ? kInfoSuffix : kSettingsSuffix);
        place.kind = TreePlaceKind::kOther;
        if (fast) {
          place.kind = TreePlaceKind::kAccountFile;
          place.account = name;
        } else if (element == kDomainSettingsFile &&
                   path.substr(0, path.rfind('/')).ends_with(place.domain)) {
          place.kind = TreePlaceKind::kDomainSettings;
        }
        break;
      }
      case TreeElement::kOther: place.kind = TreePlaceKind::kOther; break;
    }
    if (!rest.empty()) place.kind = TreePlaceKind::kOther;  // nothing of Canopy's lies below a file
    return place;
  }
  return place;
}

}  // namespace canopy
