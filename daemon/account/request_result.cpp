#include "daemon/account/account_state.h"
#include "daemon/base/bytes.h"

namespace canopy {
namespace {

void put_ranges(std::string& out, const std::vector<UidRange>& ranges) {
  put_varint(out, ranges.size());
  for (const UidRange& range : ranges) {
    put_varint(out, range.first);
    put_varint(out, range.last);
  }
}

bool get_ranges(ByteReader& in, std::vector<UidRange>& ranges) {
  auto count = in.varint();
  if (!count || *count > in.rest().size()) return false;
  for (uint64_t i = 0; i < *count; ++i) {
    auto first = in.varint();
    auto last = in.varint();
    if (!first || !last || *first > UINT32_MAX || *last > UINT32_MAX) return false;
    ranges.push_back({static_cast<uint32_t>(*first), static_cast<uint32_t>(*last)});
  }
  return true;
}

}  // namespace

std::string RequestResult::encode() const {
  std::string out;
  put_varint(out, mailbox_id);
  put_varint(out, uidvalidity);
  put_varint(out, modseq);
  put_ranges(out, uids);
  put_ranges(out, source_uids);
  put_varint(out, modified.size());
  for (uint32_t uid : modified) put_varint(out, uid);
  return out;
}

Result<RequestResult> RequestResult::decode(std::string_view bytes) {
  ByteReader in(bytes);
  RequestResult result;
  auto mailbox_id = in.varint();
  auto uidvalidity = in.varint();
  auto modseq = in.varint();
  if (!modseq || !get_ranges(in, result.uids) || !get_ranges(in, result.source_uids)) {
    return fail(Code::kDamaged, "remembered request", "its result does not decode");
  }
  result.mailbox_id = static_cast<uint32_t>(*mailbox_id);
  result.uidvalidity = static_cast<uint32_t>(*uidvalidity);
  result.modseq = *modseq;
  auto count = in.varint();
  for (uint64_t i = 0; count && i < *count; ++i) {
    auto uid = in.varint();
    if (!uid) return fail(Code::kDamaged, "remembered request", "its result does not decode");
    result.modified.push_back(static_cast<uint32_t>(*uid));
  }
  return result;
}

}  // namespace canopy
