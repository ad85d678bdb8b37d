#include "daemon/wire/client/listing.h"

namespace canopy::wire {

Task<Result<v1::ListMailboxesResponse>> list_all_mailboxes(MailboxesStub stub, v1::AccountRef account,
                                                           CallOptions options) {
  v1::ListMailboxesRequest request;
  request.set_name(account.name());
  request.set_ticket(account.ticket());
  v1::ListMailboxesResponse all;
  do {
    CANOPY_CO_ASSIGN(v1::ListMailboxesResponse page, co_await stub.list(request, options));
    request.set_cursor(page.next());
    all.MergeFrom(page);
  } while (!request.cursor().empty());
  all.clear_next();
  co_return all;
}

}  // namespace canopy::wire
