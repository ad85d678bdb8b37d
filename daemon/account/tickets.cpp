#include "daemon/account/tickets.h"

#include <sodium.h>

#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr std::string_view kMagic = "T1";
constexpr size_t kMacBytes = 32;

std::string mac_of(std::string_view body, std::string_view key) {
  std::string mac(kMacBytes, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(mac.data()), mac.size(),
                     reinterpret_cast<const unsigned char*>(body.data()), body.size(),
                     reinterpret_cast<const unsigned char*>(key.data()), key.size());
  return mac;
}

std::unexpected<Error> refused_ticket(std::string_view why) {
  return fail(Code::kUnauthenticated, "ticket", fmt::format("{}; log in again", why));
}

}  // namespace

std::string seal_ticket(const Ticket& ticket, std::string_view key) {
  std::string body(kMagic);
  put_le<int64_t>(body, ticket.expires);
  put_le<uint32_t>(body, ticket.generation);
  put_le<uint16_t>(body, static_cast<uint16_t>(ticket.account.size()));
  body.append(ticket.account);
  put_le<uint16_t>(body, static_cast<uint16_t>(ticket.peer.size()));
  body.append(ticket.peer);
  return body + mac_of(body, key);
}

Result<Ticket> open_ticket(std::string_view bytes, std::string_view key, int64_t now_seconds) {
  if (bytes.size() > kTicketBytesMax || bytes.size() < kMagic.size() + kMacBytes)
    return refused_ticket("it is no ticket");
  std::string_view body = bytes.substr(0, bytes.size() - kMacBytes);
  std::string mac = mac_of(body, key);
  if (sodium_memcmp(mac.data(), bytes.data() + body.size(), kMacBytes) != 0) {
    return refused_ticket("it was not given by this cluster");
  }
  ByteReader in(body);
  Ticket ticket;
  auto magic = in.take(kMagic.size());
  auto expires = in.le<int64_t>();
  auto generation = in.le<uint32_t>();
  auto account_size = in.le<uint16_t>();
  auto account = account_size ? in.take(*account_size) : std::nullopt;
  auto peer_size = in.le<uint16_t>();
  auto peer = peer_size ? in.take(*peer_size) : std::nullopt;
  if (magic != kMagic || !account || !peer || !in.empty()) return refused_ticket("it is of another version");
  if (*expires <= now_seconds) return refused_ticket("it has expired");
  ticket.expires = *expires;
  ticket.generation = *generation;
  ticket.account = *account;
  ticket.peer = *peer;
  return ticket;
}

}  // namespace canopy
