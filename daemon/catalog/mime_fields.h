// Fields of a mail header, taken apart by GMime: decoded to UTF-8 without control characters (RFC 2047, RFC
// 2231, RFC 5322). Never fails: what cannot be understood comes out as text, or as nothing. Pure; any thread;
// bounded by its input.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace canopy {

inline constexpr size_t kMimeAddressesMax = 2000;  // of one field

// Both empty: the end of a group. An empty host: a group of that name begins (RFC 9051, "ENVELOPE").
struct MailAddress {
  std::string name, mailbox, host;
  bool operator==(const MailAddress&) const = default;
};

using MimeParameters =
    std::vector<std::pair<std::string, std::string>>;  // names in lower case, in their order

struct MimeValue {  // Content-Type: "text/plain", Content-Disposition: "attachment"; in lower case
  std::string value;
  MimeParameters parameters;
};

std::string decode_text(std::string_view raw);
std::vector<MailAddress> decode_addresses(std::string_view raw);
MimeValue decode_content_type(std::string_view raw);  // value empty: no content type
MimeValue decode_disposition(std::string_view raw);
// As it stands, made valid UTF-8 and without control characters or outer blanks.
std::string clean_text(std::string_view raw);

}  // namespace canopy
