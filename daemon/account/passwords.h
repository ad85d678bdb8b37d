// What is kept of a password: an argon2id hash (RFC 9106, libsodium) and the keys of SCRAM-SHA-256 (RFC 5802,
// RFC 7677), never the password. Pure computation, slow on purpose: on a worker, never on a loop. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.h"
#include "daemon/dict/value.h"

namespace canopy {

inline constexpr size_t kPasswordBytesMax = 1024;
inline constexpr uint64_t kArgonMemoryBytes = 19u << 20;  // with 2 passes: OWASP's smallest advised setting
inline constexpr uint64_t kArgonPasses = 2;
inline constexpr uint32_t kScramIterations = 4096;  // RFC 7677 section 4

struct ScramKeys {
  uint32_t iterations = 0;
  std::string salt, stored_key, server_key;
};

struct PasswordRecord {
  std::string argon2;  // "$argon2id$…"
  ScramKeys scram;

  dict::Dict to_dict() const;
  // kDamaged names the key that is missing or wrong.
  static Result<PasswordRecord> from_dict(const dict::Dict& dict);
};

// libsodium, once before anything below. kInternal when it cannot start.
Result<void> start_passwords();
// kInvalidArgument: empty, too long, or with control characters. The password is used as its UTF-8 bytes.
Result<PasswordRecord> make_password(std::string_view password);
bool verify_password(const PasswordRecord& record, std::string_view password);

std::string hmac_sha256(std::string_view key, std::string_view message);
std::string sha256(std::string_view bytes);

}  // namespace canopy
