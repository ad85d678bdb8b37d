#include "daemon/tree/mount_table.h"

#include <gtest/gtest.h>

#include <random>

namespace canopy {
namespace {

MountTable table(std::string_view text) {
  Result<MountTable> made = MountTable::parse(text);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().to_string());
  return made ? *std::move(made) : MountTable::single("broken");
}
std::string refusal(std::string_view text) {
  Result<MountTable> made = MountTable::parse(text);
  return made ? "accepted" : made.error().to_string();
}

constexpr std::string_view kTable =
    "# the root, two leaves of company.com, a domain of its own\n"
    "/ root\n"
    "SharedDomains/company.com/[a-d].sub s1\n"
    "SharedDomains/company.com/[e-h].sub s2 export/two\n"
    "SharedDomains/company.com/e.sub/x.sub s3\n"
    "SharedDomains/*/[a-d].sub s4\n"
    "SharedDomains/big.example s5\n";

TEST(MountTable, TheLongestMatchingRowServes) {
  MountTable mounts = table(kTable);
  auto store = [&](std::string_view path) { return mounts.row_for(path).store; };
  EXPECT_EQ(store(""), "root");
  EXPECT_EQ(store("Settings/Mounts.settings"), "root");
  EXPECT_EQ(store("SharedDomains/company.com"), "root");
  EXPECT_EQ(store("SharedDomains/company.com/a.sub"), "s1");
  EXPECT_EQ(store("SharedDomains/company.com/d.sub/da.macnt"), "s1");
  EXPECT_EQ(store("SharedDomains/company.com/e.sub/jsmith.macnt"), "s2");
  EXPECT_EQ(store("SharedDomains/company.com/e.sub/x.sub/ex.macnt"), "s3");
  EXPECT_EQ(store("SharedDomains/company.com/_.sub"), "root");
  EXPECT_EQ(store("SharedDomains/company.com/aa.sub"), "root");
  EXPECT_EQ(store("SharedDomains/other.org/b.sub/bob.macnt"), "s4");
  EXPECT_EQ(store("SharedDomains/other.org/e.sub"), "root");
  EXPECT_EQ(store("SharedDomains/big.example/z.sub"), "s5");
  EXPECT_EQ(store("SharedDomains/big.example/a.sub"), "s4");  // three elements beat two
}

TEST(MountTable, AFileLiesAtThePrefixPlusItsFullTreePath) {
  MountTable mounts = table(kTable);
  MountTable::Place place = mounts.place_of("SharedDomains/company.com/f.sub/fred.macnt");
  EXPECT_EQ(place.store_path, "export/two/SharedDomains/company.com/f.sub/fred.macnt");
  EXPECT_EQ(place.elements, 3u);
  EXPECT_EQ(place.row->store, "s2");
  EXPECT_EQ(mounts.place_of("").store_path, "");
}

TEST(MountTable, AWildcardLeavesTheControllersRegisterWhereItIs) {
  MountTable mounts = table("/ root\nSharedDomains/* s1\n");
  EXPECT_EQ(mounts.row_for("SharedDomains/company.com").store, "s1");
  EXPECT_EQ(mounts.row_for("SharedDomains/heartbeat.data").store, "root");
  EXPECT_EQ(mounts.row_for("SharedDomains/heartbeat.data.5").store, "root");
  EXPECT_EQ(mounts.row_for("SharedDomains/.hidden").store, "root");
}

TEST(MountTable, ATieIsRefusedAndNamesBothRows) {
  std::string tie = refusal("/ r\nSharedDomains/c.com/[a-d].sub s1\nSharedDomains/c.com/[d-f].sub s2\n");
  EXPECT_NE(tie.find("[a-d].sub"), std::string::npos) << tie;
  EXPECT_NE(tie.find("[d-f].sub"), std::string::npos) << tie;
  EXPECT_NE(refusal("/ r\nSharedDomains/c.com s1\nSharedDomains/c.com s2\n"), "accepted");
  EXPECT_NE(refusal("/ r\nSharedDomains/[a]b s1\nSharedDomains/a[b] s2\n"), "accepted");
  EXPECT_NE(refusal("/ r\nSharedDomains/*/a.sub s1\nSharedDomains/a.sub/* s2\n"), "accepted");
  // No path matches both, or one has more literal characters: no tie.
  EXPECT_EQ(refusal("/ r\nSharedDomains/c.com/[a-c].sub s1\nSharedDomains/c.com/[d-f].sub s2\n"), "accepted");
  EXPECT_EQ(refusal("/ r\nSharedDomains/c.com/[a-f].sub s1\nSharedDomains/c.com/d.sub s2\n"), "accepted");
}

TEST(MountTable, ARowThatBreaksARuleIsRefused) {
  for (std::string_view row : {"SharedDomains",
                               "Settings s",
                               "Other/x s",
                               "/ second",
                               "SharedDomains//x s",
                               "SharedDomains/../x s",
                               "SharedDomains/[ s",
                               "SharedDomains/[] s",
                               "SharedDomains/[d-a].sub s",
                               "SharedDomains/a* s",
                               "SharedDomains/heartbeat.data s",
                               "SharedDomains/[gh]eartbeat.data.[0-9] s",
                               "SharedDomains/.x s",
                               "SharedDomains/x s/t",
                               "SharedDomains/x s /abs",
                               "SharedDomains/x s a/../b",
                               "SharedDomains/x s a/",
                               "SharedDomains/x s p extra",
                               "SharedDomains/\xff s",
                               "SharedDomains/[\\u{110000}] s"}) {
    EXPECT_NE(refusal("/ root\n" + std::string(row) + "\n"), "accepted") << row;
  }
  EXPECT_NE(refusal("SharedDomains/x s\n"), "accepted");  // no row for the base directory
  EXPECT_NE(refusal(""), "accepted");
}

TEST(MountTable, ClassesCountByCodePoint) {
  MountTable mounts = table("/ root\nSharedDomains/c.com/[ü\\u{400}-\\u{4FF}].sub s1\n");
  EXPECT_EQ(mounts.row_for("SharedDomains/c.com/ü.sub").store, "s1");
  EXPECT_EQ(mounts.row_for("SharedDomains/c.com/ж.sub").store, "s1");
  EXPECT_EQ(mounts.row_for("SharedDomains/c.com/ö.sub").store, "root");
  EXPECT_EQ(mounts.row_for("SharedDomains/c.com/\xc3.sub").store, "root");
}

TEST(MountTable, PrintsCanonicallyWhatItReads) {
  MountTable mounts = table(kTable);
  MountTable again = table(mounts.to_string());
  EXPECT_EQ(again, mounts);
  EXPECT_EQ(again.to_string(), mounts.to_string());
  MountTable merged = table("/ r\nSharedDomains/[c-dab].sub s\n");
  EXPECT_EQ(merged.rows()[1].pattern, "SharedDomains/[a-d].sub");
}

TEST(MountTable, RowsBelowADirectoryAreThoseItsListingMustAsk) {
  MountTable mounts = table(kTable);
  auto below = [&](std::string_view path) {
    std::set<std::string> stores;
    for (const MountRow* row : mounts.rows_below(path)) stores.insert(row->store);
    return stores;
  };
  EXPECT_EQ(below("SharedDomains/company.com"), (std::set<std::string>{"s1", "s2", "s3", "s4"}));
  EXPECT_EQ(below("SharedDomains/company.com/e.sub"), (std::set<std::string>{"s3"}));
  EXPECT_EQ(below("SharedDomains/company.com/a.sub"), (std::set<std::string>{}));
  EXPECT_EQ(below("Settings"), (std::set<std::string>{}));
}

TEST(MountTable, ShowsTheFoldersThatNoRowNames) {
  std::vector<std::string> gaps =
      unnamed_folders(table("/ r\nSharedDomains/c.com/[a-h].sub s1\nSharedDomains/c.com/[i-z].sub s2\n"));
  EXPECT_EQ(gaps, std::vector<std::string>{"SharedDomains/c.com/[0-9_\\u{80}-\\u{10FFFF}].sub"});
  gaps = unnamed_folders(table("/ r\nSharedDomains/c.com/[0-9_a-z\\u{80}-\\u{10FFFF}].sub s1\n"));
  EXPECT_TRUE(gaps.empty());
  gaps = unnamed_folders(table("/ r\nSharedDomains/c.com/[0-9_a-z\\u{80}-\\u{10FFFF}][a-z].sub s1\n"));
  EXPECT_EQ(gaps.size(), 1u);
  gaps = unnamed_folders(table("/ r\nSharedDomains/c.com/a[0-9_a-z\\u{80}-\\u{10FFFF}].sub s1\n"));
  EXPECT_EQ(gaps.size(), 1u);
  EXPECT_TRUE(unnamed_folders(MountTable::single("r")).empty());
}

// Every gap can be put into the table as it is printed, and then none is left and nothing ties.
TEST(MountTable, NamingTheShownFoldersClosesTheTable) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::string text = "/ r\n";
    char next = 'a';
    while (next <= 'z') {
      char last = static_cast<char>(std::min<int>('z', next + static_cast<int>(random() % 5)));
      if (random() % 3 != 0) text += fmt::format("SharedDomains/c.com/[{}-{}][a-m].sub s1\n", next, last);
      next = static_cast<char>(last + 1);
    }
    Result<MountTable> mounts = MountTable::parse(text);
    ASSERT_TRUE(mounts.has_value()) << mounts.error().to_string();
    for (const std::string& gap : unnamed_folders(*mounts)) text += gap + " s2\n";
    Result<MountTable> whole = MountTable::parse(text);
    ASSERT_TRUE(whole.has_value()) << whole.error().to_string();
    EXPECT_TRUE(unnamed_folders(*whole).empty());
  }
}

