// An input is the u16 length of a payload's head, the head, the body.
//
// Any payload of a checkpoint is refused, or gives a state that is whole: it is written and read back the
// same, and the records that may follow apply to it.
#include "daemon/account/account_state.h"
#include "daemon/base/check.h"
#include "tests/account/checkpoint_payload.h"

namespace canopy {
namespace {

CheckpointPayload payload_of(std::string_view input) {
  ByteReader in(input);
  const uint64_t length = in.le<uint16_t>().value_or(0);
  CheckpointPayload payload;
  payload.head = *in.take(std::min<uint64_t>(length, in.rest().size()));
  payload.body = in.rest();
  return payload;
}

void check_counters(const AccountState& state) {
  uint64_t messages = 0, bytes = 0;
  for (const auto& [id, box] : state.mailboxes()) {
    uint64_t box_bytes = 0;
    uint32_t unseen = 0;
    for (const MessageRow& row : box.rows) {
      box_bytes += row.size;
      unseen += (row.flags & kFlagSeen) == 0;
      CANOPY_CHECK(row.keyword_set < state.keyword_sets().size());
    }
    CANOPY_CHECK(box_bytes == box.bytes && unseen == box.unseen);
    CANOPY_CHECK(state.mailbox(box.name) != nullptr);
    messages += box.rows.size();
    bytes += box_bytes;
  }
  CANOPY_CHECK(messages == state.messages() && bytes == state.bytes());
}

// To every mailbox: a message over the first one and a new one, flags, an expunge; then the mailbox goes.
void go_on(AccountState& state) {
  std::vector<uint32_t> ids;
  for (const auto& [id, box] : state.mailboxes()) ids.push_back(id);
  for (uint32_t id : ids) {
    const MailboxState& box = *state.mailbox(id);
    const uint32_t first = box.rows.empty() ? 1 : box.rows.front().uid;
    for (uint32_t uid : {first, box.uidnext}) {
      if (uid == 0) continue;
      Message message;
      message.mailbox_id = id;
      message.uid = uid;
      message.modseq = state.highest_modseq();
      message.size = 10;
      state.apply(message, Place{1, 64}, 80);
    }
    state.apply(FlagsChange{id, 7, {{kFlagSeen, {1, 2}, {{1, UINT32_MAX}}}}});
    check_counters(state);
    state.apply(Expunge{id, 8, {{first, first}, {1, UINT32_MAX / 2}}});
    check_counters(state);
    state.apply(MailboxDelete{id, 9});
  }
  check_counters(state);
  CANOPY_CHECK(state.messages() == 0 && state.mailboxes().empty());
}

}  // namespace
}  // namespace canopy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy;
  AccountState state;
  auto loaded =
      load_checkpoint(state, payload_of(std::string_view(reinterpret_cast<const char*>(data), size)));
  if (!loaded) {
    CANOPY_CHECK(!loaded.error().message().empty());
    return 0;
  }
  check_counters(state);
  const CheckpointPayload saved = state.save_checkpoint();
  AccountState again;
  CANOPY_CHECK(load_checkpoint(again, saved));
  CANOPY_CHECK(again.save_checkpoint() == saved);
  go_on(state);
  return 0;
}
