#include "daemon/tree/names.h"

#include <idn2.h>
#include <xxhash.h>

#include "daemon/base/limits.h"
#include "daemon/tree/layout.h"
#include "daemon/tree/precis.h"

namespace canopy {

namespace {

constexpr uint32_t kLabelBytesMax = 63;  // RFC 1035 section 2.3.4
constexpr int kRoundsMax = 4;            // of UsernameCaseMapped; no known name needs more than two

bool is_ascii(std::string_view text) {
  for (char c : text) {
    if (static_cast<uint8_t>(c) >= 0x80) return false;
  }
  return true;
}

void lower_ascii(std::string& text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
}

// The name as it may stand in an error: no control characters, bounded.
std::string quoted(std::string_view raw) {
  std::string out(raw.substr(0, kNameBytesMax));
  for (char& c : out) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

std::unexpected<Error> refuse_name(std::string_view raw, std::string message,
                                   Code code = Code::kInvalidArgument) {
  return fail(code, quoted(raw), std::move(message));
}

// The rules that hold for accounts and domains alike, before and after preparation.
Result<> check_common(std::string_view raw, std::string_view name, std::string_view what) {
  if (name.empty()) return refuse_name(raw, fmt::format("{} name is empty", what));
  if (name.front() == '.') return refuse_name(raw, fmt::format("{} name begins with '.'", what));
  if (name.back() == '.') return refuse_name(raw, fmt::format("{} name ends with '.'", what));
  for (char c : name) {
    if (c == '/') return refuse_name(raw, fmt::format("{} name contains '/'", what));
    if (c == '@') return refuse_name(raw, fmt::format("{} name contains '@'", what));
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) {
      return refuse_name(raw, fmt::format("{} name contains a control character", what));
    }
  }
  return {};
}

Result<> check_length(std::string_view raw, std::string_view name, std::string_view what) {
  if (name.size() <= kNameBytesMax) return {};
  return refuse_name(raw, fmt::format("{} name is longer than {} bytes", what, kNameBytesMax),
                     Code::kNoSpaceForName);
}

Result<> check_label(std::string_view raw, std::string_view label) {
  if (label.empty()) return refuse_name(raw, "domain name has an empty label");
  if (label.size() > kLabelBytesMax) {
    return refuse_name(raw, fmt::format("a label of the domain name is longer than {} bytes", kLabelBytesMax),
                       Code::kNoSpaceForName);
  }
  if (label.front() == '-' || label.back() == '-') {
    return refuse_name(raw, "a label of the domain name begins or ends with '-'");
  }
  for (char c : label) {
    bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    if (!good)
      return refuse_name(raw,
                         "a label of the domain name has a character other than letters, digits and '-'");
  }
  return {};
}

// `name` is lower-case ASCII. Sets `needs_idna` when a label claims to be, or could be taken for, an A-label.
Result<> check_domain(std::string_view raw, std::string_view name, bool& needs_idna) {
  CANOPY_TRY(check_length(raw, name, "domain"));
  needs_idna = false;
  for (size_t at = 0; at <= name.size();) {
    size_t dot = std::min(name.find('.', at), name.size());
    std::string_view label = name.substr(at, dot - at);
    CANOPY_TRY(check_label(raw, label));
    needs_idna = needs_idna || (label.size() >= 4 && label[2] == '-' && label[3] == '-');
    at = dot + 1;
  }
  if (name == kFastElement)
    return refuse_name(raw, "a domain cannot be called fast, the folder of the fast index");
  if (name.ends_with(kFolderSuffix))
    return refuse_name(raw, "a domain name cannot end in .sub, as folders do");
  if (name.ends_with(kAccountSuffix))
    return refuse_name(raw, "a domain name cannot end in .macnt, as accounts do");
  if (name.starts_with(kHeartbeatElement)) {
    return refuse_name(raw, "a domain name cannot begin with heartbeat.data, the controller's register");
  }
  return {};
}

constexpr int kIdnFlags = IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT | IDN2_USE_STD3_ASCII_RULES;

Result<std::string> to_a_labels(std::string_view raw, const std::string& name) {
  uint8_t* ascii = nullptr;
  int code = idn2_lookup_u8(reinterpret_cast<const uint8_t*>(name.c_str()), &ascii, kIdnFlags);
  if (code != IDN2_OK) return refuse_name(raw, fmt::format("no IDNA domain name: {}", idn2_strerror(code)));
  std::string out(reinterpret_cast<char*>(ascii));
  idn2_free(ascii);
  lower_ascii(out);
  return out;
}

Result<std::string> to_u_labels(std::string_view raw, const std::string& name) {
  char* unicode = nullptr;
  int code = idn2_to_unicode_8z8z(name.c_str(), &unicode, 0);
  if (code != IDN2_OK) return refuse_name(raw, fmt::format("no IDNA domain name: {}", idn2_strerror(code)));
  std::string out(unicode);
  idn2_free(unicode);
  return out;
}

// An A-label counts only when it is what its own Unicode form becomes: anything else is a second spelling.
Result<std::string> prepare_idna_domain(std::string_view raw) {
  CANOPY_ASSIGN(std::string ascii, to_a_labels(raw, std::string(raw)));
  bool needs_idna = false;
  CANOPY_TRY(check_common(raw, ascii, "domain"));
  CANOPY_TRY(check_domain(raw, ascii, needs_idna));
  if (!needs_idna) return ascii;
  CANOPY_ASSIGN(std::string unicode, to_u_labels(raw, ascii));
  CANOPY_ASSIGN(std::string again, to_a_labels(raw, unicode));
  if (again != ascii)
    return refuse_name(raw, "an xn-- label of the domain name is not the A-label of its Unicode form");
  return ascii;
}

Result<> check_raw(std::string_view raw, std::string_view what) {
  if (raw.size() <= kRawNameBytesMax) return check_common(raw, raw, what);
  return refuse_name(raw, fmt::format("{} name is longer than {} bytes", what, kNameBytesMax),
                     Code::kNoSpaceForName);
}

}  // namespace

Result<std::string> prepare_domain(std::string_view raw) {
  CANOPY_TRY(check_raw(raw, "domain"));
  if (!is_ascii(raw)) return prepare_idna_domain(raw);
  std::string name(raw);
  lower_ascii(name);
  bool needs_idna = false;
  CANOPY_TRY(check_domain(raw, name, needs_idna));
  if (needs_idna) return prepare_idna_domain(raw);
  return name;
}

Result<std::string> prepare_account(std::string_view raw) {
  CANOPY_TRY(check_raw(raw, "account"));
  std::string name(raw);
  if (is_ascii(raw)) {
    if (raw.find(' ') != std::string_view::npos) return refuse_name(raw, "account name contains a space");
    lower_ascii(name);
  } else {
    bool stable = false;
    for (int round = 0; round < kRoundsMax && !stable; ++round) {
      Result<std::string> next = precis::username_case_mapped_once(name);
      if (!next) return refuse_name(raw, next.error().message());
      stable = *next == name;
      name = *std::move(next);
    }
    if (!stable) return refuse_name(raw, "account name does not settle under RFC 8265 UsernameCaseMapped");
    CANOPY_TRY(check_common(raw, name, "account"));  // a full-width '.' or '/' is one only now
  }
  CANOPY_TRY(check_length(raw, name, "account"));
  return name;
}

Result<AccountAddress> parse_address_or_domain(std::string_view raw) {
  size_t at = raw.rfind('@');
  if (at == std::string_view::npos) return refuse_name(raw, "an address is account@domain");
  AccountAddress address;
  CANOPY_ASSIGN(address.domain, prepare_domain(raw.substr(at + 1)));
  if (at > 0) {
    CANOPY_ASSIGN(address.account, prepare_account(raw.substr(0, at)));
  }
  return address;
}

Result<AccountAddress> parse_address(std::string_view raw) {
  if (raw.starts_with('@')) return refuse_name(raw, "account name is empty");
  return parse_address_or_domain(raw);
}

uint32_t slot_of(std::string_view account, std::string_view domain) {
  constexpr size_t kAddressBytesMax = 2 * kNameBytesMax + 1;
  char key[kAddressBytesMax];
  size_t size = account.size() + 1 + domain.size();
  if (size > sizeof(key)) {  // no prepared name is that long; still an answer
    std::string whole = fmt::format("{}@{}", account, domain);
    return static_cast<uint32_t>(XXH64(whole.data(), whole.size(), 0) % kSlots);
  }
  account.copy(key, account.size());
  key[account.size()] = '@';
  domain.copy(key + account.size() + 1, domain.size());
  return static_cast<uint32_t>(XXH64(key, size, 0) % kSlots);
}

}  // namespace canopy
