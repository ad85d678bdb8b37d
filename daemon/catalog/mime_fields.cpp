#include "daemon/catalog/mime_fields.h"

#include <gmime/gmime.h>

#include <memory>
#include <mutex>

namespace canopy {
namespace {

void start_gmime() {
  static std::once_flag once;
  std::call_once(once, [] { g_mime_init(); });
}

struct Free {
  void operator()(char* text) const { g_free(text); }
  void operator()(InternetAddressList* list) const { g_object_unref(list); }
  void operator()(GMimeContentType* type) const { g_object_unref(type); }
  void operator()(GMimeContentDisposition* disposition) const { g_object_unref(disposition); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::string text_of(const char* text) { return text == nullptr ? std::string() : clean_text(text); }

// GMime takes strings that end with NUL: what a header says behind one is not seen.
std::string without_nul(std::string_view raw) {
  std::string out(raw);
  std::ranges::replace(out, '\0', ' ');
  return out;
}

std::string lowered_text(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

MimeParameters parameters_of(GMimeParamList* list) {
  MimeParameters out;
  int count = list == nullptr ? 0 : g_mime_param_list_length(list);
  for (int i = 0; i < count; ++i) {
    GMimeParam* parameter = g_mime_param_list_get_parameter_at(list, i);
    std::string name = lowered_text(text_of(g_mime_param_get_name(parameter)));
    if (!name.empty()) out.emplace_back(std::move(name), text_of(g_mime_param_get_value(parameter)));
  }
  return out;
}

void add_addresses(InternetAddressList* list, std::vector<MailAddress>& out, int depth) {
  int count = list == nullptr ? 0 : internet_address_list_length(list);
  for (int i = 0; i < count && out.size() < kMimeAddressesMax; ++i) {
    InternetAddress* address = internet_address_list_get_address(list, i);
    std::string name = text_of(internet_address_get_name(address));
    if (INTERNET_ADDRESS_IS_GROUP(address)) {
      if (depth > 0) continue;  // groups do not nest (RFC 5322)
      out.push_back({"", name.empty() ? "group" : std::move(name), ""});
      add_addresses(internet_address_group_get_members(INTERNET_ADDRESS_GROUP(address)), out, depth + 1);
      out.push_back({});
      continue;
    }
    if (!INTERNET_ADDRESS_IS_MAILBOX(address)) continue;
    std::string where = text_of(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(address)));
    size_t at = where.rfind('@');
    MailAddress mailbox;
    mailbox.name = std::move(name);
    mailbox.mailbox = where.substr(0, at);
    // An address without a domain is not to look like a group.
    mailbox.host = at == std::string::npos || at + 1 == where.size() ? "localhost" : where.substr(at + 1);
    if (mailbox.mailbox.empty() && mailbox.name.empty()) continue;
    if (mailbox.mailbox.empty()) mailbox.mailbox = "unknown";
    out.push_back(std::move(mailbox));
  }
}

}  // namespace

std::string clean_text(std::string_view raw) {
  if (raw.empty()) return {};  // GLib takes no null
  Owned<char> valid(g_utf8_make_valid(raw.data(), static_cast<gssize>(raw.size())));
  std::string out;
  bool blank = false;
  for (const char* at = valid.get(); *at != '\0'; ++at) {
    unsigned char c = static_cast<unsigned char>(*at);
    if (c == '\r' || c == '\n') continue;  // of a folded field
    if (c <= ' ' || c == 0x7f) {
      blank = !out.empty();
      continue;
    }
    if (blank) out.push_back(' ');
    blank = false;
    out.push_back(static_cast<char>(c));
  }
  return out;
}

std::string decode_text(std::string_view raw) {
  start_gmime();
  Owned<char> decoded(g_mime_utils_header_decode_text(nullptr, without_nul(raw).c_str()));
  return text_of(decoded.get());
}

std::vector<MailAddress> decode_addresses(std::string_view raw) {
  start_gmime();
  std::vector<MailAddress> out;
  Owned<InternetAddressList> list(internet_address_list_parse(nullptr, without_nul(raw).c_str()));
  add_addresses(list.get(), out, 0);
  return out;
}

MimeValue decode_content_type(std::string_view raw) {
  start_gmime();
  MimeValue out;
  std::string text = without_nul(raw);
  if (text.find('/') == std::string::npos) return out;
  Owned<GMimeContentType> type(g_mime_content_type_parse(nullptr, text.c_str()));
  if (!type) return out;
  std::string top = text_of(g_mime_content_type_get_media_type(type.get()));
  std::string sub = text_of(g_mime_content_type_get_media_subtype(type.get()));
  if (top.empty() || sub.empty()) return out;
  out.value = lowered_text(top + "/" + sub);
  out.parameters = parameters_of(g_mime_content_type_get_parameters(type.get()));
  return out;
}

MimeValue decode_disposition(std::string_view raw) {
  start_gmime();
  MimeValue out;
  std::string text = without_nul(raw);
  if (clean_text(text).empty()) return out;
  Owned<GMimeContentDisposition> disposition(g_mime_content_disposition_parse(nullptr, text.c_str()));
  if (!disposition) return out;
  out.value = lowered_text(text_of(g_mime_content_disposition_get_disposition(disposition.get())));
  out.parameters = parameters_of(g_mime_content_disposition_get_parameters(disposition.get()));
  return out;
}

}  // namespace canopy
