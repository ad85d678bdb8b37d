#include "daemon/tree/mounts.h"

#include <gtest/gtest.h>

#include <random>

namespace canopy {
namespace {

std::vector<MountRow> rows(std::initializer_list<std::string_view> lines) {
  std::vector<MountRow> out;
  for (std::string_view line : lines) out.push_back(*parse_mount_row(line));
  return out;
}

// "one:a two" of places: the prefix after a colon.
std::string text(const std::vector<const MountRow*>& places) {
  std::string out;
  for (const MountRow* row : places)
    out += (out.empty() ? "" : " ") + row->store + (row->prefix.empty() ? "" : ":" + row->prefix);
  return out;
}
std::string places(const Mounts& mounts, std::string_view path) { return text(mounts.places_of(path)); }

constexpr char kAbby[] = "SharedDomains/company.com/a.sub/abby.macnt";

TEST(Mounts, WhatANewRowTakesIsStillSoughtWhereItLay) {
  const Mounts before = Mounts::single("root");
  EXPECT_TRUE(before.is_single());
  const Mounts after = *before.changed(rows({"/ root", "SharedDomains/company.com/[a-d].sub one"}));
  EXPECT_EQ(places(after, kAbby), "one root");
  EXPECT_EQ(places(after, "SharedDomains/company.com/e.sub/emil.macnt"), "root");
  EXPECT_EQ(places(after, "SharedDomains/company.com/domain.settings"), "root");
  EXPECT_FALSE(after.is_single());
  EXPECT_TRUE(after.without({after.superseded().begin(), after.superseded().end()}).superseded().empty());
}

TEST(Mounts, RowsThatGoOrLeadElsewhereStayAsPlacesNewestFirst) {
  const Mounts first = *Mounts::make(rows({"/ root", "SharedDomains/company.com/[a-d].sub one"}));
  EXPECT_EQ(places(first, kAbby), "one");
  const Mounts second = *first.changed(rows({"/ root", "SharedDomains/company.com/[a-d].sub two deep"}));
  EXPECT_EQ(places(second, kAbby), "two:deep one");
  const Mounts third = *second.changed(rows({"/ root", "SharedDomains/company.com/a.sub three"}));
  EXPECT_EQ(places(third, kAbby), "three two:deep one");
  EXPECT_EQ(places(third, "SharedDomains/company.com/b.sub/bert.macnt"), "root two:deep one");
  const Mounts back = *third.changed(rows({"/ root", "SharedDomains/company.com/[a-d].sub one"}));
  EXPECT_EQ(places(back, kAbby), "one three root two:deep");
}

TEST(Mounts, DirectoriesAboveKnowTheStoresBelow) {
  const Mounts mounts =
      *Mounts::make(rows({"/ root", "SharedDomains/company.com/[a-d].sub one", "SharedDomains/fast quick"}),
                    rows({"SharedDomains/*/z.sub old"}));
  auto below = [&](std::string_view path) { return text(mounts.places_below(path, mounts.places_of(path))); };
  EXPECT_EQ(below("SharedDomains"), "one quick old");
  EXPECT_EQ(below("SharedDomains/company.com"), "one old");
  EXPECT_EQ(below("SharedDomains/other.com"), "old");
  EXPECT_EQ(below("SharedDomains/company.com/a.sub"), "");
  EXPECT_FALSE(mounts.any_below("SharedDomains/company.com/a.sub"));
}

TEST(Mounts, NoRowNamesAPartOfAnAccount) {
  auto made = Mounts::make(rows({"/ root", "SharedDomains/company.com/abby.macnt/damaged one"}));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().to_string().find("an account's directory lies on one store"), std::string::npos);
  EXPECT_TRUE(Mounts::make(rows({"/ root", "SharedDomains/company.com/abby.macnt one"})));
  EXPECT_EQ(object_of("SharedDomains/c/a.sub/abby.macnt/x.macnt/1.slice"),
            "SharedDomains/c/a.sub/abby.macnt");
  EXPECT_EQ(object_of("SharedDomains/fast/c/abby.settings"), "SharedDomains/fast/c/abby.settings");
}

TEST(Mounts, SaysToWhichStoresSupersededPlacesAreEmptied) {
  const auto moved_to = [](std::vector<std::string> table, std::vector<std::string> superseded) {
    std::vector<MountRow> now, before;
    for (const std::string& line : table) now.push_back(*parse_mount_row(line));
    for (const std::string& line : superseded) before.push_back(*parse_mount_row(line));
    auto made = Mounts::make(now, before);
    EXPECT_TRUE(made) << made.error().to_string();
    return made->stores_moved_to();
  };
  using Names = std::set<std::string>;
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/c.com A"}, {}), Names());
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/c.com A"}, {"SharedDomains/c.com root"}), Names({"A"}));
  // What a longer row serves goes there, the rest where the shorter one says; nobody else gets anything.
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/c.com A", "SharedDomains/c.com/[a-d].sub B",
                      "SharedDomains/c.com/[x-z].sub C", "SharedDomains/d.com D"},
                     {"SharedDomains/c.com/[a-k].sub S"}),
            Names({"A", "B"}));
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/c.com/[a-d].sub B"}, {"SharedDomains/c.com S"}),
            Names({"B", "root"}));
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/c.com S"}, {"SharedDomains/c.com S old"}), Names({"S"}));
  EXPECT_EQ(moved_to({"/ root", "SharedDomains/*/a.sub A"}, {"SharedDomains/c.com S"}), Names({"A", "root"}));
}

