#include "daemon/store/nfs/nfs_options.h"

#include <unistd.h>

#include <charconv>

#include "daemon/store/nfs/nfs_limits.h"

namespace canopy {
namespace {

constexpr std::string_view kScheme = "nfs://";

std::unexpected<Error> refuse(std::string_view address, std::string message) {
  return fail(Code::kInvalidArgument, std::string(address), std::move(message));
}

Result<std::string> without_percent(std::string_view address, std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || problem != std::errc() || end != digits.data() + 2 || value == 0)
      return refuse(address, "a '%' is followed by two hexadecimal digits other than 00");
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return out;
}

Result<uint32_t> number(std::string_view address, std::string_view name, std::string_view text, uint32_t min,
                        uint32_t max) {
  uint32_t value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size() || value < min ||
      value > max)
    return refuse(address, fmt::format("{}={}: a number from {} to {}", name, text, min, max));
  return value;
}

Result<void> set_parameter(NfsOptions& options, std::string_view address, std::string_view parameter) {
  const size_t equals = parameter.find('=');
  const std::string_view name = parameter.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : parameter.substr(equals + 1);
  if (name == "version") {
    CANOPY_ASSIGN(options.version, number(address, name, value, 3, 4));
  } else if (name == "nfsport") {
    CANOPY_ASSIGN(const uint32_t port, number(address, name, value, 1, 65535));
    options.nfs_port = static_cast<uint16_t>(port);
  } else if (name == "mountport") {
    CANOPY_ASSIGN(const uint32_t port, number(address, name, value, 1, 65535));
    options.mount_port = static_cast<uint16_t>(port);
  } else if (name == "uid") {
    CANOPY_ASSIGN(options.uid, number(address, name, value, 0, UINT32_MAX - 1));
  } else if (name == "gid") {
    CANOPY_ASSIGN(options.gid, number(address, name, value, 0, UINT32_MAX - 1));
  } else if (name == "connections") {
    CANOPY_ASSIGN(options.connections, number(address, name, value, 1, nfs::kConnectionsMax));
  } else {
    return refuse(
        address,
        fmt::format("{}: parameters are version, nfsport, mountport, uid, gid, connections", parameter));
  }
  return {};
}

// Takes the host off the front of `rest`.
Result<std::string> take_host(std::string_view address, std::string_view& rest) {
  std::string_view host;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return refuse(address, "an IPv6 address ends with ']'");
    host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    const size_t end = std::min(rest.find('/'), rest.size());
    host = rest.substr(0, end);
    rest.remove_prefix(end);
  }
  if (host.empty()) return refuse(address, "it names no host: nfs://HOST/EXPORT");
  if (host.find(':') != std::string_view::npos && rest.data()[-1] != ']')
    return refuse(address, "ports are given as nfsport= and mountport=, IPv6 addresses as [ADDRESS]");
  return std::string(host);
}

}  // namespace

Result<NfsOptions> parse_nfs_address(std::string_view address) {
  if (!address.starts_with(kScheme)) return refuse(address, "it does not begin with nfs://");
  NfsOptions options;
  options.uid = geteuid();
  options.gid = getegid();
  std::string_view rest = address.substr(kScheme.size());
  CANOPY_ASSIGN(options.host, take_host(address, rest));
  const size_t question = rest.find('?');
  CANOPY_ASSIGN(options.export_path, without_percent(address, rest.substr(0, question)));
  while (options.export_path.size() > 1 && options.export_path.ends_with('/')) options.export_path.pop_back();
  if (options.export_path.size() < 2 || options.export_path[0] != '/')
    return refuse(address, "it names no export: nfs://HOST/EXPORT");
  if (options.export_path.size() > nfs::kExportPathBytesMax)
    return refuse(address, fmt::format("an export's path has at most {} bytes", nfs::kExportPathBytesMax));
  if (question == std::string_view::npos) return options;
  std::string_view parameters = rest.substr(question + 1);
  while (!parameters.empty()) {
    const size_t end = std::min(parameters.find('&'), parameters.size());
    CANOPY_TRY(set_parameter(options, address, parameters.substr(0, end)));
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  return options;
}

}  // namespace canopy
