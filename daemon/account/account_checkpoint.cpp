// The payload of a checkpoint: the whole AccountState (docs/formats/checkpoint.md, "Payload"). The rows of
// messages and remembered requests lie in its body as they do in memory, so that the log reads them from the
// file to where they stay.
#include "daemon/account/account_state.h"
#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr uint32_t kPayloadVersion = 2;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(Code::kDamaged, "checkpoint",
              fmt::format("its payload ends early or breaks a rule at: {}", what));
}

bool rows_are_valid(const MessageRows& rows, size_t keyword_sets) {
  uint32_t before = 0;
  for (const MessageRow& row : rows) {
    if (row.uid <= before || row.slice == 0 || row.keyword_set >= keyword_sets) return false;
    before = row.uid;
  }
  return true;
}

void put_mailbox(std::string& out, const MailboxState& box) {
  put_le(out, box.id);
  put_le(out, box.uidvalidity);
  put_le(out, box.uidnext);
  put_le(out, box.created_modseq);
  put_le(out, box.highest_modseq);
  put_le(out, box.floor);
  put_sized(out, box.name);
  put_varint(out, box.rights.size());
  for (const auto& [identifier, rights] : box.rights) {
    put_sized(out, identifier);
    put_sized(out, rights);
  }
  put_le<uint64_t>(out, box.expunged.size());
  for (const ExpungedRange& range : box.expunged) {
    out.append(reinterpret_cast<const char*>(&range), sizeof range);
  }
  put_le<uint64_t>(out, box.rows.size());
}

bool get_expunged(ByteReader& in, std::deque<ExpungedRange>& expunged) {
  auto count = in.le<uint64_t>();
  if (!count || *count > in.rest().size() / sizeof(ExpungedRange)) return false;
  for (uint64_t i = 0; i < *count; ++i) {
    ExpungedRange& range = expunged.emplace_back();
    std::memcpy(static_cast<void*>(&range), in.take(sizeof range)->data(), sizeof range);
  }
  return true;
}

// All but its rows. `rows`: how many there are.
bool get_mailbox(ByteReader& in, MailboxState& box, uint64_t& rows) {
  auto id = in.le<uint32_t>();
  auto uidvalidity = in.le<uint32_t>();
  auto uidnext = in.le<uint32_t>();
  auto created = in.le<uint64_t>();
  auto highest = in.le<uint64_t>();
  auto floor = in.le<uint64_t>();
  auto name = in.sized();
  auto rights = in.varint();
  if (!rights || !name || !floor || *id == 0) return false;
  box.id = *id;
  box.uidvalidity = *uidvalidity;
  box.uidnext = box.planned_uidnext = *uidnext;
  box.created_modseq = *created;
  box.highest_modseq = *highest;
  box.floor = *floor;
  box.name = *name;
  for (uint64_t i = 0; i < *rights; ++i) {
    auto identifier = in.sized();
    auto letters = in.sized();
    if (!identifier || !letters) return false;
    box.rights[std::string(*identifier)] = *letters;
  }
  if (!get_expunged(in, box.expunged)) return false;
  auto count = in.le<uint64_t>();
  rows = count.value_or(0);
  return count.has_value();
}

bool count_rows(MailboxState& box, size_t keyword_sets) {
  if (!rows_are_valid(box.rows, keyword_sets)) return false;
  if (!box.rows.empty() && box.rows.back().uid >= box.uidnext) return false;
  for (const MessageRow& row : box.rows) {
    box.bytes += row.size;
    box.unseen += (row.flags & kFlagSeen) == 0;
  }
  return true;
}

}  // namespace

CheckpointPayload AccountState::save_checkpoint() const {
  CheckpointPayload payload;
  std::string& out = payload.head;
  put_le(out, kPayloadVersion);
  put_le(out, next_mailbox_id_);
  put_le(out, last_uidvalidity_);
  put_le(out, highest_modseq_);
  put_varint(out, keywords_.size());
  for (const std::string& keyword : keywords_) put_sized(out, keyword);
  put_varint(out, sets_.size());
  for (uint32_t set = 0; set < sets_.size(); ++set) {
    put_varint(out, sets_.get(set).size());
    for (uint16_t id : sets_.get(set)) put_le(out, id);
  }
  put_varint(out, subscriptions_.size());
  for (const std::string& name : subscriptions_) put_sized(out, name);
  put_le<uint32_t>(out, static_cast<uint32_t>(requests_.size()));
  put_le<uint32_t>(out, static_cast<uint32_t>(requests_.result_bytes()));
  put_varint(out, mailboxes_.size());
  for (const auto& [id, box] : mailboxes_) put_mailbox(out, box);

  payload.body.reserve(messages_ * sizeof(MessageRow) + requests_.size() * sizeof(RememberedRequests::Row) +
                       requests_.result_bytes());
  requests_.save(payload.body);
  for (const auto& [id, box] : mailboxes_) {
    payload.body.append(reinterpret_cast<const char*>(box.rows.data()), box.rows.size() * sizeof(MessageRow));
  }
  return payload;
}