// The tree of patterns answers as a plain scan over all rows would.
TEST(MountTable, FindsTheRowThatAScanWouldFind) {
  std::mt19937_64 random(11);
  const std::string elements[] = {"a.sub", "[a-c].sub", "[b-z].sub", "*", "c.com", "[a-d].com", "b.sub"};
  const std::string names[] = {"a.sub", "b.sub", "c.sub", "c.com", "d.com", "x"};
  size_t tables = 0;
  for (int round = 0; round < 2'000; ++round) {
    std::vector<MountRow> rows = {{"/", "root", ""}};
    for (size_t n = 1 + random() % 5; n > 0; --n) {
      std::string pattern = "SharedDomains";
      for (size_t depth = random() % 4; depth > 0; --depth)
        pattern += "/" + elements[random() % std::size(elements)];
      rows.push_back({pattern, fmt::format("s{}", n), ""});
    }
    Result<MountTable> mounts = MountTable::make(rows);
    if (!mounts) continue;  // a tie
    ++tables;
    for (int i = 0; i < 20; ++i) {
      std::string path = "SharedDomains";
      for (size_t depth = random() % 4; depth > 0; --depth) path += "/" + names[random() % std::size(names)];
      std::string expected;
      std::pair<size_t, uint32_t> best{0, 0};
      for (const MountRow& row : mounts->rows()) {
        const MountPattern& pattern = mounts->pattern_of(row);
        std::string_view rest = path;
        bool matches = true;
        for (const PatternElement& element : pattern.elements()) {
          size_t slash = std::min(rest.find('/'), rest.size());
          matches = matches && !rest.empty() && element.matches(rest.substr(0, slash));
          rest.remove_prefix(std::min(slash + 1, rest.size()));
        }
        std::pair rank{pattern.elements().size(), pattern.literals()};
        if (matches && rank >= best) {
          best = rank;
          expected = row.store;
        }
      }
      EXPECT_EQ(mounts->row_for(path).store, expected) << path << " in\n" << mounts->to_string();
    }
  }
  EXPECT_GT(tables, 300u);
}

}  // namespace
}  // namespace canopy