TEST(Mounts, ARowOfOneAccountConcernsItsDomainAlone) {
  const auto table = rows({"/ root", "SharedDomains/company.com/[a-d].sub one"});
  const std::string of_account = std::string(kAbby) + " two";
  const Mounts one = *Mounts::make(table, rows({of_account}));
  EXPECT_EQ(places(one, kAbby), "one two");
  EXPECT_EQ(one.superseded_of_one_account(), 1u);
  EXPECT_TRUE(one.may_have_led_to("SharedDomains/company.com"));
  EXPECT_FALSE(one.may_have_led_to("SharedDomains/other.com"));
  for (const char* wider : {"SharedDomains/company.com/*/x.macnt two", "SharedDomains/fast two", "/ two"}) {
    const Mounts more = *Mounts::make(table, rows({of_account, wider}));
    EXPECT_EQ(more.superseded_of_one_account(), 1u);
    EXPECT_TRUE(more.may_have_led_to("SharedDomains/other.com")) << wider;
  }
  EXPECT_FALSE(Mounts::single("root").may_have_led_to("SharedDomains/company.com"));
}

// Whatever the changes were: the place that any older table gave is among the places now.
TEST(Mounts, NoPlaceOfAnyOlderTableIsForgotten) {
  std::mt19937 random(5);
  const std::string_view patterns[] = {
      "SharedDomains/company.com",           "SharedDomains/*/[a-d].sub",
      "SharedDomains/company.com/[a-d].sub", "SharedDomains/company.com/[c-h].sub",
      "SharedDomains/company.com/c.sub",     "SharedDomains/company.com/*",
      "SharedDomains/company.com/c.sub/*"};
  const std::string_view paths[] = {
      kAbby, "SharedDomains/company.com/c.sub/carl.macnt", "SharedDomains/company.com/h.sub/hugo.macnt",
      "SharedDomains/company.com/x.sub/x.macnt", "SharedDomains/other.com/a.sub/a.macnt"};
  for (int round = 0; round < 50; ++round) {
    Mounts mounts = Mounts::single("root");
    std::map<std::string_view, std::set<std::string>> given;
    for (int change = 0; change < 20; ++change) {
      std::vector<MountRow> next = rows({"/ root"});
      for (std::string_view pattern : patterns)
        if (random() % 3 == 0)
          next.push_back({std::string(pattern), std::string(1, "ABC"[random() % 3]), ""});
      auto changed = mounts.changed(std::move(next));
      if (!changed) continue;  // a tie
      mounts = std::move(*changed);
      for (std::string_view path : paths) {
        given[path].insert(mounts.table().row_for(path).store);
        const std::string now = places(mounts, path);
        EXPECT_TRUE(now.starts_with(mounts.table().row_for(path).store));
        for (const std::string& store : given[path])
          ASSERT_NE(now.find(store), std::string::npos) << path << " lay on " << store << ", now " << now;
      }
    }
    EXPECT_LE(mounts.superseded().size(), std::size(patterns) * 4 + 1);  // no row is remembered twice
  }
}

}  // namespace
}  // namespace canopy
