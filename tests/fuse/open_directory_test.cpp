#include "fuse/open_directory.h"

#include <set>

#include <gtest/gtest.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/runtime/uring_loop.h"
#include "tests/fuse/fake_view.h"

namespace canopy::mount {
namespace {

struct OpenDirectoryTest : testing::Test {
  OpenDirectory directory_of(FakeView& view) {
    auto node = std::make_shared<Node>();
    node->view = &view;
    return OpenDirectory(node);
  }
  void seek(OpenDirectory& directory, uint64_t position, Listed what = Listed::kNames) {
    ASSERT_TRUE(loop->run_until_done(directory.seek(position, what, kRoom)));
  }
  static constexpr size_t kRoom = 3;  // that the reader has
  std::unique_ptr<UringLoop> loop = std::move(*UringLoop::create({.entries = 8}));
};

TEST_F(OpenDirectoryTest, EntriesComeOnceEachAndEachPageIsAskedForOnce) {
  FakeView view(35, 10);
  OpenDirectory directory = directory_of(view);
  uint64_t position = 0;
  for (;; ++position) {
    seek(directory, position);
    if (directory.at_end(position)) break;
    EXPECT_EQ(directory.entry(position).name, std::to_string(position));
  }
  EXPECT_EQ(position, 35u);
  EXPECT_EQ(view.pages, 4u);
}

TEST_F(OpenDirectoryTest, AnyPositionCanBeGoneTo) {
  FakeView view(35, 10);
  OpenDirectory directory = directory_of(view);
  for (uint64_t position : {0, 34, 3, 12, 30, 29, 35, 5}) {
    seek(directory, position);
    if (position == 35)
      EXPECT_TRUE(directory.at_end(position));
    else
      EXPECT_EQ(directory.entry(position).name, std::to_string(position));
  }
}

TEST_F(OpenDirectoryTest, FromTheStartItIsReadAnew) {
  FakeView view(5, 10);
  OpenDirectory directory = directory_of(view);
  seek(directory, 0);
  seek(directory, 3);
  EXPECT_EQ(view.pages, 1u);
  seek(directory, 0);
  EXPECT_EQ(view.pages, 2u);
}

TEST_F(OpenDirectoryTest, AttributesAreAskedForAPageAtATimeOnceTheReaderGoesOn) {
  FakeView view(35, 10);
  OpenDirectory directory = directory_of(view);
  for (uint64_t position = 0; position < 35; ++position) {
    seek(directory, position, Listed::kAttributes);
    ASSERT_FALSE(directory.at_end(position));
    EXPECT_EQ(directory.entry(position).name, std::to_string(position));
    EXPECT_NE(directory.entry(position).found, nullptr);
    if (position == 2) EXPECT_EQ(view.pages, 1u);
  }
  seek(directory, 35, Listed::kAttributes);
  EXPECT_TRUE(directory.at_end(35));
  EXPECT_EQ(view.pages, 5u);  // 3, 10, 10, 10, 2
}

TEST_F(OpenDirectoryTest, AReaderThatGoesOnWithAttributesMissesNothingThoughNamesWentMeanwhile) {
  for (bool has_cookies : {true, false}) {
    FakeView view(35, 10);
    view.has_cookies = has_cookies;
    OpenDirectory directory = directory_of(view);
    std::set<std::string> seen;
    for (uint64_t position = 0;; ++position) {
      seek(directory, position, position < 14 ? Listed::kNames : Listed::kAttributes);
      if (directory.at_end(position)) break;
      const Entry& entry = directory.entry(position);
      seen.insert(entry.name);
      if (has_cookies) EXPECT_EQ(entry.found != nullptr, position >= 14) << position;
      if (position < 14) view.gone.insert(position);  // as find -delete does
    }
    EXPECT_EQ(seen.size(), 35u);
  }
}

TEST_F(OpenDirectoryTest, AReaderThatGoesBackEndsAtTheEndThoughNamesWentMeanwhile) {
  FakeView view(35, 10);
  OpenDirectory directory = directory_of(view);
  for (uint64_t position : {0, 12, 34}) seek(directory, position);
  for (size_t i = 10; i < 20; ++i) view.gone.insert(i);
  seek(directory, 15);
  EXPECT_EQ(directory.entry(15).name, "25");
  seek(directory, 25);
  EXPECT_TRUE(directory.at_end(25));
}

TEST_F(OpenDirectoryTest, EmptyOnesAndPositionsBeyondTheEnd) {
  for (size_t entries : {0, 10, 20}) {
    FakeView view(entries, 10);
    OpenDirectory directory = directory_of(view);
    for (uint64_t position : {entries, entries + 1, entries + 1000}) {
      seek(directory, position);
      EXPECT_TRUE(directory.at_end(position)) << entries;
    }
  }
}

}  // namespace
}  // namespace canopy::mount
