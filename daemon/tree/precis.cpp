#include "daemon/tree/precis.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/uversion.h>

namespace canopy::precis {

namespace {

constexpr UChar32 kZeroWidthNonJoiner = 0x200c;
constexpr uint8_t kVirama = 9;  // the canonical combining class

std::unexpected<Error> refuse_text(std::string message) {
  return fail(Code::kInvalidArgument, "account name", std::move(message));
}

// RFC 8264 section 9.6, Exceptions.
bool is_exception(UChar32 c, Category& category) {
  switch (c) {
    case 0x00df:
    case 0x03c2:
    case 0x06fd:
    case 0x06fe:
    case 0x0f0b:
    case 0x3007: category = Category::kValid; return true;
    case 0x00b7:
    case 0x0375:
    case 0x05f3:
    case 0x05f4:
    case 0x30fb: category = Category::kContextO; return true;
    case 0x0640:
    case 0x07fa:
    case 0x302e:
    case 0x302f:
    case 0x3031:
    case 0x3032:
    case 0x3033:
    case 0x3034:
    case 0x3035:
    case 0x303b: category = Category::kDisallowed; return true;
    default:
      category = Category::kContextO;
      return (c >= 0x0660 && c <= 0x0669) || (c >= 0x06f0 && c <= 0x06f9);
  }
}

bool has_compatibility_form(UChar32 c) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfkc = icu::Normalizer2::getNFKCInstance(status);
  icu::UnicodeString one(c);
  return U_SUCCESS(status) && nfkc->normalize(one, status) != one;
}

UScriptCode script_of(UChar32 c) {
  UErrorCode status = U_ZERO_ERROR;
  UScriptCode script = uscript_getScript(c, &status);
  return U_SUCCESS(status) ? script : USCRIPT_UNKNOWN;
}

int32_t joining_type(UChar32 c) { return u_getIntPropertyValue(c, UCHAR_JOINING_TYPE); }

// RFC 5892 appendices A.1 and A.2.
bool joiner_allowed(const std::u32string& name, size_t at) {
  if (at == 0) return false;
  if (u_getCombiningClass(static_cast<UChar32>(name[at - 1])) == kVirama) return true;
  if (name[at] != kZeroWidthNonJoiner) return false;
  size_t before = at;
  while (before > 0 && joining_type(static_cast<UChar32>(name[before - 1])) == U_JT_TRANSPARENT) --before;
  size_t after = at + 1;
  while (after < name.size() && joining_type(static_cast<UChar32>(name[after])) == U_JT_TRANSPARENT) ++after;
  if (before == 0 || after == name.size()) return false;
  int32_t left = joining_type(static_cast<UChar32>(name[before - 1]));
  int32_t right = joining_type(static_cast<UChar32>(name[after]));
  return (left == U_JT_LEFT_JOINING || left == U_JT_DUAL_JOINING) &&
         (right == U_JT_RIGHT_JOINING || right == U_JT_DUAL_JOINING);
}

bool any_between(const std::u32string& name, char32_t first, char32_t last) {
  for (char32_t c : name) {
    if (c >= first && c <= last) return true;
  }
  return false;
}

// RFC 5892 appendices A.3 to A.9.
bool context_allowed(const std::u32string& name, size_t at) {
  char32_t c = name[at];
  auto script = [&](size_t i) { return script_of(static_cast<UChar32>(name[i])); };
  switch (c) {
    case 0x00b7: return at > 0 && at + 1 < name.size() && name[at - 1] == 'l' && name[at + 1] == 'l';
    case 0x0375: return at + 1 < name.size() && script(at + 1) == USCRIPT_GREEK;
    case 0x05f3:
    case 0x05f4: return at > 0 && script(at - 1) == USCRIPT_HEBREW;
    case 0x30fb:
      for (size_t i = 0; i < name.size(); ++i) {
        UScriptCode s = script(i);
        if (s == USCRIPT_HIRAGANA || s == USCRIPT_KATAKANA || s == USCRIPT_HAN) return true;
      }
      return false;
    default: break;
  }
  if (c >= 0x0660 && c <= 0x0669) return !any_between(name, 0x06f0, 0x06f9);
  return !any_between(name, 0x0660, 0x0669);
}

Result<> check_identifier_class(const std::u32string& name) {
  for (size_t at = 0; at < name.size(); ++at) {
    uint32_t c = name[at];
    switch (category_of(static_cast<int32_t>(c))) {
      case Category::kValid: break;
      case Category::kContextJ:
        if (!joiner_allowed(name, at))
          return refuse_text(fmt::format("U+{:04X} stands where RFC 5892 forbids a joiner", c));
        break;
      case Category::kContextO:
        if (!context_allowed(name, at))
          return refuse_text(fmt::format("U+{:04X} stands where RFC 5892 forbids it", c));
        break;
      case Category::kUnassigned:
        return refuse_text(fmt::format("U+{:04X} is not assigned in Unicode 15.0", c));
      case Category::kFreeformOnly:
      case Category::kDisallowed:
        return refuse_text(fmt::format("U+{:04X} is not allowed by the IdentifierClass of RFC 8264", c));
    }
  }
  return {};
}

using Direction = UCharDirection;

bool is_one_of(Direction direction, std::initializer_list<Direction> set) {
  return std::find(set.begin(), set.end(), direction) != set.end();
}

// RFC 5893 section 2, for names that hold a right-to-left character.
Result<> check_bidi(const std::u32string& name) {
  std::vector<Direction> directions;
  bool any_right = false, any_european = false, any_arabic = false;
  for (char32_t c : name) {
    Direction d = u_charDirection(static_cast<UChar32>(c));
    any_right |= is_one_of(d, {U_RIGHT_TO_LEFT, U_RIGHT_TO_LEFT_ARABIC, U_ARABIC_NUMBER});
    any_european |= d == U_EUROPEAN_NUMBER;
    any_arabic |= d == U_ARABIC_NUMBER;
    directions.push_back(d);
  }
  if (!any_right) return {};
  Direction first = directions.front();
  // A name with right-to-left characters that begins left-to-right breaks rule 5, whatever else is in it.
  if (first != U_RIGHT_TO_LEFT && first != U_RIGHT_TO_LEFT_ARABIC) {
    return refuse_text("a name with right-to-left characters must begin with one (RFC 5893)");
  }
  for (Direction d : directions) {
    if (!is_one_of(d, {U_RIGHT_TO_LEFT, U_RIGHT_TO_LEFT_ARABIC, U_ARABIC_NUMBER, U_EUROPEAN_NUMBER,
                       U_EUROPEAN_NUMBER_SEPARATOR, U_COMMON_NUMBER_SEPARATOR, U_EUROPEAN_NUMBER_TERMINATOR,
                       U_OTHER_NEUTRAL, U_BOUNDARY_NEUTRAL, U_DIR_NON_SPACING_MARK})) {
      return refuse_text("a right-to-left name holds a left-to-right character (RFC 5893)");
    }
  }
  size_t end = directions.size();
  while (end > 0 && directions[end - 1] == U_DIR_NON_SPACING_MARK) --end;
  if (end == 0 || !is_one_of(directions[end - 1],
                             {U_RIGHT_TO_LEFT, U_RIGHT_TO_LEFT_ARABIC, U_EUROPEAN_NUMBER, U_ARABIC_NUMBER})) {
    return refuse_text("a right-to-left name must end in a letter or digit (RFC 5893)");
  }
  if (any_european && any_arabic)
    return refuse_text("a right-to-left name mixes European and Arabic digits (RFC 5893)");
  return {};
}

// Full-width and half-width characters become what they are variants of (RFC 8265 section 3.3.2, step 1).
icu::UnicodeString map_width(const icu::UnicodeString& name, UErrorCode& status) {
  const icu::Normalizer2* nfkc = icu::Normalizer2::getNFKCInstance(status);
  icu::UnicodeString out;
  if (U_FAILURE(status)) return out;
  for (int32_t at = 0; at < name.length(); at = name.moveIndex32(at, 1)) {
    UChar32 c = name.char32At(at);
    int32_t type = u_getIntPropertyValue(c, UCHAR_DECOMPOSITION_TYPE);
    icu::UnicodeString mapped;
    if ((type == U_DT_WIDE || type == U_DT_NARROW) && nfkc->getRawDecomposition(c, mapped)) {
      out.append(mapped);
    } else {
      out.append(c);
    }
  }
  return out;
}

std::u32string code_points(const icu::UnicodeString& name) {
  std::u32string out;
  for (int32_t at = 0; at < name.length(); at = name.moveIndex32(at, 1)) {
    out += static_cast<char32_t>(name.char32At(at));
  }
  return out;
}

}  // namespace

