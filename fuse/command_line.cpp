#include "fuse/command_line.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "fuse/completion.h"

namespace canopy::mount {
namespace {

// Options of mount(8) that mean something to others only.
bool is_for_others(std::string_view option) {
  for (std::string_view known : {"_netdev", "nofail", "auto", "noauto", "user", "nouser", "users", "owner",
                                 "group", "defaults", "async", "relatime", "strictatime", "lazytime"})
    if (option == known) return true;
  return option.starts_with("x-") || option.starts_with("X-") || option.starts_with("comment=");
}

Result<double> number_of(const std::string& option, const std::string& text, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= least && value <= most))  // a nan is neither
    return fail(Code::kInvalidArgument, "-o " + option,
                fmt::format("it takes a number from {} to {}", least, most));
  return value;
}

constexpr std::string_view kPlainOptions[] = {"ro",    "allow_other", "allow_root", "nosuid", "suid",
                                              "nodev", "dev",         "noexec",     "exec",   "noatime"};
constexpr std::string_view kTexts[] = {"ca", "cert", "key", "log_file"};
struct Number {
  std::string_view name;
  double least, most;
  void (*set)(Options& options, double value);
};
constexpr Number kNumbers[] = {
    {"uid", 0, UINT32_MAX - 1, [](Options& to, double value) { to.uid = static_cast<uint32_t>(value); }},
    {"gid", 0, UINT32_MAX - 1, [](Options& to, double value) { to.gid = static_cast<uint32_t>(value); }},
    {"cache_ms", 0, 60'000, [](Options& to, double value) { to.cache_seconds = value / 1000; }},
    {"told_ms", 0, 3'600'000, [](Options& to, double value) { to.told_seconds = value / 1000; }},
    {"nodes", 0, 1e9, [](Options& to, double value) { to.nodes_max = static_cast<size_t>(value); }},
    {"wait", 1, 86'400, [](Options& to, double value) { to.wait_seconds = value; }},
};

std::string& text_of(Options& options, std::string_view name) {
  if (name == "ca") return options.ca;
  if (name == "cert") return options.certificate;
  return name == "key" ? options.key : options.log_file;
}

Result<void> take_option(Options& options, const std::string& whole) {
  const size_t equals = whole.find('=');
  const std::string name = whole.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : whole.substr(equals + 1);
  if (is_for_others(name) || is_for_others(whole)) return {};
  if (whole == "rw" || whole == "ro") std::erase(options.for_fuse, "ro");  // the last of them counts
  if (whole == "rw") return {};
  if (std::ranges::find(kPlainOptions, whole) != std::end(kPlainOptions)) {
    options.for_fuse.push_back(whole);
    return {};
  }
  if (std::ranges::find(kTexts, name) != std::end(kTexts)) {
    text_of(options, name) = value;
    return {};
  }
  const auto* number = std::ranges::find(kNumbers, name, &Number::name);
  if (number == std::end(kNumbers)) {
    return fail(Code::kInvalidArgument, "-o " + whole,
                "it is no option of canopy-mount; see canopy-mount --help");
  }
  CANOPY_ASSIGN(const double given, number_of(name, value, number->least, number->most));
  number->set(options, given);
  return {};
}

}  // namespace

std::vector<std::string> plain_mount_options() {
  return {std::begin(kPlainOptions), std::end(kPlainOptions)};
}

std::vector<std::string> valued_mount_options() {
  std::vector<std::string> names(std::begin(kTexts), std::end(kTexts));
  for (const Number& number : kNumbers) names.emplace_back(number.name);
  return names;
}

void add_command_line(CLI::App& app, Options& options) {
  app.description(
      "canopy-mount: shows the account tree as files: SharedDomains and Settings as they lie, "
      "accounts/DOMAIN/NAME with each mailbox as a folder of messages.");
  app.set_version_flag("--version", "canopy-mount 0.1.0");
  app.add_option("URL", options.url, "The backend: unix:PATH or tcp:HOST:PORT")->required();
  app.add_option("DIR", options.directory, "Where to mount")->required();
  app.add_option(
      "-o", options.mount_options,
      "Options, comma-separated: ro, rw, allow_other, uid=N and gid=N (of what accounts/ shows), "
      "cache_ms=N (50), told_ms=N (60000: of what the backend tells changes of), nodes=N (250000: "
      "known to the kernel before it is asked to forget some), "
      "wait=SECONDS (30, at least 1: how long an operation waits for the backend before it fails), ca=, "
      "cert=, key=, log_file= (as the options below); those "
      "of mount(8) that are for others are passed over");
  app.add_option("--ca", options.ca, "PEM file with the CA of the backend's certificate");
  app.add_option("--cert", options.certificate, "PEM file with a certificate of role mount (or admin)");
  app.add_option("--key", options.key, "PEM file with its private key");
  app.add_flag("-f,--foreground", options.foreground,
               "Stay in the foreground; the log goes to standard error");
  app.add_option("--log-file", options.log_file, "Where the log goes; default: standard error");
  app.add_option_function<std::string>(
         "--completion",
         [&app](const std::string& shell) {
           std::fputs(completion(app, shell).c_str(), stdout);
           throw CLI::Success();
         },
         "Print a completion script for a shell: bash or zsh")
      ->check(CLI::IsMember({"bash", "zsh"}).description(""));
}

std::vector<std::string> arguments_of_helper(const std::vector<std::string>& given, bool& fake) {
  std::vector<std::string> own;
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string& word = given[i];
    if (word.size() < 2 || word.front() != '-' || word[1] == '-') {
      own.push_back(word);
      continue;
    }
    for (size_t at = 1; at < word.size(); ++at) {
      const char letter = word[at];
      if (letter == 'f') fake = true;
      if (letter == 'r') own.insert(own.end(), {"-o", "ro"});
      if (letter != 'o' && letter != 't' && letter != 'N') continue;
      const std::string value = at + 1 < word.size() ? word.substr(at + 1)
                                : ++i < given.size() ? given[i]
                                                     : "";
      if (letter == 'o') own.insert(own.end(), {"-o", value});
      break;
    }
  }
  return own;
}

Result<void> take_options(Options& options) {
  for (const std::string& list : options.mount_options) {
    for (size_t at = 0; at <= list.size();) {
      const size_t end = std::min(list.find(',', at), list.size());
      if (end > at) CANOPY_TRY(take_option(options, list.substr(at, end - at)));
      at = end + 1;
    }
  }
  return {};
}

}  // namespace canopy::mount
