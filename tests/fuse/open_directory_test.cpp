#include "fuse/open_directory.h"

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
  void seek(OpenDirectory& directory, uint64_t position) {
    ASSERT_TRUE(loop->run_until_done(directory.seek(position, Listed::kNames)));
  }
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
