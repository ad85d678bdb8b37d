#include "daemon/runtime/lost_peers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace canopy {

void notice_lost_peers(int socket_fd) {
  const int asked = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_KEEPALIVE, &asked, sizeof asked);
  setsockopt(socket_fd, IPPROTO_TCP, TCP_KEEPIDLE, &kPeerIdleSeconds, sizeof kPeerIdleSeconds);
  setsockopt(socket_fd, IPPROTO_TCP, TCP_KEEPINTVL, &kPeerAskedEverySeconds, sizeof kPeerAskedEverySeconds);
  // It says, too, when questions without an answer are enough (tcp(7)).
  setsockopt(socket_fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kPeerSilentMillis, sizeof kPeerSilentMillis);
}

}  // namespace canopy
