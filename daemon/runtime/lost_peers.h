// How soon a TCP connection notices that its peer is gone without a word: a machine without power, a path
// that drops what is sent. (The kernel by itself waits some 15 minutes, and for ever where nothing is sent.)
#pragma once

#include "daemon/runtime/net.h"

namespace canopy {

// Bytes that the peer's kernel has not taken for so long end the connection, and so does its silence to the
// questions that an idle connection is asked from kPeerIdleSeconds on.
inline constexpr int kPeerSilentMillis = 20'000;
inline constexpr int kPeerIdleSeconds = 10;
inline constexpr int kPeerAskedEverySeconds = 5;

// Of a TCP socket, as UringLoop::connect() makes it.
void notice_lost_peers(int socket_fd);
// Of the connections that a listener of a UringLoop accepts from now on. Not for public services: there a
// peer's path may well be away for longer (a phone's), and is not to be asked all the time.
void notice_lost_peers(const Listener& of);

}  // namespace canopy
