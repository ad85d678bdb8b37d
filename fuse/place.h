// Place: what a node of the accounts view is. Its key says it all, so that the view keeps nothing of its own.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace canopy::mount {

struct Place {
  enum class Kind : char {
    kAccounts = 'r',  // accounts/
    kDomain = 'd',
    kAccount = 'a',
    kSettings = 's',
    kInfo = 'i',
    kLocation = 'l',
    kMailbox = 'm',
    kMessage = 'e',
    kLastError = 'x',
    kDraft = 't',  // uid: its number (draft.h)
  };
  Kind kind = Kind::kAccounts;
  std::string name;  // "company.com", or "jsmith@company.com" from the account down
  uint32_t mailbox_id = 0, uid_validity = 0, uid = 0;

  bool is_directory() const;
  std::string key() const;
  static Place of_key(std::string_view key);  // of one that key() made
};

// A level of a mailbox's name as a file's name, and back. Names that a file cannot have, and those that would
// hide one of the files beside it (`settings`, `12.eml`), have bytes written as %41.
std::string element_of_level(std::string_view level, bool top);
std::string level_of_element(std::string_view element);

// "12.eml" is 12; 0: no message's name.
uint32_t uid_of_element(std::string_view element);
std::string element_of_uid(uint32_t uid);

}  // namespace canopy::mount
