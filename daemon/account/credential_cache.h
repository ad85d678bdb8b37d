// A short-lived, bounded memory of passwords that were verified, so that a client that logs in every minute
// does not cost an argon2id each time. Holds a keyed hash (a fresh random key a process), never a password.
// One loop's thread; an entry counts only for the stored password that it was verified against.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace canopy {

class CredentialCache {
 public:
  CredentialCache(size_t entries_max, int64_t seconds_max);

  // True when this password was verified for this account and stored hash within the time.
  bool knows(std::string_view account, std::string_view stored_hash, std::string_view password,
             int64_t now_seconds);
  void remember(std::string_view account, std::string_view stored_hash, std::string_view password,
                int64_t now_seconds);
  void forget(std::string_view account);
  size_t size() const { return by_account_.size(); }

 private:
  struct Entry {
    std::string account;
    std::string hash;
    int64_t until = 0;
  };
  std::string hash_of(std::string_view account, std::string_view stored, std::string_view password) const;

  const size_t entries_max_;
  const int64_t seconds_max_;
  std::string key_;
  std::list<Entry> order_;  // newest first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_account_;
};

}  // namespace canopy
