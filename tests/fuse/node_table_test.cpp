#include "fuse/node_table.h"

#include <gtest/gtest.h>

#include "tests/fuse/fake_view.h"

namespace canopy::mount {
namespace {

struct NodeTableTest : testing::Test {
  FakeView view;
  NodeTable nodes{view};
  NodeRef root = nodes.find(NodeTable::kRoot);
};

TEST_F(NodeTableTest, AThingHasOneNumberUnderAllItsNamesUntilItIsForgotten) {
  NodeRef first = nodes.enter(view, "17", root, "a");
  NodeRef again = nodes.enter(view, "17", root, "b");
  EXPECT_EQ(first, again);
  EXPECT_EQ(first->names.size(), 2u);
  nodes.forget(first->number, 1);
  EXPECT_EQ(nodes.find(first->number), first);
  nodes.forget(first->number, 1);
  EXPECT_EQ(nodes.find(first->number), nullptr);
  EXPECT_NE(nodes.enter(view, "17", root, "a")->number, first->number);
}

TEST_F(NodeTableTest, TheNameThatWasFoundLastIsTheFirstAndAStaleOneGivesWayToTheNext) {
  NodeRef node = nodes.enter(view, "17", root, "a");
  nodes.enter(view, "17", root, "b");  // it may have been renamed by somebody else
  EXPECT_EQ(node->names.front().name, "b");
  nodes.enter(view, "17", root, "a");
  EXPECT_EQ(node->names.front().name, "a");
  EXPECT_TRUE(nodes.try_next_name(*node));
  EXPECT_EQ(node->names.front().name, "b");
  EXPECT_EQ(nodes.named(root, "a"), nullptr);
  EXPECT_FALSE(nodes.try_next_name(*node));
  nodes.enter(view, "17", root, "stale");
  nodes.enter(view, "17", root, "b");
  nodes.move_name(root, "b", root, "c");
  EXPECT_EQ(node->names.front().name, "c");
  EXPECT_TRUE(nodes.try_next_name(*node));
  EXPECT_EQ(node->names.size(), 1u);
}

TEST_F(NodeTableTest, TwoViewsMayUseOneKey) {
  FakeView other;
  EXPECT_NE(nodes.enter(view, "17", root, "a"), nodes.enter(other, "17", root, "b"));
}

TEST_F(NodeTableTest, ARemovedThingKeepsItsNumberButNotItsKey) {
  NodeRef removed = nodes.enter(view, "17", root, "a");
  nodes.drop_name(view, root, "a", false);
  EXPECT_TRUE(removed->names.empty());
  EXPECT_EQ(nodes.find(removed->number), removed);
  NodeRef successor = nodes.enter(view, "17", root, "a");
  EXPECT_NE(successor, removed);
  nodes.forget(removed->number, 1);
  EXPECT_EQ(nodes.enter(view, "17", root, "a"), successor);
}

TEST_F(NodeTableTest, AFileWithANameThatIsNotKnownYetStaysTheSameWhenItLosesTheLastKnownOne) {
  NodeRef file = nodes.enter(view, "17", root, "a");
  file->links = 2;
  nodes.drop_name(view, root, "a", false);
  EXPECT_EQ(nodes.enter(view, "17", root, "b"), file);
  // Where keys do not return, also when others have made the second name since.
  view.keys_return = false;
  file->links = 1;
  nodes.drop_name(view, root, "b", false);
  EXPECT_EQ(nodes.enter(view, "17", root, "c"), file);
  // The second name of a directory is its own.
  view.keys_return = true;
  NodeRef directory = nodes.enter(view, "18", root, "d");
  directory->directory = true;
  directory->links = 2;
  nodes.drop_name(view, root, "d", false);
  EXPECT_NE(nodes.enter(view, "18", root, "e"), directory);
}

TEST_F(NodeTableTest, DirectoriesAreOldOnesOnlyWhenThatIsSaid) {
  nodes.enter(view, "1", root, "d")->directory = true;
  const uint64_t file = nodes.enter(view, "17", root, "a")->number;
  ASSERT_EQ(nodes.old_ones(10, false).size(), 1u);
  EXPECT_EQ(nodes.old_ones(10, false)[0]->number, file);
  EXPECT_EQ(nodes.old_ones(10, true).size(), 2u);
}

TEST_F(NodeTableTest, ANameThatSomebodyElseGaveAwayIsTheNewThings) {
  NodeRef before = nodes.enter(view, "17", root, "a");
  NodeRef after = nodes.enter(view, "18", root, "a");
  EXPECT_TRUE(before->names.empty());
  ASSERT_EQ(after->names.size(), 1u);
  EXPECT_EQ(after->names[0].name, "a");
}

TEST_F(NodeTableTest, ARenameMovesTheNameAndWhatLayThereLosesIt) {
  NodeRef directory = nodes.enter(view, "1", root, "d");
  NodeRef moved = nodes.enter(view, "17", root, "a");
  NodeRef replaced = nodes.enter(view, "18", directory, "b");
  nodes.move_name(root, "a", directory, "b");
  ASSERT_EQ(moved->names.size(), 1u);
  EXPECT_EQ(moved->names[0].parent, directory);
  EXPECT_EQ(moved->names[0].name, "b");
  EXPECT_TRUE(replaced->names.empty());
}

TEST_F(NodeTableTest, ARenameBetweenTwoNamesOfOneFileChangesNothing) {
  NodeRef node = nodes.enter(view, "17", root, "a");
  nodes.enter(view, "17", root, "b");
  nodes.enter(view, "17", root, "a");
  nodes.move_name(root, "a", root, "b");
  EXPECT_EQ(node->names.size(), 2u);
  EXPECT_EQ(node->names.front().name, "b");  // which is there also when it was out of date
}

TEST_F(NodeTableTest, AnExchangeSwapsNames) {
  NodeRef one = nodes.enter(view, "17", root, "a");
  NodeRef other = nodes.enter(view, "18", root, "b");
  nodes.exchange_names(root, "a", root, "b");
  EXPECT_EQ(one->names.at(0).name, "b");
  EXPECT_EQ(other->names.at(0).name, "a");
}

TEST_F(NodeTableTest, TheRootIsNeverForgotten) {
  nodes.forget(NodeTable::kRoot, 1);
  EXPECT_EQ(nodes.find(NodeTable::kRoot), root);
  EXPECT_EQ(nodes.find(12345), nullptr);
}

}  // namespace
}  // namespace canopy::mount
