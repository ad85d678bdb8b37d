#include "daemon/account/passwords.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sodium.h>

namespace canopy {
namespace {

const unsigned char* raw(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

ScramKeys make_scram(std::string_view password) {
  ScramKeys keys;
  keys.iterations = kScramIterations;
  keys.salt.resize(16);
  randombytes_buf(keys.salt.data(), keys.salt.size());
  std::string salted(32, '\0');
  PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), raw(keys.salt),
                    static_cast<int>(keys.salt.size()), kScramIterations, EVP_sha256(), 32,
                    reinterpret_cast<unsigned char*>(salted.data()));
  keys.stored_key = sha256(hmac_sha256(salted, "Client Key"));
  keys.server_key = hmac_sha256(salted, "Server Key");
  return keys;
}

Result<std::string> require_data(const dict::Dict& dict, std::string_view key) {
  const dict::Value* value = dict.find(key);
  if (value == nullptr || value->data() == nullptr) {
    return fail(Code::kDamaged, std::string(key), "the stored password lacks it, or it is no data block");
  }
  return value->data()->bytes;
}

}  // namespace

Result<void> start_passwords() {
  if (sodium_init() < 0) return fail(Code::kInternal, "libsodium", "it could not be started");
  return {};
}

std::string sha256(std::string_view bytes) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(raw(bytes), bytes.size(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

std::string hmac_sha256(std::string_view key, std::string_view message) {
  std::string out(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), raw(message), message.size(),
       reinterpret_cast<unsigned char*>(out.data()), &size);
  return out;
}

dict::Dict PasswordRecord::to_dict() const {
  dict::Dict out;
  out.set("Argon2", argon2);
  out.set("ScramIterations", scram.iterations);
  out.set("ScramSalt", dict::Data{scram.salt});
  out.set("ScramServerKey", dict::Data{scram.server_key});
  out.set("ScramStoredKey", dict::Data{scram.stored_key});
  return out;
}

Result<PasswordRecord> PasswordRecord::from_dict(const dict::Dict& dict) {
  PasswordRecord record;
  record.argon2 = dict.string_or("Argon2", "");
  int64_t iterations = dict.number_or("ScramIterations", 0);
  if (record.argon2.empty() || iterations < 1 || iterations > 10'000'000) {
    return fail(Code::kDamaged, "Password", "the stored password lacks Argon2 or ScramIterations");
  }
  record.scram.iterations = static_cast<uint32_t>(iterations);
  CANOPY_ASSIGN(record.scram.salt, require_data(dict, "ScramSalt"));
  CANOPY_ASSIGN(record.scram.stored_key, require_data(dict, "ScramStoredKey"));
  CANOPY_ASSIGN(record.scram.server_key, require_data(dict, "ScramServerKey"));
  return record;
}

Result<PasswordRecord> make_password(std::string_view password) {
  if (password.empty() || password.size() > kPasswordBytesMax) {
    return fail(Code::kInvalidArgument, "password",
                fmt::format("a password has 1 to {} bytes", kPasswordBytesMax));
  }
  for (char c : password) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return fail(Code::kInvalidArgument, "password", "a password has no control characters");
    }
  }
  PasswordRecord record;
  char text[crypto_pwhash_STRBYTES];
  if (crypto_pwhash_str_alg(text, password.data(), password.size(), kArgonPasses, kArgonMemoryBytes,
                            crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return fail(Code::kTryAgain, "password", "there was no memory to hash it");
  }
  record.argon2 = text;
  record.scram = make_scram(password);
  return record;
}

bool verify_password(const PasswordRecord& record, std::string_view password) {
  if (password.size() > kPasswordBytesMax) return false;
  return crypto_pwhash_str_verify(record.argon2.c_str(), password.data(), password.size()) == 0;
}

}  // namespace canopy
