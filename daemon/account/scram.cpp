#include "daemon/account/scram.h"

#include <sodium.h>

#include "daemon/base/base64.h"

namespace canopy {
namespace {

std::unexpected<Error> refused_exchange(std::string_view why) {
  return fail(Code::kUnauthenticated, "SCRAM-SHA-256", std::string(why));
}

// The value of "x=value" at the front of a comma-separated message, and what follows the comma.
std::optional<std::string_view> take_attribute(std::string_view& message, char name) {
  if (message.size() < 2 || message[0] != name || message[1] != '=') return std::nullopt;
  size_t comma = std::min(message.find(','), message.size());
  std::string_view value = message.substr(2, comma - 2);
  message.remove_prefix(std::min(comma + 1, message.size()));
  return value;
}

std::optional<std::string> decode_name(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out.push_back(text[i]);
      continue;
    }
    std::string_view code = text.substr(i + 1, 2);
    if (code == "2C") {
      out.push_back(',');
    } else if (code == "3D") {
      out.push_back('=');
    } else {
      return std::nullopt;
    }
    i += 2;
  }
  return out;
}

}  // namespace

Result<ScramFirst> ScramFirst::parse(std::string_view message) {
  if (message.size() > kScramMessageBytesMax)
    return refused_exchange("the client's first message is too long");
  ScramFirst first;
  size_t flag_end = message.find(',');
  if (flag_end == std::string_view::npos)
    return refused_exchange("the client's first message has no GS2 header");
  std::string_view flag = message.substr(0, flag_end);
  if (flag != "n" && flag != "y") return refused_exchange("channel binding is not offered");
  size_t header_end = message.find(',', flag_end + 1);
  if (header_end == std::string_view::npos)
    return refused_exchange("the client's first message has no GS2 header");
  std::string_view authorization = message.substr(flag_end + 1, header_end - flag_end - 1);
  if (!authorization.empty()) {
    auto name = authorization.starts_with("a=") ? decode_name(authorization.substr(2)) : std::nullopt;
    if (!name) return refused_exchange("the authorization identity is malformed");
    first.authorization = *name;
  }
  first.gs2_header = message.substr(0, header_end + 1);
  first.bare = message.substr(header_end + 1);
  std::string_view rest = first.bare;
  auto user = take_attribute(rest, 'n');
  auto nonce = take_attribute(rest, 'r');
  auto name = user ? decode_name(*user) : std::nullopt;
  if (!name || !nonce || nonce->empty())
    return refused_exchange("the client's first message lacks a name or a nonce");
  first.user = *name;
  first.nonce = *nonce;
  return first;
}

ScramServer::ScramServer(ScramFirst first, ScramKeys keys, const std::string& server_nonce)
    : first_(std::move(first)), keys_(std::move(keys)), nonce_(first_.nonce + server_nonce) {
  server_first_ = fmt::format("r={},s={},i={}", nonce_, base64_encode(keys_.salt), keys_.iterations);
}

Result<std::string> ScramServer::finish(std::string_view client_final) const {
  if (client_final.size() > kScramMessageBytesMax)
    return refused_exchange("the client's final message is too long");
  size_t proof_at = client_final.rfind(",p=");
  if (proof_at == std::string_view::npos) return refused_exchange("the client's final message has no proof");
  std::string_view without_proof = client_final.substr(0, proof_at);
  auto proof = base64_decode(client_final.substr(proof_at + 3));
  std::string_view rest = without_proof;
  auto binding = take_attribute(rest, 'c');
  auto nonce = take_attribute(rest, 'r');
  if (!binding || !nonce || !proof || proof->size() != 32)
    return refused_exchange("the client's final message is malformed");
  if (base64_decode(*binding) != first_.gs2_header) return refused_exchange("the channel binding differs");
  if (*nonce != nonce_) return refused_exchange("the nonce differs");
  std::string message = first_.bare + "," + server_first_ + "," + std::string(without_proof);
  std::string client_key = hmac_sha256(keys_.stored_key, message);
  for (size_t i = 0; i < client_key.size(); ++i) {
    client_key[i] = static_cast<char>(client_key[i] ^ (*proof)[i]);
  }
  std::string stored = sha256(client_key);
  if (keys_.stored_key.size() != stored.size() ||
      sodium_memcmp(stored.data(), keys_.stored_key.data(), stored.size()) != 0) {
    return refused_exchange("wrong name or password");
  }
  return "v=" + base64_encode(hmac_sha256(keys_.server_key, message));
}

ScramKeys invented_scram_keys(std::string_view name, std::string_view secret) {
  ScramKeys keys;
  keys.iterations = kScramIterations;
  std::string seed = hmac_sha256(secret, name);
  keys.salt = seed.substr(0, 16);
  keys.stored_key = hmac_sha256(seed, "stored");
  keys.server_key = hmac_sha256(seed, "server");
  return keys;
}

}  // namespace canopy
