// Listings that come in pages, as one.
#pragma once

#include "daemon/wire/client/stubs.h"

namespace canopy::wire {

// Every mailbox and every subscription of the account. Holds them all: up to 100,000 mailboxes (limits.h).
Task<Result<v1::ListMailboxesResponse>> list_all_mailboxes(MailboxesStub stub, v1::AccountRef account,
                                                           CallOptions options = {});

}  // namespace canopy::wire
