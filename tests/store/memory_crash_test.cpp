// What a power cut leaves on a MemoryDisk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/store/memory/memory_disk.h"

namespace canopy {
namespace {

constexpr int kSeeds = 300;

// A disk by itself: its operations are synchronous, so that these tests need no loop.
struct Disk : MemoryDisk {
  using MemoryDisk::MemoryDisk;

  FileId create(std::string_view path) {
    return *open(path, {.write = true, .create = true, .exclusive = true});
  }
  void write_at(FileId file, uint64_t offset, std::string_view bytes, Durable durable) {
    std::string_view pieces[] = {bytes};
    ASSERT_TRUE(write(file, false, offset, pieces, durable).has_value());
  }
  std::string content(std::string_view path) {
    auto file = open(path, {});
    if (!file) return "absent";
    std::string bytes(1 << 16, '\0');
    bytes.resize(*read(*file, false, 0, std::span<char>(bytes.data(), bytes.size())));
    close(*file);
    return bytes;
  }
  bool exists(std::string_view path) { return attributes(path).has_value(); }
  std::set<std::string> names(std::string_view path) {
    std::set<std::string> out;
    DirectoryPage page = *list(path, 0);
    for (auto& entry : page.entries) out.insert(entry.name);
    return out;
  }
};

TEST(MemoryCrash, WhatWasSyncedStaysAndNothingElseIsPromised) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto file = disk.create("f");
    disk.write_at(file, 0, "synced|", Durable::kNo);
    ASSERT_TRUE(disk.sync(file, false).has_value());
    ASSERT_TRUE(disk.sync_directory("").has_value());
    EXPECT_EQ(disk.unsynced_changes(), 0u);
    disk.write_at(file, 7, "unsynced", Durable::kNo);
    EXPECT_EQ(disk.content("f"), "synced|unsynced");
    disk.crash(seed);
    std::string left = disk.content("f");
    EXPECT_EQ(left.substr(0, 7), "synced|") << seed;
    outcomes.insert(left);
    EXPECT_EQ(disk.unsynced_changes(), 0u);
  }
  EXPECT_TRUE(outcomes.contains("synced|"));
  EXPECT_TRUE(outcomes.contains("synced|unsynced"));
  EXPECT_TRUE(outcomes.contains("synced|uns"));                      // torn
  EXPECT_TRUE(outcomes.contains("synced|" + std::string(8, '\0')));  // its sector was never written
}

TEST(MemoryCrash, ADurableWriteKeepsItsOwnBytesAndNotThoseBeforeIt) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto file = disk.create("f");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    disk.write_at(file, 0, "abc", Durable::kNo);
    disk.write_at(file, 3, "def", Durable::kYes);
    disk.crash(seed);
    std::string left = disk.content("f");
    ASSERT_EQ(left.size(), 6u);
    EXPECT_EQ(left.substr(3), "def");
    outcomes.insert(left.substr(0, 3));
  }
  EXPECT_TRUE(outcomes.contains("abc"));
  EXPECT_TRUE(outcomes.contains(std::string(3, '\0')));
}

TEST(MemoryCrash, AnOlderUnsyncedWriteNeverComesBackOverADurableOne) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto file = disk.create("f");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    disk.write_at(file, 0, "older-older", Durable::kNo);
    disk.write_at(file, 2, "newer", Durable::kYes);
    disk.crash(seed);
    EXPECT_EQ(disk.content("f").substr(2, 5), "newer") << seed;
  }
}

TEST(MemoryCrash, ADurableAppendSurvivesAnUnsyncedTruncation) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto file = disk.create("f");
    disk.write_at(file, 0, "0123456789", Durable::kYes);
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.set_attributes(file, false, {.size = 2}, Durable::kNo).has_value());
    disk.write_at(file, 2, "xy", Durable::kYes);
    disk.crash(seed);
    EXPECT_EQ(disk.content("f"), "01xy") << seed;
  }
}

TEST(MemoryCrash, ASyncedFileIsLostWithItsUnsyncedName) {
  int kept = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto file = disk.create("f");
    disk.write_at(file, 0, "content", Durable::kYes);
    disk.crash(seed);
    if (!disk.exists("f")) {
      EXPECT_EQ(disk.read(file, false, 0, {}).error().code(), Code::kNotFound);
      continue;
    }
    ++kept;
    EXPECT_EQ(disk.content("f"), "content");
  }
  EXPECT_GT(kept, kSeeds / 10);
  EXPECT_LT(kept, kSeeds * 9 / 10);
}

