// Address to and from the kernel's form. Inner header of runtime/.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/runtime/net.h"

namespace canopy {

inline constexpr size_t kUnixPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;

Address address_of(const sockaddr_storage& from, socklen_t length);
// The length of `out`, or 0 when the host is no numeric address. An empty host is every address of both
// families to listen on, and the loopback address to connect to.
socklen_t fill_sockaddr(const Address& address, bool listening, sockaddr_storage& out);

}  // namespace canopy
