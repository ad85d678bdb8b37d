// Where the directory and the files of domains and accounts lie (docs/formats/tree.md, "Paths"). All paths
// are relative to the base directory, without a leading or trailing '/'. Names are prepared ones (names.h).
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/tree/foldering.h"
#include "daemon/tree/names.h"

namespace canopy {

inline constexpr std::string_view kTreeRoot = "SharedDomains";
inline constexpr std::string_view kSettingsRoot = "Settings";
inline constexpr std::string_view kFastElement = "fast";
inline constexpr std::string_view kHeartbeatElement = "heartbeat.data";
inline constexpr std::string_view kFolderSuffix = ".sub";
inline constexpr std::string_view kAccountSuffix = ".macnt";
inline constexpr std::string_view kSettingsSuffix = ".settings";
inline constexpr std::string_view kInfoSuffix = ".info";

// The directory of a domain under the tree's domain foldering, and the domain's own settings in it.
std::string domain_directory(const Foldering& domain_foldering, std::string_view domain);
std::string domain_settings_file(const Foldering& domain_foldering, std::string_view domain);

// The layout of one domain's accounts: the tree's domain foldering with the domain's own two settings. Always
// valid.
class TreeLayout {
 public:
  TreeLayout() = default;  // flat, flat, 0
  // kInvalidArgument when fast_index counts beyond the last folder above an account.
  static Result<TreeLayout> make(Foldering domain_foldering, Foldering account_foldering,
                                 uint32_t fast_index);
  // The settings as text; fast_index in decimal.
  static Result<TreeLayout> parse(std::string_view domain_foldering, std::string_view account_foldering,
                                  std::string_view fast_index);

  const Foldering& domain_foldering() const { return domain_foldering_; }
  const Foldering& account_foldering() const { return account_foldering_; }
  uint32_t fast_index() const { return fast_index_; }

  std::string domain_directory(std::string_view domain) const;      // SharedDomains/c.sub/company.com
  std::string domain_settings_file(std::string_view domain) const;  // …/company.com/domain.settings
  // Where the domain's settings and info files lie when `fast` stands above the domain:
  // SharedDomains/fast/company.com. Empty when they lie in the domain's directory.
  std::string domain_fast_directory(std::string_view domain) const;
  // The folder that holds the account's directory: SharedDomains/company.com/j.sub
  std::string account_parent(const AccountAddress& address) const;
  std::string account_directory(const AccountAddress& address) const;  // …/j.sub/jsmith.macnt
  std::string settings_file(const AccountAddress& address) const;      // in the directory, or under `fast`
  std::string info_file(const AccountAddress& address) const;

  bool operator==(const TreeLayout&) const = default;

 private:
  std::string account_file(const AccountAddress& address, std::string_view suffix) const;

  Foldering domain_foldering_, account_foldering_;
  uint32_t fast_index_ = 0;
};

// What a path element may be in the part of the tree above the accounts' directories.
enum class TreeElement : uint8_t {
  kFolder,        // x.sub
  kAccount,       // jsmith.macnt
  kFast,          // fast
  kHeartbeat,     // heartbeat.data…: the controller's register
  kSettingsFile,  // x.settings
  kInfoFile,      // x.info
  kDomain,        // a name that prepare_domain leaves as it is
  kOther,         // none of these: no name of Canopy's
};
// `below_domain`: the element stands under a domain, where files may be but no further domain.
TreeElement classify_element(std::string_view element, bool below_domain);
// "jsmith" from "jsmith.macnt"; empty when it is no account element.
std::string_view account_of_element(std::string_view element);

// What a raw path under the base directory names, without knowing any layout.
enum class TreePlaceKind : uint8_t {
  kBase,            // the base directory itself
  kTreeRoot,        // SharedDomains
  kHeartbeat,       // a file of the controller
  kSettings,        // Settings and everything in it
  kFolder,          // an x.sub or fast directory above a domain, or above accounts
  kDomain,          // a domain's directory
  kDomainSettings,  // …/company.com/domain.settings
  kAccount,         // an account's directory
  kInsideAccount,   // anything in an account's directory, settings and info included
  kAccountFile,     // settings or info of an account under `fast`
  kOther,           // anything else
};
struct TreePlace {
  TreePlaceKind kind = TreePlaceKind::kOther;
  std::string_view domain;  // views into the path; empty where none is named
  std::string_view account;
};
TreePlace describe_path(std::string_view path);

}  // namespace canopy