TEST(MemoryCrash, ModesAreDurableOnlyWhenSynced) {
  std::set<uint32_t> unsynced;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    auto sealed = disk.create("sealed");
    auto open = disk.create("open");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.set_attributes("sealed", {.mode = 0400}, Durable::kYes).has_value());
    ASSERT_TRUE(disk.set_attributes("open", {.mode = 0400}, Durable::kNo).has_value());
    disk.write_at(open, 0, "x", Durable::kYes);  // makes data durable, not the mode
    disk.crash(seed);
    EXPECT_EQ(disk.attributes("sealed")->mode, 0400u);
    EXPECT_EQ(disk.attributes(sealed, true)->mode, 0400u);  // a client that survived goes on
    unsynced.insert(disk.attributes("open")->mode);
  }
  EXPECT_EQ(unsynced, (std::set<uint32_t>{0400, 0600}));
}

TEST(MemoryCrash, ARenameHappenedOrDidNot) {
  int renamed = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    ASSERT_TRUE(disk.make_directory("d", 0700, Durable::kYes).has_value());
    disk.write_at(disk.create("old"), 0, "old", Durable::kYes);
    disk.write_at(disk.create("d/new"), 0, "new", Durable::kYes);
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.sync_directory("d").has_value());
    ASSERT_TRUE(disk.rename("d/new", "old", RenameMode::kReplace, Durable::kNo).has_value());
    disk.crash(seed);
    if (disk.exists("d/new")) {
      EXPECT_EQ(disk.content("old"), "old");
      EXPECT_EQ(disk.content("d/new"), "new");
    } else {
      ++renamed;
      EXPECT_EQ(disk.content("old"), "new");
    }
    EXPECT_EQ(disk.attributes("old")->links, 1u);
  }
  EXPECT_GT(renamed, kSeeds / 10);
  EXPECT_LT(renamed, kSeeds * 9 / 10);
}

TEST(MemoryCrash, AFileThatWasRenamedTwiceHasOneName) {
  std::set<std::set<std::string>> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    disk.create("a");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.rename("a", "b", RenameMode::kReplace, Durable::kNo).has_value());
    ASSERT_TRUE(disk.rename("b", "c", RenameMode::kReplace, Durable::kNo).has_value());
    disk.crash(seed);
    outcomes.insert(disk.names(""));
  }
  EXPECT_EQ(outcomes, (std::set<std::set<std::string>>{{"a"}, {"b"}, {"c"}}));
}

TEST(MemoryCrash, ADurableRenameTakesWithItWhatItRestsOn) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    ASSERT_TRUE(disk.make_directory("stage", 0700, Durable::kNo).has_value());
    disk.write_at(disk.create("stage/x"), 0, "settings", Durable::kYes);
    disk.create("unrelated");
    ASSERT_TRUE(disk.rename("stage/x", "a.settings", RenameMode::kReplace, Durable::kYes).has_value());
    disk.crash(seed);
    EXPECT_EQ(disk.content("a.settings"), "settings");
    EXPECT_FALSE(disk.exists("stage/x"));
  }
}

TEST(MemoryCrash, ASyncedDirectoryIsFoundWithTheNamesInIt) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    ASSERT_TRUE(disk.make_directory("d", 0700, Durable::kNo).has_value());
    ASSERT_TRUE(disk.make_directory("d/e", 0700, Durable::kNo).has_value());
    disk.create("d/e/x");
    disk.create("d/y");
    ASSERT_TRUE(disk.sync_directory("d/e").has_value());
    disk.crash(seed);
    EXPECT_TRUE(disk.exists("d/e/x")) << seed;
  }
}

TEST(MemoryCrash, ALinkIsNotKeptWithoutTheRenameBeforeIt) {
  std::set<std::set<std::string>> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    disk.create("a");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.rename("a", "b", RenameMode::kReplace, Durable::kNo).has_value());
    ASSERT_TRUE(disk.link("b", "c", Durable::kNo).has_value());
    disk.crash(seed);
    outcomes.insert(disk.names(""));
  }
  EXPECT_EQ(outcomes, (std::set<std::set<std::string>>{{"a"}, {"b"}, {"b", "c"}}));
}

TEST(MemoryCrash, AFileMovedByLinkAndRemovalIsNeverLost) {
  std::set<std::set<std::string>> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    disk.create("a");
    ASSERT_TRUE(disk.sync_directory("").has_value());
    ASSERT_TRUE(disk.link("a", "b", Durable::kNo).has_value());
    ASSERT_TRUE(disk.remove("a", Durable::kNo).has_value());
    disk.crash(seed);
    outcomes.insert(disk.names(""));
  }
  EXPECT_EQ(outcomes, (std::set<std::set<std::string>>{{"a"}, {"a", "b"}, {"b"}}));
}

TEST(MemoryCrash, ARemovedDirectoryTakesItsUnsyncedNamesWithIt) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Disk disk;
    ASSERT_TRUE(disk.make_directory("d", 0700, Durable::kYes).has_value());
    disk.create("d/x");
    if (seed % 2 == 0) ASSERT_TRUE(disk.sync_directory("d").has_value());
    ASSERT_TRUE(disk.remove("d/x", Durable::kNo).has_value());
    bool durable = seed % 3 == 0;
    ASSERT_TRUE(disk.remove_directory("d", durable ? Durable::kYes : Durable::kNo).has_value());
    disk.crash(seed);
    if (durable) EXPECT_FALSE(disk.exists("d"));
    if (!disk.exists("d")) EXPECT_EQ(disk.names(""), std::set<std::string>());
  }
}

