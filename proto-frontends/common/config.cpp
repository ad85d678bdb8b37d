#include "proto-frontends/common/config.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "daemon/base/limits.h"
#include "proto-frontends/common/text.h"

namespace canopy::frontend {
namespace {

constexpr int64_t kHourSeconds = 3600;

// One table of the file. Getters note which keys were read, so that finish() can refuse the others; the first
// failure is kept and makes every later getter answer its default.
class Table {
 public:
  Table(const toml::table& table, std::string path, std::optional<Error>& error)
      : table_(table), path_(std::move(path)), error_(error) {}

  bool has(std::string_view key) const { return table_.contains(key); }

  std::string text(std::string_view key, std::string fallback) {
    const toml::node* node = find(key);
    if (node == nullptr) return fallback;
    if (auto value = node->value_exact<std::string>()) return *value;
    refuse(key, "not a string");
    return fallback;
  }

  int64_t number(std::string_view key, int64_t fallback, int64_t low, int64_t high) {
    const toml::node* node = find(key);
    if (node == nullptr) return fallback;
    auto value = node->value_exact<int64_t>();
    if (value && *value >= low && *value <= high) return *value;
    refuse(key, fmt::format("not a number from {} to {}", low, high));
    return fallback;
  }

  bool flag(std::string_view key, bool fallback) {
    const toml::node* node = find(key);
    if (node == nullptr) return fallback;
    if (auto value = node->value_exact<bool>()) return *value;
    refuse(key, "neither true nor false");
    return fallback;
  }

  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> values;
    const toml::node* node = find(key);
    if (node == nullptr) return values;
    const toml::array* array = node->as_array();
    if (array == nullptr) {
      refuse(key, "not an array of strings");
      return values;
    }
    for (const toml::node& element : *array) {
      auto value = element.value_exact<std::string>();
      if (!value) {
        refuse(key, "not an array of strings");
        return values;
      }
      values.push_back(std::move(*value));
    }
    return values;
  }

  // Calls `read` for the table, or for each table of the array, of that name.
  template <class Read>
  void tables(std::string_view key, Read read) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (const toml::table* one = node->as_table()) {
      descend(*one, name(key), read);
      return;
    }
    const toml::array* array = node->as_array();
    if (array == nullptr) return refuse(key, "not a table");
    size_t index = 0;
    for (const toml::node& element : *array) {
      const toml::table* one = element.as_table();
      if (one == nullptr) return refuse(key, "not an array of tables");
      descend(*one, fmt::format("{}[{}]", name(key), index++), read);
    }
  }

  // Keeps the value of a Result, or refuses the key with its message.
  template <class T>
  T take(std::string_view key, Result<T> result, T fallback = {}) {
    if (result) return std::move(*result);
    refuse(key, result.error().object() + ": " + result.error().message());
    return fallback;
  }

  void refuse(std::string_view key, std::string rule) {
    if (!error_) error_.emplace(Code::kInvalidArgument, name(key), std::move(rule));
  }

  void finish() {
    for (const auto& [key, node] : table_)
      if (!read_.contains(std::string(key.str())))
        refuse(key.str(), fmt::format("not a known key (line {})", node.source().begin.line));
  }