Category category_of(int32_t c) {
  Category category = Category::kDisallowed;
  if (is_exception(c, category)) return category;
  if (u_charType(c) == U_UNASSIGNED && !u_hasBinaryProperty(c, UCHAR_NONCHARACTER_CODE_POINT)) {
    return Category::kUnassigned;
  }
  if (c >= 0x21 && c <= 0x7e) return Category::kValid;
  if (u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL)) return Category::kContextJ;
  int32_t hangul = u_getIntPropertyValue(c, UCHAR_HANGUL_SYLLABLE_TYPE);
  if (hangul == U_HST_LEADING_JAMO || hangul == U_HST_VOWEL_JAMO || hangul == U_HST_TRAILING_JAMO) {
    return Category::kDisallowed;
  }
  if (u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) ||
      u_hasBinaryProperty(c, UCHAR_NONCHARACTER_CODE_POINT) || u_charType(c) == U_CONTROL_CHAR) {
    return Category::kDisallowed;
  }
  if (has_compatibility_form(c)) return Category::kFreeformOnly;
  constexpr uint32_t kLetterDigits =
      U_GC_LL_MASK | U_GC_LU_MASK | U_GC_LO_MASK | U_GC_ND_MASK | U_GC_LM_MASK | U_GC_MN_MASK | U_GC_MC_MASK;
  constexpr uint32_t kFreeform =
      U_GC_LT_MASK | U_GC_NL_MASK | U_GC_NO_MASK | U_GC_ME_MASK | U_GC_ZS_MASK | U_GC_S_MASK | U_GC_P_MASK;
  uint32_t mask = U_GET_GC_MASK(c);
  if (mask & kLetterDigits) return Category::kValid;
  return mask & kFreeform ? Category::kFreeformOnly : Category::kDisallowed;
}

