// What is asked for again when others have changed a directory's place.
#include "fuse/tree_watch.h"

#include <gtest/gtest.h>

#include "tests/fuse/fake_view.h"

namespace canopy::mount {
namespace {

struct ExpiryTest : testing::Test {
  FakeView view;
  NodeTable nodes{view};
  NodeRef root = nodes.find(NodeTable::kRoot);
  Notifier notifier;  // not started: it counts

  NodeRef enter(const NodeRef& parent, const std::string& name) {
    return nodes.enter(view, name, parent, name);
  }
  size_t expired_below(const NodeRef& directory) {
    const size_t before = notifier.waiting();
    expire_below(nodes, notifier, *directory);
    return notifier.waiting() - before;
  }
};

TEST_F(ExpiryTest, WhatLiesBelowADirectoryIsAskedForAgainAndNothingElse) {
  NodeRef a = enter(root, "a");
  NodeRef deep = enter(enter(a, "b"), "deep");
  enter(enter(root, "x"), "y");
  EXPECT_EQ(expired_below(a), 4u);  // two nodes, and a name of each
  EXPECT_EQ(expired_below(deep), 0u);
  EXPECT_EQ(expired_below(root), 10u);
}

// Of two renames by others the events may come when the kernel has looked up what the second of them made.
TEST_F(ExpiryTest, NamesThatGoRoundInACircleAreAskedForAgainFromAnywhere) {
  NodeRef a = enter(root, "a");
  NodeRef b = enter(a, "b");
  NodeRef below = enter(b, "below");
  NodeRef other = enter(root, "other");
  nodes.move_name(root, "a", b, "a");
  ASSERT_EQ(a->names.front().parent, b);
  ASSERT_EQ(b->names.front().parent, a);
  EXPECT_EQ(expired_below(other), 6u);  // nobody knows where they lie
  EXPECT_EQ(expired_below(below), 6u);
  // A look at the right place mends it.
  nodes.enter(view, "a", root, "a");
  EXPECT_EQ(a->names.front().parent, root);
  EXPECT_EQ(expired_below(other), 0u);
  EXPECT_EQ(expired_below(b), 2u);
  a->names.clear();  // or those in the circle would keep each other for ever
  b->names.clear();
}

TEST_F(ExpiryTest, ADirectoryUnderItsOwnNameIsAskedForAgain) {
  NodeRef a = enter(root, "a");
  NodeRef other = enter(root, "other");
  nodes.move_name(root, "a", a, "a");
  EXPECT_EQ(expired_below(other), 2u);
  a->names.clear();  // or it would keep itself for ever
}

}  // namespace
}  // namespace canopy::mount
