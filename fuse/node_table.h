// NodeTable: the numbers under which the kernel knows nodes. A number is never used for another node while
// the kernel remembers it. For the mount's loop.
#pragma once

#include <deque>
#include <string_view>
#include <unordered_map>

#include "fuse/view.h"

namespace canopy::mount {

class NodeTable {
 public:
  static constexpr uint64_t kRoot = 1;

  explicit NodeTable(View& root_view);

  // Null: the kernel asks for a number that it was never given.
  NodeRef find(uint64_t number) const;
  // The node of that key, known under that name from now on, which becomes the first of its names. Counts one
  // lookup of the kernel.
  NodeRef enter(View& view, std::string key, const NodeRef& parent, std::string_view name);
  // The kernel has forgotten so many lookups.
  void forget(uint64_t number, uint64_t lookups);

  // A name is gone. `last`: with it the thing itself, whose key may come back as another thing's. Of a file
  // that cannot be told from its known names: others may have names that the kernel has not looked up yet.
  void drop_name(const View& view, const NodeRef& parent, std::string_view name, bool last);
  void move_name(const NodeRef& from, std::string_view name, const NodeRef& to, std::string_view new_name);
  void exchange_names(const NodeRef& from, std::string_view name, const NodeRef& to,
                      std::string_view new_name);

  // Its first name has led to something else. False: it has no other.
  bool try_next_name(Node& node);

  // What is known under that name; null: nothing is.
  Node* named(const NodeRef& parent, std::string_view name) const;
  // By what it is; null: the kernel does not know it.
  NodeRef known(const View& view, std::string_view key) const;
  // Somebody else has taken the name away or given it to another thing.
  void forget_name(const NodeRef& parent, std::string_view name);
  template <class F>
  void for_each(F visit) const {
    for (const auto& [number, node] : by_number_) visit(*node);
  }
  size_t size() const { return by_number_.size(); }
  // Nodes that have been known for long, and that nobody needs here: no open files, and nothing below them.
  // Looks at `most` of them, and later at others.
  std::vector<NodeRef> old_ones(size_t most, bool directories_too);

 private:
  // As its first name.
  void add_name(const NodeRef& node, const NodeRef& parent, std::string_view name);
  static void put_first(Node& node, const NodeRef& parent, std::string_view name);
  void take_name(Node& node, const NodeRef& parent, std::string_view name);
  static std::string name_key(const NodeRef& parent, std::string_view name);
  static std::string node_key(const View& view, std::string_view key);

  std::unordered_map<uint64_t, NodeRef> by_number_;
  std::unordered_map<std::string, Node*> by_key_;
  std::unordered_map<std::string, Node*> by_name_;
  std::deque<uint64_t> order_;  // numbers, the longest known first; some are forgotten already
  uint64_t next_number_ = kRoot + 1;
};

}  // namespace canopy::mount
