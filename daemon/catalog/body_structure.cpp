// Printing a message's structure as IMAP does (RFC 9051 sections 7.5.2 and 9, "body", "envelope").
#include "daemon/catalog/message_summary.h"

namespace canopy {
namespace {

void print_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

void print_or_nil(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "NIL";
  } else {
    print_string(out, text);
  }
}

void print_parameters(std::string& out, const MimeParameters& parameters) {
  if (parameters.empty()) {
    out += "NIL";
    return;
  }
  char before = '(';
  for (const auto& [name, value] : parameters) {
    out.push_back(before);
    print_string(out, name);
    out.push_back(' ');
    print_string(out, value);
    before = ' ';
  }
  out.push_back(')');
}

void print_addresses(std::string& out, const std::vector<MailAddress>& addresses) {
  if (addresses.empty()) {
    out += "NIL";
    return;
  }
  out.push_back('(');
  for (const MailAddress& address : addresses) {
    out.push_back('(');
    print_or_nil(out, address.name);
    out += " NIL ";
    print_or_nil(out, address.mailbox);
    out.push_back(' ');
    print_or_nil(out, address.host);
    out.push_back(')');
  }
  out.push_back(')');
}

void print_envelope(std::string& out, const MimePart& message) {
  std::vector<MailAddress> from = decode_addresses(message.field("from"));
  out.push_back('(');
  print_or_nil(out, clean_text(message.field("date")));
  out.push_back(' ');
  print_or_nil(out, decode_text(message.field("subject")));
  out.push_back(' ');
  print_addresses(out, from);
  for (std::string_view name : {"sender", "reply-to"}) {
    std::vector<MailAddress> own = decode_addresses(message.field(name));
    out.push_back(' ');
    print_addresses(out, own.empty() ? from : own);
  }
  for (std::string_view name : {"to", "cc", "bcc"}) {
    out.push_back(' ');
    print_addresses(out, decode_addresses(message.field(name)));
  }
  for (std::string_view name : {"in-reply-to", "message-id"}) {
    out.push_back(' ');
    print_or_nil(out, clean_text(message.field(name)));
  }
  out.push_back(')');
}

// body-ext: disposition, language, location.
void print_extension(std::string& out, const MimePart& part) {
  MimeValue disposition = decode_disposition(part.field("content-disposition"));
  out.push_back(' ');
  if (disposition.value.empty()) {
    out += "NIL";
  } else {
    out.push_back('(');
    print_string(out, disposition.value);
    out.push_back(' ');
    print_parameters(out, disposition.parameters);
    out.push_back(')');
  }
  std::string languages = clean_text(part.field("content-language"));
  out.push_back(' ');
  if (languages.empty()) {
    out += "NIL";
  } else {
    char before = '(';
    for (size_t at = 0; at <= languages.size();) {
      size_t comma = std::min(languages.find(',', at), languages.size());
      out.push_back(before);
      print_string(out, clean_text(std::string_view(languages).substr(at, comma - at)));
      before = ' ';
      at = comma + 1;
    }
    out.push_back(')');
  }
  out.push_back(' ');
  print_or_nil(out, clean_text(part.field("content-location")));
}

void print_type(std::string& out, std::string_view type) {
  size_t slash = type.find('/');
  print_string(out, type.substr(0, slash));
  out.push_back(' ');
  print_string(out, type.substr(slash + 1));
}

void print_part(std::string& out, const MimePart& part) {
  if (part.multipart) {
    out.push_back('(');
    for (const auto& child : part.children) print_part(out, *child);
    // The grammar wants a part; a multipart without any has one that is empty.
    if (part.children.empty())
      out += R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL))";
    out.push_back(' ');
    print_string(out, std::string_view(part.type.value).substr(part.type.value.find('/') + 1));
    out.push_back(' ');
    print_parameters(out, part.type.parameters);
    print_extension(out, part);
    out.push_back(')');
    return;
  }
  out.push_back('(');
  print_type(out, part.type.value);
  out.push_back(' ');
  print_parameters(out, part.type.parameters);
  out.push_back(' ');
  print_or_nil(out, clean_text(part.field("content-id")));
  out.push_back(' ');
  print_or_nil(out, decode_text(part.field("content-description")));
  out.push_back(' ');
  std::string encoding = clean_text(part.field("content-transfer-encoding"));
  print_string(out, encoding.empty() ? "7bit" : encoding);
  out += fmt::format(" {}", part.octets);
  if (part.message) {
    const MimePart& inner = *part.children.front();
    out.push_back(' ');
    print_envelope(out, inner);
    out.push_back(' ');
    print_part(out, inner);
  }
  if (part.message || part.type.value.starts_with("text/")) out += fmt::format(" {}", part.lines);
  out.push_back(' ');
  print_or_nil(out, clean_text(part.field("content-md5")));
  print_extension(out, part);
  out.push_back(')');
}

}  // namespace

std::string print_body_structure(const MimePart& part) {
  std::string out;
  print_part(out, part);
  return out;
}

}  // namespace canopy
