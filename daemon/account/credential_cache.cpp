#include "daemon/account/credential_cache.h"

#include <sodium.h>

#include "daemon/base/bytes.h"

namespace canopy {

CredentialCache::CredentialCache(size_t entries_max, int64_t seconds_max)
    : entries_max_(entries_max), seconds_max_(seconds_max), key_(32, '\0') {
  randombytes_buf(key_.data(), key_.size());
}

std::string CredentialCache::hash_of(std::string_view account, std::string_view stored,
                                     std::string_view password) const {
  std::string message;
  put_sized(message, account);
  put_sized(message, stored);
  put_sized(message, password);
  std::string out(32, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(out.data()), out.size(),
                     reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                     reinterpret_cast<const unsigned char*>(key_.data()), key_.size());
  sodium_memzero(message.data(), message.size());
  return out;
}

bool CredentialCache::knows(std::string_view account, std::string_view stored_hash, std::string_view password,
                            int64_t now_seconds) {
  auto at = by_account_.find(std::string(account));
  if (at == by_account_.end() || at->second->until <= now_seconds) return false;
  std::string hash = hash_of(account, stored_hash, password);
  return sodium_memcmp(hash.data(), at->second->hash.data(), hash.size()) == 0;
}

void CredentialCache::remember(std::string_view account, std::string_view stored_hash,
                               std::string_view password, int64_t now_seconds) {
  forget(account);
  order_.push_front(
      {std::string(account), hash_of(account, stored_hash, password), now_seconds + seconds_max_});
  by_account_[order_.front().account] = order_.begin();
  if (by_account_.size() > entries_max_) {
    by_account_.erase(order_.back().account);
    order_.pop_back();
  }
}

void CredentialCache::forget(std::string_view account) {
  auto at = by_account_.find(std::string(account));
  if (at == by_account_.end()) return;
  order_.erase(at->second);
  by_account_.erase(at);
}

}  // namespace canopy
