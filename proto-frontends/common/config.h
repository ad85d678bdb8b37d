// The configuration file of canopy-frontend (docs/frontends.md, TOML). Every key is checked: an unknown one,
// or a value that breaks a rule, is refused with the key and the rule.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/runtime/net.h"
#include "daemon/runtime/tls.h"
#include "proto-frontends/common/ip.h"
#include "proto-frontends/common/session.h"

namespace canopy::frontend {

enum class Protocol { kLmtp, kPop3, kPop3s };
std::string_view protocol_name(Protocol protocol);

struct ListenerConfig {
  Protocol protocol = Protocol::kLmtp;
  Address address;
  uint32_t unix_mode = 0600;
  std::vector<TlsOptions::Certificate> certificates;  // the first is for clients that name no server
  std::vector<Network> proxy_networks;                // who must begin with a PROXY header
  bool proxy_unix = false;                            // "unix" in proxy_networks
  uint32_t connections_max = 100'000;
  uint32_t connections_per_address_max = 0;  // 0: none
  SessionOptions session;
};

struct BackendConfig {
  std::vector<Address> addresses;
  TlsOptions tls;           // of a TCP backend
  std::string server_name;  // that its certificate must bear
  bool use_tls = false;
  Nanos timeout = 30 * kSecond;
};

struct Config {
  uint32_t loops = 0;  // 0: one for each core
  Nanos drain = 30 * kSecond;
  LogOptions log;
  BackendConfig backend;
  std::vector<ListenerConfig> listeners;

  static Result<Config> load(const std::string& file);
  // `name`: for errors.
  static Result<Config> parse(std::string_view text, const std::string& name);
};

}  // namespace canopy::frontend
