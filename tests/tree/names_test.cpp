#include "daemon/tree/names.h"

#include <gtest/gtest.h>

#include <random>

#include "daemon/base/limits.h"
#include "daemon/tree/mount_pattern.h"
#include "daemon/tree/precis.h"

namespace canopy {
namespace {

std::string account(std::string_view raw) {
  Result<std::string> name = prepare_account(raw);
  return name ? *name : "refused: " + name.error().message();
}
std::string domain(std::string_view raw) {
  Result<std::string> name = prepare_domain(raw);
  return name ? *name : "refused: " + name.error().message();
}
bool refused(const std::string& answer, std::string_view rule) {
  return answer.starts_with("refused: ") && answer.find(rule) != std::string::npos;
}

TEST(AccountName, SpellingsOfOneNameBecomeTheSameBytes) {
  EXPECT_EQ(account("JSmith"), "jsmith");
  EXPECT_EQ(account("Müller"), "müller");
  EXPECT_EQ(account("Mu\u0308ller"), "müller");      // decomposed
  EXPECT_EQ(account("\uff2a\uff33mith"), "jsmith");  // full-width J and S
  EXPECT_EQ(account("ΣΊΣΥΦΟΣ"), "σίσυφος");          // a final sigma where one belongs
  EXPECT_EQ(account("Straße"), "straße");            // no case folding: ß is not ss
  EXPECT_EQ(account("STRASSE"), "strasse");
  EXPECT_EQ(account("ｱｲ"), "アイ");  // half-width katakana
}

TEST(AccountName, ARefusalNamesTheRule) {
  EXPECT_TRUE(refused(account(""), "is empty"));
  EXPECT_TRUE(refused(account(".a"), "begins with '.'"));
  EXPECT_TRUE(refused(account("a."), "ends with '.'"));
  EXPECT_TRUE(refused(account("a\uff0e"), "ends with '.'"));  // a full-width full stop
  EXPECT_TRUE(refused(account("a/b"), "contains '/'"));
  EXPECT_TRUE(refused(account("a\uff0fb"), "contains '/'"));  // a full-width solidus
  EXPECT_TRUE(refused(account("a@b"), "contains '@'"));
  EXPECT_TRUE(refused(account(std::string_view("a\0b", 3)), "control character"));
  EXPECT_TRUE(refused(account("a\nb"), "control character"));
  EXPECT_TRUE(refused(account("a b"), "space"));
  EXPECT_TRUE(refused(account("a\u00a0b"), "U+00A0"));
  EXPECT_TRUE(refused(account("\xff"), "UTF-8"));
  EXPECT_TRUE(refused(account("ﬁ"), "U+FB01"));  // a compatibility ligature
  EXPECT_TRUE(refused(account("ÿ☺"), "U+263A"));
  EXPECT_TRUE(refused(account("\u0378"), "not assigned"));
  EXPECT_TRUE(refused(account("a\u200dé"), "RFC 5892"));  // a joiner that joins nothing
}

TEST(AccountName, TheLimitIs128BytesOfThePreparedName) {
  EXPECT_EQ(account(std::string(128, 'a')).size(), 128u);
  Result<std::string> longer = prepare_account(std::string(129, 'a'));
  ASSERT_FALSE(longer.has_value());
  EXPECT_EQ(longer.error().code(), Code::kNoSpaceForName);
  std::string wide;  // three bytes each until width mapping makes it one
  for (int i = 0; i < 128; ++i) wide += "\uff41";
  EXPECT_EQ(account(wide), std::string(128, 'a'));
  EXPECT_FALSE(prepare_account(std::string(100'000, 'a')).has_value());
}

TEST(AccountName, RightToLeftNamesFollowTheBidiRule) {
  EXPECT_EQ(account("אבג"), "אבג");
  EXPECT_EQ(account("אב1"), "אב1");
  EXPECT_TRUE(refused(account("aאב"), "RFC 5893"));
  EXPECT_TRUE(refused(account("אaב"), "RFC 5893"));
  EXPECT_TRUE(refused(account("אב-"), "RFC 5893"));
  EXPECT_TRUE(refused(account("ا1٢"), "RFC 5893"));
}

TEST(AccountName, ContextRulesLetCharactersStandOnlyWhereTheyBelong) {
  EXPECT_EQ(account("col·lega"), "col·lega");
  EXPECT_TRUE(refused(account("co·lega"), "RFC 5892"));
  EXPECT_EQ(account("\u0915\u094d\u200d"), "\u0915\u094d\u200d");  // after a virama
  EXPECT_EQ(account("ア・イ"), "ア・イ");
  EXPECT_TRUE(refused(account("é・e"), "RFC 5892"));
}

// One character of each rule of RFC 8264 section 8, and assignments that tell Unicode versions apart. A
// change of ICU that moves any of these moves names that are already on disk.
TEST(AccountName, TheUnicodeTableIsThePinnedOne) {
  using precis::Category;
  EXPECT_EQ(precis::icu_unicode_version(), kAccountUnicodeVersion);
  const std::pair<int32_t, Category> kPinned[] = {
      {0x0020, Category::kFreeformOnly},
      {0x0021, Category::kValid},
      {0x007e, Category::kValid},
      {0x007f, Category::kDisallowed},
      {0x00aa, Category::kFreeformOnly},
      {0x00ad, Category::kDisallowed},
      {0x00b7, Category::kContextO},
      {0x00df, Category::kValid},
      {0x00e9, Category::kValid},
      {0x0130, Category::kValid},
      {0x01c5, Category::kFreeformOnly},
      {0x0378, Category::kUnassigned},
      {0x03c2, Category::kValid},
      {0x0640, Category::kDisallowed},
      {0x0660, Category::kContextO},
      {0x06f5, Category::kContextO},
      {0x1100, Category::kDisallowed},
      {0x180e, Category::kDisallowed},
      {0x200c, Category::kContextJ},
      {0x2028, Category::kDisallowed},
      {0x2163, Category::kFreeformOnly},
      {0x3007, Category::kValid},
      {0x30fb, Category::kContextO},
      {0x4e00, Category::kValid},
      {0xac00, Category::kValid},
      {0xe000, Category::kDisallowed},
      {0xfdd0, Category::kDisallowed},
      {0xff41, Category::kFreeformOnly},
      {0x1f600, Category::kFreeformOnly},
      {0x1e4d0, Category::kValid},       // NAG MUNDARI LETTER O: assigned in 15.0
      {0x31350, Category::kValid},       // CJK extension H: 15.0
      {0x2ebf0, Category::kUnassigned},  // CJK extension I: 15.1
      {0x1c89, Category::kUnassigned},   // CYRILLIC CAPITAL LETTER TJE: 16.0
  };
  for (auto [c, category] : kPinned) {
    EXPECT_EQ(static_cast<int>(precis::category_of(c)), static_cast<int>(category))
        << fmt::format("U+{:04X}", c);
  }
}

// A sum over the whole repertoire: how many code points each category has under Unicode 15.0.
TEST(AccountName, EachCategoryHasAsManyCharactersAsPinned) {
  std::map<precis::Category, int> count;
  for (int32_t c = 0; c <= 0x10ffff; ++c) ++count[precis::category_of(c)];
  EXPECT_EQ(count[precis::Category::kContextJ], 2);
  EXPECT_EQ(count[precis::Category::kContextO], 25);
  EXPECT_EQ(count[precis::Category::kValid], 134'975);
  EXPECT_EQ(count[precis::Category::kFreeformOnly], 13'382);
  EXPECT_EQ(count[precis::Category::kUnassigned], 825'279);
}

TEST(AccountName, PreparingAPreparedNameChangesNothing) {
  std::mt19937_64 random(8265);
  size_t good = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string raw;
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      constexpr uint32_t kBlocks[][2] = {{0x21, 0x7e},     {0xa1, 0x24f},   {0x370, 0x5ff},
                                         {0x600, 0x6ff},   {0x900, 0x97f},  {0x1e00, 0x1fff},
                                         {0x3041, 0x30ff}, {0xff01, 0xffdc}};
      auto [first, last] = kBlocks[random() % std::size(kBlocks)];
      append_utf8(raw, first + static_cast<uint32_t>(random() % (last - first + 1)));
    }
    Result<std::string> once = prepare_account(raw);
    if (!once) continue;
    ++good;
    Result<std::string> twice = prepare_account(*once);
    ASSERT_TRUE(twice.has_value()) << raw << ": " << twice.error().to_string();
    EXPECT_EQ(*twice, *once) << raw;
  }
  EXPECT_GT(good, 1'000u);
}

// The ASCII path does not ask ICU: it must decide as ICU would.
TEST(AccountName, TheAsciiPathDecidesAsTheUnicodePathDoes) {
  for (int c = 0x21; c < 0x7f; ++c) {
    std::string raw = std::string("a") + static_cast<char>(c) + "Z";
    if (c == '/' || c == '@') continue;  // refused by Canopy before any profile
    Result<std::string> unicode = precis::username_case_mapped_once(raw);
    ASSERT_TRUE(unicode.has_value()) << raw;
    EXPECT_EQ(account(raw), *unicode);
  }
}

TEST(DomainName, SpellingsOfOneNameBecomeTheSameALabels) {
  EXPECT_EQ(domain("Company.COM"), "company.com");
  EXPECT_EQ(domain("bücher.example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("BÜCHER.example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("bu\u0308cher.example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("XN--BCHER-KVA.example"), "xn--bcher-kva.example");
  EXPECT_EQ(domain("faß.de"), "xn--fa-hia.de");     // non-transitional
  EXPECT_EQ(domain("例え。jp"), "xn--r8jz45g.jp");  // an ideographic full stop
}

TEST(DomainName, ARefusalNamesTheRule) {
  EXPECT_TRUE(refused(domain(""), "is empty"));
  EXPECT_TRUE(refused(domain(".com"), "begins with '.'"));
  EXPECT_TRUE(refused(domain("a.com."), "ends with '.'"));
  EXPECT_TRUE(refused(domain("a..com"), "empty label"));
  EXPECT_TRUE(refused(domain("a/b"), "'/'"));
  EXPECT_TRUE(refused(domain("a b.com"), "letters, digits"));
  EXPECT_TRUE(refused(domain("a_b.com"), "letters, digits"));
  EXPECT_TRUE(refused(domain("-a.com"), "'-'"));
  EXPECT_TRUE(refused(domain("FAST"), "fast index"));
  EXPECT_TRUE(refused(domain("x.sub"), ".sub"));
  EXPECT_TRUE(refused(domain("x.MACNT"), ".macnt"));
  EXPECT_TRUE(refused(domain("heartbeat.data"), "heartbeat.data"));
  EXPECT_TRUE(refused(domain("heartbeat.database.org"), "heartbeat.data"));
  EXPECT_TRUE(refused(domain("x.ｓub"), ".sub"));  // full-width s
  EXPECT_TRUE(refused(domain("xn--zzzzzzzzz99999"), ""));
  EXPECT_TRUE(refused(domain("xn--abc-.com"), ""));
  EXPECT_TRUE(refused(domain("ab--cd.com"), ""));  // hyphens where only A-labels have them
  EXPECT_TRUE(refused(domain(std::string(64, 'a') + ".com"), "63"));
  std::string whole;
  for (int i = 0; i < 13; ++i) whole += "abcdefghi.";
  EXPECT_TRUE(refused(domain(whole + "com"), "128"));
}

TEST(DomainName, PreparingAPreparedNameChangesNothing) {
  std::mt19937_64 random(46);
  size_t good = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string raw;
    for (size_t n = 1 + random() % 3; n > 0; --n)
      append_utf8(raw, 0xa1 + static_cast<uint32_t>(random() % 0x600));
    Result<std::string> once = prepare_domain(raw + ".example");
    if (!once) continue;
    ++good;
    EXPECT_EQ(domain(*once), *once) << raw;
  }
  EXPECT_GT(good, 300u);
}

TEST(AccountAddress, IsCutAtTheLastAt) {
  Result<AccountAddress> address = parse_address("JSmith@Company.com");
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->to_string(), "jsmith@company.com");
  EXPECT_FALSE(parse_address("jsmith").has_value());
  EXPECT_FALSE(parse_address("@company.com").has_value());
  EXPECT_FALSE(parse_address("a@b@company.com").has_value());
  EXPECT_FALSE(parse_address("jsmith@").has_value());
  Result<AccountAddress> pseudo = parse_address_or_domain("@Company.com");
  ASSERT_TRUE(pseudo.has_value());
  EXPECT_TRUE(pseudo->is_domain());
  EXPECT_EQ(pseudo->to_string(), "@company.com");
}

// Values computed with another implementation of XXH64.
TEST(Slot, IsTheHashOfTheAddressModulo4096) {
  EXPECT_EQ(slot_of("jsmith", "company.com"), 3971u);
  EXPECT_EQ(slot_of("", "company.com"), 2519u);
  EXPECT_EQ(slot_of("müller", "company.com"), 2104u);
}

}  // namespace
}  // namespace canopy
