// The payload of a checkpoint: the whole AccountState (docs/formats/account-log.md, "Checkpoint payload").
// Rows are copied as they lie in memory, so that 100,000 of them load in about a millisecond; the log has
// verified the bytes before.
#include "daemon/account/account_state.h"
#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr uint32_t kPayloadVersion = 1;

template <class Rows>
void put_rows(std::string& out, const Rows& rows) {
  put_le<uint64_t>(out, rows.size());
  if constexpr (requires { rows.data(); }) {
    out.append(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(*rows.data()));
  } else {
    for (const auto& row : rows) out.append(reinterpret_cast<const char*>(&row), sizeof row);
  }
}

template <class Row>
bool get_rows(ByteReader& in, std::vector<Row>& rows) {
  auto count = in.le<uint64_t>();
  if (!count || *count > in.rest().size() / sizeof(Row)) return false;
  std::string_view bytes = *in.take(*count * sizeof(Row));
  rows.resize(*count);
  if (!rows.empty()) std::memcpy(static_cast<void*>(rows.data()), bytes.data(), bytes.size());
  return true;
}

std::unexpected<Error> malformed(std::string_view what) {
  return fail(Code::kDamaged, "checkpoint",
              fmt::format("its payload ends early or breaks a rule at: {}", what));
}

bool rows_are_valid(const std::vector<MessageRow>& rows, size_t keyword_sets) {
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
  put_rows(out, box.expunged);
  put_rows(out, box.rows);
}

bool get_mailbox(ByteReader& in, MailboxState& box, size_t keyword_sets) {
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
  std::vector<ExpungedRange> expunged;
  if (!get_rows(in, expunged) || !get_rows(in, box.rows)) return false;
  box.expunged.assign(expunged.begin(), expunged.end());
  if (!rows_are_valid(box.rows, keyword_sets)) return false;
  if (!box.rows.empty() && box.rows.back().uid != UINT32_MAX && box.rows.back().uid >= box.uidnext)
    return false;
  for (const MessageRow& row : box.rows) {
    box.bytes += row.size;
    box.unseen += (row.flags & kFlagSeen) == 0;
  }
  return true;
}

}  // namespace

std::string AccountState::save_checkpoint() const {
  std::string out;
  size_t rows = 0;
  for (const auto& [id, box] : mailboxes_) rows += box.rows.size();
  out.reserve(rows * sizeof(MessageRow) + 65536);
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
  put_varint(out, requests_.size());
  for (const RememberedRequest& request : requests_) {
    out.append(reinterpret_cast<const char*>(request.id.data()), request.id.size());
    put_le(out, request.time_ns);
    put_sized(out, request.result);
  }
  put_varint(out, mailboxes_.size());
  for (const auto& [id, box] : mailboxes_) put_mailbox(out, box);
  return out;
}

Result<void> AccountState::load_checkpoint(std::string_view payload) {
  reset();
  ByteReader in(payload);
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
  auto requests = in.varint();
  if (requests && *requests > kRememberedRequestsMax) return malformed("remembered requests");
  if (requests) requests_.expect(*requests, 0);
  for (uint64_t i = 0; requests && i < *requests; ++i) {
    auto id_bytes = in.take(kRequestIdBytes);
    auto time_ns = in.le<int64_t>();
    auto result = in.sized();
    if (!id_bytes || !time_ns || !result) return malformed("remembered request");
    RequestId id;
    std::memcpy(id.data(), id_bytes->data(), id.size());
    requests_.add_new(id, *time_ns, *result);
  }
  auto boxes = in.varint();
  if (!boxes || *boxes > kMailboxesPerAccountMax) return malformed("mailboxes");
  for (uint64_t i = 0; i < *boxes; ++i) {
    MailboxState box;
    if (!get_mailbox(in, box, sets_.size())) return malformed("mailbox");
    messages_ += box.rows.size();
    bytes_ += box.bytes;
    by_name_[box.name] = box.id;
    uint32_t id = box.id;
    if (!mailboxes_.emplace(id, std::move(box)).second) return malformed("mailbox id");
  }
  return in.empty() ? Result<void>() : malformed("the end");
}

}  // namespace canopy
