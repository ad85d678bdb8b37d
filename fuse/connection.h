// The kernel's end of the mount, as /proc and /sys show it. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace canopy::mount {

// The number of the FUSE connection that is mounted on this directory, without asking the file system:
// of /proc/self/mountinfo, as proc_pid_mountinfo(5) describes it. The newest where several are. Pure.
std::optional<uint32_t> connection_number(std::string_view mountinfo, std::string_view directory);
std::optional<uint32_t> connection_of(const std::string& directory);

// Everybody who waits for an answer gets ECONNABORTED. Root and the mount's own user can where fusectl is
// mounted, which it is nearly everywhere; nothing happens otherwise, or when the connection has ended.
void abort_connection(uint32_t number);

}  // namespace canopy::mount