Result<void> AccountState::load_checkpoint_names(ByteReader& in) {
  if (in.le<uint32_t>() != kPayloadVersion) return malformed("version");
  auto next_id = in.le<uint32_t>();
  auto uidvalidity = in.le<uint32_t>();
  auto modseq = in.le<uint64_t>();
  auto keywords = in.varint();
  if (!keywords || *keywords > kKeywordsPerAccountMax) return malformed("keywords");
  next_mailbox_id_ = gone_below_ = *next_id;
  last_uidvalidity_ = *uidvalidity;
  highest_modseq_ = planned_modseq_ = *modseq;
  for (uint64_t i = 0; i < *keywords; ++i) {
    auto name = in.sized();
    if (!name) return malformed("keyword");
    keywords_.emplace_back(*name);
  }
  auto sets = in.varint();
  for (uint64_t i = 0; sets && i < *sets; ++i) {
    auto count = in.varint();
    if (!count || *count > in.rest().size() / 2) return malformed("keyword set");
    std::vector<uint16_t> ids(*count);
    for (uint16_t& id : ids) id = *in.le<uint16_t>();
    if (sets_.intern(std::move(ids)) != i) return malformed("keyword set order");
  }
  auto subscriptions = in.varint();
  for (uint64_t i = 0; subscriptions && i < *subscriptions; ++i) {
    auto name = in.sized();
    if (!name) return malformed("subscription");
    subscriptions_.emplace(*name);
  }
  return {};
}

// Nothing is made room for before it is known that the body has room for no more and no less.
Result<std::vector<std::span<char>>> AccountState::begin_checkpoint(std::string_view head,
                                                                    uint64_t body_bytes) {
  reset();
  ByteReader in(head);
  CANOPY_TRY(load_checkpoint_names(in));
  auto requests = in.le<uint32_t>();
  auto result_bytes = in.le<uint32_t>();
  auto boxes = in.varint();
  if (!result_bytes || *requests > kRememberedRequestsMax || *result_bytes > kRememberedResultBytesMax)
    return malformed("remembered requests");
  if (!boxes || *boxes > kMailboxesPerAccountMax) return malformed("mailboxes");
  uint64_t expected = uint64_t{*requests} * sizeof(RememberedRequests::Row) + *result_bytes;
  std::vector<std::pair<MailboxState*, uint64_t>> rows;
  for (uint64_t i = 0; i < *boxes; ++i) {
    MailboxState box;
    uint64_t count = 0;
    if (!get_mailbox(in, box, count)) return malformed("mailbox");
    if (count > body_bytes / sizeof(MessageRow)) return malformed("number of messages");
    by_name_[box.name] = box.id;
    uint32_t id = box.id;
    auto [at, is_new] = mailboxes_.emplace(id, std::move(box));
    if (!is_new) return malformed("mailbox id");
    rows.emplace_back(&at->second, count);
    expected += count * sizeof(MessageRow);
  }
  if (!in.empty()) return malformed("the end");
  if (expected != body_bytes) return malformed("length of the body");

  const auto [request_rows, results] = requests_.make_room(*requests, *result_bytes);
  std::vector<std::span<char>> body{request_rows, results};
  for (auto& [box, count] : rows) {
    box->rows.resize(count);
    body.emplace_back(reinterpret_cast<char*>(box->rows.data()), count * sizeof(MessageRow));
  }
  return body;
}

Result<void> AccountState::finish_checkpoint() {
  if (!requests_.filled_rightly()) return malformed("remembered request");
  for (auto& [id, box] : mailboxes_) {
    if (!count_rows(box, sets_.size())) return malformed("message");
    messages_ += box.rows.size();
    bytes_ += box.bytes;
  }
  return {};
}

}  // namespace canopy
