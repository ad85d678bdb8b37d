// The Mailboxes service's Summaries method.
#include "daemon/catalog/summaries.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/services/access.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/mailboxes_service.h"

namespace canopy::wire {
namespace {

void put_addresses(std::vector<MailAddress>& in, google::protobuf::RepeatedPtrField<v1::Address>* out) {
  for (MailAddress& address : in) {
    v1::Address* added = out->Add();
    added->set_name(std::move(address.name));
    added->set_mailbox(std::move(address.mailbox));
    added->set_host(std::move(address.host));
  }
}

void put_summary(MessageSummary& in, v1::Summary& out) {
  out.set_date(std::move(in.date));
  out.set_subject(std::move(in.subject));
  put_addresses(in.from, out.mutable_from());
  put_addresses(in.sender, out.mutable_sender());
  put_addresses(in.reply_to, out.mutable_reply_to());
  put_addresses(in.to, out.mutable_to());
  put_addresses(in.cc, out.mutable_cc());
  put_addresses(in.bcc, out.mutable_bcc());
  out.set_in_reply_to(std::move(in.in_reply_to));
  out.set_message_id(std::move(in.message_id));
  out.set_structure(std::move(in.structure));
}

}  // namespace

Task<Result<v1::SummariesResponse>> MailboxesService::summaries(CallContext& call,
                                                                const v1::SummariesRequest& request) {
  if (request.uids_size() > static_cast<int>(kPageEntriesMax)) {
    co_return fail(Code::kTooLarge, "uids", fmt::format("at most {} at once", kPageEntriesMax));
  }
  auto open = co_await open_account(node_, call, request.account());
  if (!open) co_return fail(std::move(open).error());
  CANOPY_CO_ASSIGN(const MailboxState* box,
                   find_mailbox(*open->account, request.mailbox_id(), request.mailbox()));
  std::vector<uint32_t> uids(request.uids().begin(), request.uids().end());
  size_t asked = 0;
  auto summaries = co_await summarize(node_.catalog(), open->found.shard->loop, open->account, box->id,
                                      std::move(uids), kWireChunkBytesMax, asked);
  v1::SummariesResponse out;
  out.set_asked(static_cast<uint32_t>(asked));
  for (UidSummary& each : summaries) {
    v1::Summary* added = out.add_summaries();
    added->set_uid(each.uid);
    if (each.summary) {
      put_summary(*each.summary, *added);
    } else {
      fill_error(each.summary.error(), *added->mutable_error());
    }
  }
  co_return out;
}

}  // namespace canopy::wire