TEST(MemoryCrash, TheSameSeedGivesTheSameOutcome) {
  auto run = [](uint64_t seed) {
    Disk disk;
    for (int i = 0; i < 40; ++i) {
      auto file = disk.create(fmt::format("f{}", i));
      disk.write_at(file, 0, fmt::format("content of {}", i), Durable::kNo);
    }
    disk.crash(seed);
    std::string all;
    for (const std::string& name : disk.names("")) all += name + "=" + disk.content(name) + ";";
    return all;
  };
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(run(seed), run(seed));
    different.insert(run(seed));
  }
  EXPECT_GT(different.size(), 5u);
}

// Random histories on a small tree: after any of them, and any crash, the disk is a tree in which everything
// that was made durable is found, and its room is what its files take.
TEST(MemoryCrash, RandomHistoriesEndInASoundTree) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SeededRandom random(seed);
    Disk disk;
    std::vector<std::string> directories{""};
    ASSERT_TRUE(disk.make_directory("p", 0700, Durable::kYes).has_value());
    ASSERT_TRUE(disk.make_directory("q", 0700, Durable::kYes).has_value());
    for (int step = 0; step < 200; ++step) {
      auto any_path = [&] {
        const char* parents[] = {"", "p/", "q/", "p/m/", "q/n/"};
        return std::string(parents[random.below(5)]) +
               static_cast<char>('m' + static_cast<char>(random.below(4)));
      };
      Durable durable = random.chance(0.2) ? Durable::kYes : Durable::kNo;
      std::string path = any_path(), second = any_path();
      RenameMode mode = static_cast<RenameMode>(random.below(3));
      switch (random.below(9)) {
        case 0: (void)disk.make_directory(path, 0700, durable); break;
        case 1: (void)disk.remove_directory(path, durable); break;
        case 2: (void)disk.remove(path, durable); break;
        case 3: (void)disk.rename(path, second, mode, durable); break;
        case 4: (void)disk.link(path, second, durable); break;
        case 5: (void)disk.sync_directory("p"); break;
        case 6: (void)disk.make_symlink("target", path, durable); break;
        default:
          if (auto file = disk.open(path, {.write = true, .create = true})) {
            disk.write_at(*file, random.below(10'000), std::string(random.below(5000), 'x'), durable);
            disk.close(*file);
          }
      }
      if (random.chance(0.02)) disk.crash(random.next());
    }
    ASSERT_TRUE(disk.make_directory("last", 0700, Durable::kYes).has_value());
    disk.crash(seed);
    EXPECT_TRUE(disk.exists("last"));
    // Walk it: links and room must agree with what is found.
    std::map<uint64_t, std::pair<uint32_t, Attributes>> found;
    std::vector<std::string> left{""};
    while (!left.empty()) {
      std::string at = left.back();
      left.pop_back();
      for (const std::string& name : disk.names(at)) {
        std::string path = at.empty() ? name : at + "/" + name;
        Attributes attributes = *disk.attributes(path);
        auto& entry = found[attributes.file_id];
        ++entry.first;
        entry.second = attributes;
        if (attributes.type == FileType::kDirectory) left.push_back(path);
      }
    }
    uint64_t room = 0;
    for (auto& [id, entry] : found) {
      room += entry.second.allocated;
      if (entry.second.type != FileType::kDirectory) EXPECT_EQ(entry.first, entry.second.links);
    }
    StoreSpace space = disk.space();
    EXPECT_EQ(space.bytes_total - space.bytes_free, room) << seed;
    EXPECT_EQ(space.files_total - space.files_free, found.size() + 1) << seed;
  }
}

TEST(MemoryCrash, AFullDiskRefusesWritesAndTakesThemAgainWhenRoomIsMade) {
  MemoryDiskOptions options;
  options.bytes_total = 64 * 1024;
  Disk disk(options);
  auto file = disk.create("f");
  disk.write_at(file, 0, std::string(60'000, 'x'), Durable::kYes);
  std::string more(10'000, 'y');
  std::string_view pieces[] = {more};
  EXPECT_EQ(disk.write(file, false, 60'000, pieces, Durable::kYes).error().code(), Code::kStoreFull);
  EXPECT_EQ(disk.attributes("f")->size, 60'000u);
  EXPECT_TRUE(disk.write(file, false, 0, pieces, Durable::kYes).has_value());  // over what is there already
  disk.close(file);
  ASSERT_TRUE(disk.remove("f", Durable::kYes).has_value());
  EXPECT_EQ(disk.space().bytes_free, options.bytes_total);
  disk.write_at(disk.create("g"), 0, more, Durable::kYes);
}

}  // namespace
}  // namespace canopy