Result<std::string> username_case_mapped_once(std::string_view utf8) {
  UErrorCode status = U_ZERO_ERROR;
  icu::UnicodeString name =
      icu::UnicodeString::fromUTF8(icu::StringPiece(utf8.data(), static_cast<int32_t>(utf8.size())));
  std::string same;
  name.toUTF8String(same);
  if (same != utf8)
    return refuse_text("account name is not UTF-8");  // ICU put U+FFFD in place of what it could not read
  name = map_width(name, status);
  CANOPY_TRY(check_identifier_class(code_points(name)));
  name.toLower(icu::Locale::getRoot());
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status)) return fail(Code::kInternal, "ICU", u_errorName(status));
  name = nfc->normalize(name, status);
  if (U_FAILURE(status)) return fail(Code::kInternal, "ICU", u_errorName(status));
  std::u32string mapped = code_points(name);
  if (mapped.empty()) return refuse_text("account name is empty");
  CANOPY_TRY(check_identifier_class(mapped));
  CANOPY_TRY(check_bidi(mapped));
  std::string out;
  name.toUTF8String(out);
  return out;
}

std::string icu_unicode_version() {
  UVersionInfo version;
  u_getUnicodeVersion(version);
  return fmt::format("{}.{}", version[0], version[1]);
}

}  // namespace canopy::precis