 private:
  template <class Read>
  void descend(const toml::table& table, std::string path, Read& read) {
    Table inner(table, std::move(path), error_);
    read(inner);
    inner.finish();
  }
  const toml::node* find(std::string_view key) {
    read_.insert(std::string(key));
    return table_.get(key);
  }
  std::string name(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

  const toml::table& table_;
  std::string path_;
  std::optional<Error>& error_;
  std::set<std::string> read_;
};

template <class T>
T choose(Table& table, std::string_view key, std::string_view fallback,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string text = table.text(key, std::string(fallback));
  std::string names;
  for (const auto& [choice, value] : choices) {
    if (choice == text) return value;
    names += (names.empty() ? "" : ", ") + std::string(choice);
  }
  table.refuse(key, "not one of " + names);
  return choices.begin()->second;
}

void read_backend(Table& table, BackendConfig& backend) {
  for (const std::string& text : table.texts("addresses"))
    backend.addresses.push_back(table.take("addresses", Address::parse(text)));
  if (backend.addresses.empty())
    table.refuse("addresses", "there must be at least one, as in \"unix:/run/canopy/canopy.sock\"");
  backend.timeout = table.number("timeout_seconds", 30, 1, kHourSeconds) * kSecond;
  backend.tls.side = TlsOptions::Side::kClient;
  backend.tls.verify = TlsOptions::Verify::kRequired;
  backend.tls.ca_file = table.text("ca", "");
  std::string certificate = table.text("certificate", ""), key = table.text("key", "");
  backend.server_name = table.text("server_name", "");
  if (certificate.empty() != key.empty()) table.refuse("certificate", "certificate and key belong together");
  if (!certificate.empty()) backend.tls.certificates.push_back({certificate, key});
  backend.use_tls = !backend.tls.ca_file.empty();
  bool tcp =
      std::ranges::any_of(backend.addresses, [](const Address& a) { return a.kind == Address::Kind::kTcp; });
  bool plain = table.flag("plaintext", false);
  if (tcp && !backend.use_tls && !plain)
    table.refuse("ca", "a tcp: backend needs ca, certificate and key (or plaintext = true, for tests)");
  if (backend.use_tls && backend.tls.certificates.empty())
    table.refuse("certificate", "missing: the wire protocol's TLS is mutual");
}

void read_session(Table& table, ListenerConfig& listener) {
  SessionOptions& session = listener.session;
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') std::strcpy(host, "localhost");
  session.hostname = table.text("hostname", host);
  if (session.hostname.empty() || session.hostname.size() > 255 || has_controls(session.hostname) ||
      session.hostname.find(' ') != std::string::npos)
    table.refuse("hostname", "not a host name");
  session.domain = table.text("default_domain", "");
  if (session.domain.size() > kNameBytesMax) table.refuse("default_domain", "not a domain");
  int64_t idle = listener.protocol == Protocol::kLmtp ? 300 : 600;
  session.idle = table.number("idle_seconds", idle, 1, 24 * kHourSeconds) * kSecond;
  if (listener.protocol == Protocol::kLmtp) {
    auto bytes_max = static_cast<int64_t>(kMessageBytesMax - (64u << 10));  // room for the fields that we add
    session.message_bytes_max =
        static_cast<uint64_t>(table.number("message_bytes_max", 100ll << 20, 64 << 10, bytes_max));
    session.recipients_max = static_cast<uint32_t>(table.number("recipients_max", 1000, 100, 10'000));
    session.quota_is_permanent =
        choose<bool>(table, "quota_reply", "temporary", {{"temporary", false}, {"permanent", true}});
  } else {
    session.plaintext_auth = table.flag("plaintext_auth", false);
  }
}

void read_listener(Table& table, ListenerConfig& listener) {
  if (!table.has("protocol")) table.refuse("protocol", "missing: lmtp, pop3 or pop3s");
  listener.protocol =
      choose<Protocol>(table, "protocol", "lmtp",
                       {{"lmtp", Protocol::kLmtp}, {"pop3", Protocol::kPop3}, {"pop3s", Protocol::kPop3s}});
  listener.address = table.take("address", Address::parse(table.text("address", "")));
  std::string mode = table.text("unix_mode", "0600");
  char* end = nullptr;
  unsigned long bits = std::strtoul(mode.c_str(), &end, 8);
  if (mode.empty() || *end != '\0' || bits > 0777)
    table.refuse("unix_mode", "not an octal mode as in \"0660\"");
  listener.unix_mode = static_cast<uint32_t>(bits);
  table.tables("tls", [&](Table& tls) {
    TlsOptions::Certificate pair{tls.text("certificate", ""), tls.text("key", "")};
    if (pair.certificate_file.empty()) tls.refuse("certificate", "missing: a PEM file");
    if (pair.key_file.empty()) tls.refuse("key", "missing: a PEM file");
    listener.certificates.push_back(std::move(pair));
  });
  if (listener.protocol == Protocol::kPop3s && listener.certificates.empty())
    table.refuse("tls", "pop3s needs at least one certificate and key");
  for (const std::string& text : table.texts("proxy_networks")) {
    if (text == "unix")
      listener.proxy_unix = true;
    else
      listener.proxy_networks.push_back(table.take("proxy_networks", Network::parse(text)));
  }
  listener.connections_max = static_cast<uint32_t>(table.number("connections_max", 100'000, 1, 10'000'000));
  listener.connections_per_address_max =
      static_cast<uint32_t>(table.number("connections_per_address_max", 0, 0, 10'000'000));
  read_session(table, listener);
}

void read_top(Table& table, Config& config) {
  config.loops = static_cast<uint32_t>(table.number("loops", 0, 0, 256));
  config.drain = table.number("drain_seconds", 30, 0, kHourSeconds) * kSecond;
  table.tables("log", [&](Table& log) {
    config.log.file = log.text("file", "");
    config.log.level = choose<LogLevel>(log, "level", "info",
                                        {{"info", LogLevel::kInfo},
                                         {"debug", LogLevel::kDebug},
                                         {"warning", LogLevel::kWarning},
                                         {"error", LogLevel::kError}});
  });
  if (!table.has("backend")) table.refuse("backend", "missing: a table with addresses");
  table.tables("backend", [&](Table& backend) { read_backend(backend, config.backend); });
  table.tables("listener",
               [&](Table& listener) { read_listener(listener, config.listeners.emplace_back()); });
  if (config.listeners.empty()) table.refuse("listener", "there must be at least one [[listener]]");
  table.finish();
}

}  // namespace

std::string_view protocol_name(Protocol protocol) {
  switch (protocol) {
    case Protocol::kLmtp: return "lmtp";
    case Protocol::kPop3: return "pop3";
    case Protocol::kPop3s: return "pop3s";
  }
  return "";
}

Result<Config> Config::parse(std::string_view text, const std::string& name) {
  toml::parse_result parsed = toml::parse(text, name);
  if (!parsed)
    return fail(Code::kInvalidArgument, fmt::format("{}:{}", name, parsed.error().source().begin.line),
                std::string(parsed.error().description()));
  Config config;
  std::optional<Error> error;
  Table top(parsed.table(), "", error);
  read_top(top, config);
  if (error) return fail(error->code(), name + ": " + error->object(), error->message());
  return config;
}

Result<Config> Config::load(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::kNotFound, file, "the configuration file cannot be read");
  std::stringstream text;
  text << in.rdbuf();
  return parse(text.str(), file);
}

}  // namespace canopy::frontend
