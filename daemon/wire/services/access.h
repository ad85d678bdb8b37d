// Who may use which account in a call: the check that every method of an account begins with (docs/protocol,
// "Tickets").
#pragma once

#include "daemon/wire/server/call_context.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

enum class Need {
  kMailboxes,  // reads or changes mail: refused while the account is suspended
  kRecord,     // its settings, state, location: an admin may see those of a suspended account
};

// The account that a call names and may use. Ends on the account's loop. A frontend needs the account's
// ticket.
Task<Result<Node::Found>> enter(Node& node, CallContext& call, const v1::AccountRef& ref, Need need);

// The same with the account open.
struct OpenAccount {
  Node::Found found;
  std::shared_ptr<Account> account;
};
Task<Result<OpenAccount>> open_account(Node& node, CallContext& call, const v1::AccountRef& ref);

Result<RequestId> request_id_of(const std::string& bytes);  // empty: none; otherwise exactly 16 bytes

}  // namespace canopy::wire
