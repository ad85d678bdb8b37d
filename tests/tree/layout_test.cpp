#include "daemon/tree/layout.h"

#include <gtest/gtest.h>

#include <random>

namespace canopy {
namespace {

TreeLayout layout(std::string_view domains, std::string_view accounts, std::string_view fast) {
  Result<TreeLayout> made = TreeLayout::parse(domains, accounts, fast);
  EXPECT_TRUE(made.has_value()) << domains << " " << accounts << " " << fast;
  return made ? *made : TreeLayout();
}

TEST(Foldering, PrintsWhatItReads) {
  for (std::string_view text :
       {"flat", "1", "4", "1-1", "2-1", "4-4-4-4", "hash-1", "hash-2-1", "hash-4-4-4-4"}) {
    Result<Foldering> foldering = Foldering::parse(text);
    ASSERT_TRUE(foldering.has_value()) << text;
    EXPECT_EQ(foldering->to_string(), text);
  }
}

TEST(Foldering, AnyOtherTextIsRefused) {
  for (std::string_view text : {"", "0", "5", "12", "1-", "-1", "1--1", "1-0", "1-1-1-1-1", "hash", "hash-",
                                "hash-flat", "Flat", " 1", "1 ", "hash-5", "1-hash-1", "1-1x", "１"}) {
    EXPECT_FALSE(Foldering::parse(text).has_value()) << text;
  }
}

TEST(Foldering, LettersAreCodePointsAndEverythingElseIsAnUnderscore) {
  std::string out;
  Foldering::parse("2-2")->append_folders(out, "üñ.1");
  EXPECT_EQ(out, "üñ.sub/_1.sub/");
}

TEST(Layout, TheDomainsSettingsLieInItsDirectory) {
  TreeLayout tree = layout("1", "1-1", "0");
  EXPECT_EQ(tree.domain_directory("company.com"), "SharedDomains/c.sub/company.com");
  EXPECT_EQ(tree.domain_settings_file("company.com"), "SharedDomains/c.sub/company.com/domain.settings");
  EXPECT_EQ(tree.account_parent({"jsmith", "company.com"}), "SharedDomains/c.sub/company.com/j.sub/s.sub");
}

TEST(Layout, TheFastIndexMayStandAfterEveryFolderAndNotLater) {
  for (std::string_view domains : {"flat", "1", "2-1", "hash-1-1"}) {
    for (std::string_view accounts : {"flat", "2", "1-1-1-1", "hash-1"}) {
      uint32_t folders = 2 + Foldering::parse(domains)->levels() + Foldering::parse(accounts)->levels();
      for (uint32_t fast = 1; fast <= folders; ++fast) {
        TreeLayout tree = layout(domains, accounts, std::to_string(fast));
        std::string path = tree.settings_file({"jsmith", "company.com"});
        size_t slashes = 0, at = path.find("/fast/");
        ASSERT_NE(at, std::string::npos) << path;
        for (char c : path.substr(0, at)) slashes += c == '/';
        EXPECT_EQ(slashes + 1, fast) << path;
        path.erase(at, 5);
        EXPECT_EQ(path, tree.account_parent({"jsmith", "company.com"}) + "/jsmith.settings");
      }
      EXPECT_FALSE(TreeLayout::parse(domains, accounts, std::to_string(folders + 1)).has_value());
    }
  }
  for (std::string_view fast : {"", "-1", "1x", " 1", "99999999999"}) {
    EXPECT_FALSE(TreeLayout::parse("flat", "flat", fast).has_value()) << fast;
  }
}

// Two accounts never share a file, and no account's file is another's or a domain's, whatever the layout.
TEST(Layout, EveryNameHasPathsOfItsOwn) {
  std::vector<std::string> accounts = {"a",
                                       "b",
                                       "a.settings",
                                       "a.info",
                                       "account",
                                       "domain",
                                       "fast",
                                       "a.sub",
                                       "a.macnt",
                                       "account.settings",
                                       "domain.settings",
                                       "_",
                                       "a_",
                                       "-",
                                       "heartbeat.data",
                                       "ä",
                                       "7up"};
  std::vector<std::string> domains = {
      "a.com", "b.com", "a", "fast.com", "account.settings", "xn--bcher-kva.example"};
  std::mt19937_64 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string name;
    for (size_t n = 1 + random() % 5; n > 0; --n) name += "ab_-s.f"[random() % 7];
    Result<std::string> good = prepare_account(name);
    if (good) accounts.push_back(*good);
  }
  std::sort(accounts.begin(), accounts.end());
  accounts.erase(std::unique(accounts.begin(), accounts.end()), accounts.end());
  for (std::string_view foldering : {"flat", "1", "2-1", "hash-1-1"}) {
    for (std::string_view fast : {"0", "1", "2"}) {
      TreeLayout tree = layout("flat", foldering, fast);
      std::map<std::string, std::string> owner;
      auto claim = [&](const std::string& path, const std::string& who) {
        auto [at, fresh] = owner.emplace(path, who);
        EXPECT_TRUE(fresh) << path << " belongs to " << at->second << " and " << who;
      };
      for (const std::string& domain : domains) {
        claim(tree.domain_directory(domain), domain);
        claim(tree.domain_settings_file(domain), domain + " settings");
        for (const std::string& account : accounts) {
          AccountAddress address{account, domain};
          claim(tree.account_directory(address), address.to_string());
          claim(tree.settings_file(address), address.to_string() + " settings");
          claim(tree.info_file(address), address.to_string() + " info");
        }
      }
    }
  }
}

TEST(DescribePath, NamesWhatEveryLayoutWrites) {
  for (std::string_view domains : {"flat", "1", "hash-2"}) {
    for (std::string_view accounts : {"flat", "1-1"}) {
      for (std::string_view fast : {"0", "1", "2"}) {
        TreeLayout tree = layout(domains, accounts, fast);
        AccountAddress address{"jsmith", "company.com"};
        std::string directory_path = tree.account_directory(address);
        TreePlace directory = describe_path(directory_path);
        EXPECT_EQ(directory.kind, TreePlaceKind::kAccount);
        EXPECT_EQ(directory.domain, "company.com");
        EXPECT_EQ(directory.account, "jsmith");
        std::string settings_path = tree.settings_file(address);
        TreePlace settings = describe_path(settings_path);
        EXPECT_EQ(settings.kind, fast == "0" ? TreePlaceKind::kInsideAccount : TreePlaceKind::kAccountFile);
        EXPECT_EQ(settings.account, "jsmith") << settings_path;
        EXPECT_EQ(settings.domain, "company.com") << settings_path;
        EXPECT_EQ(describe_path(tree.domain_directory("company.com")).kind, TreePlaceKind::kDomain);
        EXPECT_EQ(describe_path(tree.domain_settings_file("company.com")).kind,
                  TreePlaceKind::kDomainSettings);
      }
    }
  }
}

TEST(DescribePath, TellsEverythingElseApart) {
  auto kind = [](std::string_view path) { return describe_path(path).kind; };
  EXPECT_EQ(kind(""), TreePlaceKind::kBase);
  EXPECT_EQ(kind("SharedDomains"), TreePlaceKind::kTreeRoot);
  EXPECT_EQ(kind("Settings/Mounts.settings"), TreePlaceKind::kSettings);
  EXPECT_EQ(kind("SharedDomains/heartbeat.data.17"), TreePlaceKind::kHeartbeat);
  EXPECT_EQ(kind("SharedDomains/c.sub"), TreePlaceKind::kFolder);
  EXPECT_EQ(kind("SharedDomains/company.com/j.sub"), TreePlaceKind::kFolder);
  EXPECT_EQ(kind("SharedDomains/fast/company.com"), TreePlaceKind::kDomain);
  EXPECT_EQ(kind("SharedDomains/company.com/fast"), TreePlaceKind::kFolder);
  EXPECT_EQ(kind("SharedDomains/company.com/jsmith.macnt/1-2.slice"), TreePlaceKind::kInsideAccount);
  EXPECT_EQ(kind("SharedDomains/company.com/j.sub/domain.settings"), TreePlaceKind::kOther);
  EXPECT_EQ(kind("SharedDomains/company.com/readme"), TreePlaceKind::kOther);
  EXPECT_EQ(kind("SharedDomains/Company.com"), TreePlaceKind::kOther);
  EXPECT_EQ(kind("SharedDomains/company.com/JSmith.macnt"), TreePlaceKind::kOther);
  EXPECT_EQ(kind("SharedDomains/company.com/fast/fast"), TreePlaceKind::kOther);
  EXPECT_EQ(kind(".canopy/store"), TreePlaceKind::kOther);
}

TEST(ClassifyElement, TellsFoldersAccountsAndDomainsApart) {
  EXPECT_EQ(classify_element("js.sub", true), TreeElement::kFolder);
  EXPECT_EQ(classify_element(".sub", true), TreeElement::kOther);
  EXPECT_EQ(classify_element("jsmith.macnt", true), TreeElement::kAccount);
  EXPECT_EQ(classify_element("jsmith.macnt", false), TreeElement::kOther);
  EXPECT_EQ(classify_element("company.com", false), TreeElement::kDomain);
  EXPECT_EQ(classify_element("fast", false), TreeElement::kFast);
  EXPECT_EQ(account_of_element("jsmith.macnt"), "jsmith");
  EXPECT_EQ(account_of_element(".macnt"), "");
  EXPECT_EQ(account_of_element("jsmith.macnt.~5.1"), "");  // the target of a copy across stores
}

}  // namespace
}  // namespace canopy
