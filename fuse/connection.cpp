#include "fuse/connection.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace canopy::mount {
namespace {

std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

// Space, tab, newline and the backslash stand as three octal digits.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    int byte = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(digits, digits + 3, byte, 8).ptr == digits + 3) {
      out += static_cast<char>(byte);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::optional<uint32_t> connection_number(std::string_view mountinfo, std::string_view directory) {
  std::optional<uint32_t> found;
  while (!mountinfo.empty()) {
    std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(line.size() + 1, mountinfo.size()));
    (void)take_word(line);  // the mount's number, its parent's
    (void)take_word(line);
    const std::string_view device = take_word(line);
    (void)take_word(line);  // what of it is mounted
    if (unescaped(take_word(line)) != directory || line.find(" - fuse.canopy ") == line.npos) continue;
    const std::string_view minor = device.substr(std::min(device.find(':') + 1, device.size()));
    uint32_t number = 0;
    if (std::from_chars(minor.data(), minor.data() + minor.size(), number).ec == std::errc()) found = number;
  }
  return found;
}

std::optional<uint32_t> connection_of(const std::string& directory) {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  return connection_number(text.str(), directory);
}

void abort_connection(uint32_t number) {
  const int fd =
      ::open(fmt::format("/sys/fs/fuse/connections/{}/abort", number).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "1", 1);
  ::close(fd);
}

}  // namespace canopy::mount
