#include "daemon/wire/services/access.h"

namespace canopy::wire {

Task<Result<Node::Found>> enter(Node& node, CallContext& call, const v1::AccountRef& ref, Need need) {
  std::optional<Ticket> ticket;
  AccountAddress address;
  if (!ref.ticket().empty() || call.role() == Role::kFrontend) {
    int64_t now = call.loop().wall_clock_ns() / kSecond;
    CANOPY_CO_ASSIGN(ticket, open_ticket(ref.ticket(), node.ticket_key(), now));
    if (call.role() == Role::kFrontend && ticket->peer != call.peer_name()) {
      co_return fail(Code::kUnauthenticated, "ticket", "it was given to another frontend; log in again");
    }
    CANOPY_CO_ASSIGN(address, parse_address(ticket->account));
    if (!ref.name().empty() && ref.name() != ticket->account) {
      co_return fail(Code::kPermissionDenied, ref.name(), "the ticket is another account's");
    }
  } else {
    CANOPY_CO_ASSIGN(address, parse_address(ref.name()));
  }
  auto found = co_await node.find(std::move(address));
  if (!found) co_return found;
  if (ticket) {
    if (found->settings->session_generation != ticket->generation ||
        found->settings->use == AccountUse::kDisabled) {
      co_return fail(Code::kUnauthenticated, ticket->account, "the session has ended; log in again");
    }
  }
  bool closed = found->settings->use == AccountUse::kSuspended && need == Need::kMailboxes;
  if (closed)
    co_return fail(Code::kSuspended, found->address.to_string(), "the account is suspended; resume it first");
  co_return found;
}

Task<Result<OpenAccount>> open_account(Node& node, CallContext& call, const v1::AccountRef& ref) {
  OpenAccount open;
  auto found = co_await enter(node, call, ref, Need::kMailboxes);
  if (!found) co_return fail(std::move(found).error());
  open.found = std::move(*found);
  auto account = co_await open.found.shard->accounts.open(open.found.address);
  if (!account) co_return fail(std::move(account).error());
  open.account = std::move(*account);
  co_return open;
}

Result<RequestId> request_id_of(const std::string& bytes) {
  RequestId id{};
  if (bytes.empty()) return id;
  if (bytes.size() != id.size()) {
    return fail(Code::kInvalidArgument, "request_id", fmt::format("it has {} bytes or none", id.size()));
  }
  std::memcpy(id.data(), bytes.data(), id.size());
  return id;
}

}  // namespace canopy::wire
