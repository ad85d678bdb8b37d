#include "tools/canopyctl/adopt_scan.h"

#include <charconv>
#include <filesystem>
#include <fstream>

#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"

namespace canopy::ctl {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kDomainSettingsName = "domain.settings";
constexpr uint32_t kWalkDepthMax = 32;
constexpr size_t kSliceNameDigits = 16;

// What an adoption that was cut off leaves, and the daemon's own beside a domain's settings.
bool is_of_domain(std::string_view name) {
  return name == kDomainSettingsName || name == "domain.settings.new" || name == "aliases" ||
         name == "requests";
}

std::string without_suffix(const std::string& name, std::string_view suffix) {
  return name.substr(0, name.size() - suffix.size());
}

struct Listed {
  std::string name;
  fs::file_type type;
};

Result<std::vector<Listed>> list_directory(const std::string& path) {
  std::vector<Listed> found;
  std::error_code error;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    std::error_code unknown;
    found.push_back({at->path().filename().string(), at->symlink_status(unknown).type()});
  }
  if (error) return fail_errno(error.value(), path, "list");
  return found;
}

}  // namespace

std::optional<dict::VersionedDict> AdoptScan::read_settings(const std::string& path) {
  std::ifstream file(base_ + "/" + path, std::ios::binary);
  std::string text(kDictBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (!file.eof()) {
    findings_.add(path, "it cannot be read, or is larger than settings are");
    return std::nullopt;
  }
  auto parsed = dict::parse_versioned(text, path);
  if (!parsed) {
    findings_.add(path, "settings that cannot be read: " + parsed.error().message());
    return std::nullopt;
  }
  highest_epoch_ = std::max(highest_epoch_, parsed->version.epoch);
  return std::move(*parsed);
}

// NUMBER-EPOCH
void AdoptScan::take_slice_name(std::string_view name) {
  if (name.size() < 2 * kSliceNameDigits + 1) return;
  if (const auto epoch = parse_hex64(name.substr(kSliceNameDigits + 1, kSliceNameDigits)))
    highest_epoch_ = std::max(highest_epoch_, *epoch);
}

Result<void> AdoptScan::take_account(const Place& place, const std::string& name) {
  const std::string account(account_of_element(name));
  FoundAccount found;
  found.directory = place.path + "/" + name;
  CANOPY_ASSIGN(const std::vector<Listed> files, list_directory(base_ + "/" + found.directory));
  std::string stranger;
  size_t strangers = 0;
  for (const Listed& file : files) {
    if (file.name.ends_with(".slice") || file.name.ends_with(".checkpoint")) {
      found.log = found.log || file.name.ends_with(".slice");
      take_slice_name(file.name);
    } else if (file.name == "account.settings" || file.name == "account.info") {
      (file.name == "account.info" ? found.info : found.settings) = true;
      read_settings(found.directory + "/" + file.name);
    } else if (file.name != "damaged") {
      ++strangers;
      stranger = file.name;
    }
  }
  if (strangers != 0)
    findings_.add(found.directory, fmt::format("it holds {} that {} no files of Canopy's, as {}", strangers,
                                               strangers == 1 ? "is" : "are", stranger));
  if (!place.odd) found.methods = folderings_of(place.account_folders, account);
  domains_[place.domain_directory].accounts.emplace(account, std::move(found));
  progress_.update(++seen_, 0);
  return {};
}

Result<void> AdoptScan::take_domain(Place place) {
  if (place.fast_index != 0) return walk(place);
  FoundDomain& found = domains_[place.path];
  found.name = place.domain;
  found.directory = place.path;
  found.methods = folderings_of(place.domain_folders, place.domain);
  const std::string settings = place.path + "/" + std::string(kDomainSettingsName);
  std::error_code error;
  if (fs::exists(base_ + "/" + settings, error)) {
    found.settings = read_settings(settings);
    found.damaged = !found.settings;
  }
  return walk(place);
}

// A directory within `place`.
Result<void> AdoptScan::enter(const Place& place, const std::string& name) {
  const bool below_domain = !place.domain.empty();
  Place inner = place;
  inner.path += "/" + name;
  inner.plain += "/" + name;
  ++inner.elements;
  switch (classify_element(name, below_domain)) {
    case TreeElement::kFast:
      if (place.fast_index != 0 || place.odd) break;
      inner.fast_index = place.elements;
      inner.elements = place.elements;
      inner.plain = place.plain;
      return walk(inner);
    case TreeElement::kFolder:
      (below_domain ? inner.account_folders : inner.domain_folders)
          .push_back(without_suffix(name, kFolderSuffix));
      return walk(inner);
    case TreeElement::kDomain:
      inner.domain = name;
      inner.domain_directory = inner.plain;
      return take_domain(std::move(inner));
    case TreeElement::kAccount:
      if (place.fast_index == 0) return take_account(place, name);
      findings_.add(inner.path, "an account's directory where only settings and info may be");
      return {};
    default: break;
  }
  if (below_domain && place.fast_index == 0 && place.path == place.domain_directory && is_of_domain(name))
    return {};
  if (below_domain && name.ends_with(kAccountSuffix)) {
    const auto why = prepare_account(without_suffix(name, kAccountSuffix));
    findings_.add(inner.path, why ? "no account's name: it would have to be " + *why
                                  : "no account's name: " + why.error().message());
    return {};
  }
  if (!below_domain) {
    const auto why = prepare_domain(name);
    findings_.add(inner.path, why ? "no domain's name: it would have to be " + *why
                                  : "no domain's name: " + why.error().message());
    return {};
  }
  findings_.add(inner.path, "a folder of a wrong name: folders are called x.sub");
  inner.odd = true;
  return walk(inner);
}

void AdoptScan::take_file(const Place& place, const std::string& name) {
  const std::string path = place.path + "/" + name;
  const bool below_domain = !place.domain.empty();
  const TreeElement kind = classify_element(name, below_domain);
  if (kind == TreeElement::kHeartbeat && place.elements == 1) {
    uint32_t claim = 0;
    if (name.size() > kHeartbeatElement.size() + 1)
      std::from_chars(name.data() + kHeartbeatElement.size() + 1, name.data() + name.size(), claim);
    highest_claim_ = std::max(highest_claim_, claim);
    return;
  }
  if (below_domain && place.fast_index == 0 && place.path == place.domain_directory && is_of_domain(name))
    return;
  if (below_domain && place.fast_index != 0 && !place.odd &&
      (kind == TreeElement::kSettingsFile || kind == TreeElement::kInfoFile)) {
    const std::string account =
        without_suffix(name, kind == TreeElement::kInfoFile ? kInfoSuffix : kSettingsSuffix);
    read_settings(path);
    FoundFastFile file{path, {folderings_of(place.account_folders, account), place.fast_index}};
    fast_files_[place.domain_directory].emplace(account, std::move(file));
    return;
  }
  findings_.add(path, "a file that is none of Canopy's");
}

Result<void> AdoptScan::walk(const Place& place) {
  if (place.elements > kWalkDepthMax) {
    findings_.add(place.path, "too deep to be looked at");
    return {};
  }
  CANOPY_ASSIGN(const std::vector<Listed> entries, list_directory(base_ + "/" + place.path));
  for (const Listed& entry : entries) {
    if (entry.type == fs::file_type::directory)
      CANOPY_TRY(enter(place, entry.name));
    else if (entry.type == fs::file_type::regular)
      take_file(place, entry.name);
    else
      findings_.add(place.path + "/" + entry.name, entry.type == fs::file_type::symlink
                                                       ? "a symbolic link, which is not followed"
                                                       : "neither a file nor a directory");
  }
  return {};
}

// Settings under `fast` are found by the domain's directory, wherever `fast` stands in the path.
void AdoptScan::join_fast_files() {
  for (auto& [directory, files] : fast_files_) {
    const auto domain = domains_.find(directory);
    for (auto& [account, file] : files) {
      if (domain == domains_.end())
        findings_.add(file.path, "settings or info of a domain that is not there");
      else if (!domain->second.accounts.contains(account))
        findings_.add(file.path, "settings or info of an account that is not there");
      else
        domain->second.fast_files.emplace(account, std::move(file));
    }
  }
  fast_files_.clear();
}

Result<void> AdoptScan::run() {
  Place root;
  root.path = root.plain = std::string(kTreeRoot);
  std::error_code error;
  if (!fs::is_directory(base_ + "/" + root.path, error))
    return fail(
        Code::kNotFound, base_,
        fmt::format("there is no directory {} in it: give the base directory, which holds the domains "
                    "in a directory of that name",
                    kTreeRoot));
  CANOPY_TRY(walk(root));
  join_fast_files();
  std::ifstream file(base_ + "/Settings/Tree.settings", std::ios::binary);
  if (file) tree_settings_.assign(std::istreambuf_iterator<char>(file), {});
  progress_.end();
  return {};
}

}  // namespace canopy::ctl
