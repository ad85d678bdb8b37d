#include "daemon/catalog/message_summary.h"

#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr uint8_t kVersion = 1;

void put_addresses(std::string& out, const std::vector<MailAddress>& addresses) {
  put_varint(out, addresses.size());
  for (const MailAddress& address : addresses) {
    put_sized(out, address.name);
    put_sized(out, address.mailbox);
    put_sized(out, address.host);
  }
}

bool get_text(ByteReader& in, std::string& text) {
  auto bytes = in.sized();
  if (!bytes) return false;
  text = *bytes;
  return true;
}

bool get_addresses(ByteReader& in, std::vector<MailAddress>& addresses) {
  auto count = in.varint();
  if (!count || *count > kMimeAddressesMax + 2) return false;
  addresses.resize(*count);
  for (MailAddress& address : addresses) {
    if (!get_text(in, address.name) || !get_text(in, address.mailbox) || !get_text(in, address.host))
      return false;
  }
  return true;
}

}  // namespace

std::string MessageSummary::encode() const {
  std::string out(1, static_cast<char>(kVersion));
  put_sized(out, date);
  put_sized(out, subject);
  for (const auto* addresses : {&from, &sender, &reply_to, &to, &cc, &bcc}) put_addresses(out, *addresses);
  put_sized(out, in_reply_to);
  put_sized(out, message_id);
  put_sized(out, structure);
  return out;
}

Result<MessageSummary> MessageSummary::decode(std::string_view bytes) {
  MessageSummary out;
  ByteReader in(bytes);
  auto version = in.le<uint8_t>();
  bool whole = version == kVersion && get_text(in, out.date) && get_text(in, out.subject);
  for (auto* addresses : {&out.from, &out.sender, &out.reply_to, &out.to, &out.cc, &out.bcc}) {
    whole = whole && get_addresses(in, *addresses);
  }
  whole =
      whole && get_text(in, out.in_reply_to) && get_text(in, out.message_id) && get_text(in, out.structure);
  if (!whole || !in.empty()) return fail(Code::kDamaged, "summary", "the row is no summary");
  return out;
}

MessageSummary Summarizer::finish() {
  std::unique_ptr<MimePart> root = scanner_.finish();
  MessageSummary out;
  out.date = clean_text(root->field("date"));
  out.subject = decode_text(root->field("subject"));
  out.from = decode_addresses(root->field("from"));
  out.sender = decode_addresses(root->field("sender"));
  out.reply_to = decode_addresses(root->field("reply-to"));
  out.to = decode_addresses(root->field("to"));
  out.cc = decode_addresses(root->field("cc"));
  out.bcc = decode_addresses(root->field("bcc"));
  if (out.sender.empty()) out.sender = out.from;
  if (out.reply_to.empty()) out.reply_to = out.from;
  out.in_reply_to = clean_text(root->field("in-reply-to"));
  out.message_id = clean_text(root->field("message-id"));
  out.structure = print_body_structure(*root);
  return out;
}

}  // namespace canopy
