#include "fuse/node_table.h"

#include <algorithm>

#include "daemon/base/check.h"

namespace canopy::mount {
namespace {

template <class T>
void append_bytes(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

std::string NodeTable::name_key(const NodeRef& parent, std::string_view name) {
  std::string key;
  append_bytes(key, parent->number);
  key += name;
  return key;
}

std::string NodeTable::node_key(const View& view, std::string_view key) {
  std::string whole;
  append_bytes(whole, reinterpret_cast<uintptr_t>(&view));
  whole += key;
  return whole;
}

NodeTable::NodeTable(View& root_view) {
  auto root = std::make_shared<Node>();
  root->view = &root_view;
  root->number = kRoot;
  root->lookups = 1;  // never forgotten
  by_key_[node_key(root_view, "")] = root.get();
  by_number_[kRoot] = std::move(root);
}

NodeRef NodeTable::find(uint64_t number) const {
  auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : found->second;
}

Node* NodeTable::named(const NodeRef& parent, std::string_view name) const {
  auto found = by_name_.find(name_key(parent, name));
  return found == by_name_.end() ? nullptr : found->second;
}

void NodeTable::add_name(const NodeRef& node, const NodeRef& parent, std::string_view name) {
  Node*& holder = by_name_[name_key(parent, name)];
  if (holder == node.get()) return;
  if (holder != nullptr) {  // somebody else has put another thing there
    std::erase_if(holder->names,
                  [&](const NodeName& each) { return each.parent == parent && each.name == name; });
  }
  holder = node.get();
  node->names.insert(node->names.begin(), NodeName{parent, std::string(name)});
}

void NodeTable::take_name(Node& node, const NodeRef& parent, std::string_view name) {
  std::erase_if(node.names, [&](const NodeName& each) { return each.parent == parent && each.name == name; });
  by_name_.erase(name_key(parent, name));
}

NodeRef NodeTable::enter(View& view, std::string key, const NodeRef& parent, std::string_view name) {
  Node*& known = by_key_[node_key(view, key)];
  NodeRef node;
  if (known == nullptr) {
    node = std::make_shared<Node>();
    node->view = &view;
    node->key = std::move(key);
    node->number = next_number_++;
    known = node.get();
    by_number_[node->number] = node;
    order_.push_back(node->number);
  } else {
    node = by_number_.at(known->number);
  }
  ++node->lookups;
  add_name(node, parent, name);
  put_first(*node, parent, name);  // the others may be out of date: somebody else may have renamed it
  return node;
}

void NodeTable::put_first(Node& node, const NodeRef& parent, std::string_view name) {
  auto known = std::ranges::find_if(
      node.names, [&](const NodeName& each) { return each.parent == parent && each.name == name; });
  std::iter_swap(node.names.begin(), known);
}

bool NodeTable::try_next_name(Node& node) {
  if (node.names.size() < 2) return false;
  const NodeName stale = node.names.front();
  take_name(node, stale.parent, stale.name);
  return true;
}

void NodeTable::forget(uint64_t number, uint64_t lookups) {
  auto found = by_number_.find(number);
  if (found == by_number_.end() || number == kRoot) return;
  NodeRef node = found->second;
  CANOPY_CHECK(node->lookups >= lookups);
  node->lookups -= lookups;
  if (node->lookups != 0) return;
  while (!node->names.empty()) {
    const NodeName name = node->names.back();
    take_name(*node, name.parent, name.name);
  }
  auto by_key = by_key_.find(node_key(*node->view, node->key));
  if (by_key != by_key_.end() && by_key->second == node.get()) by_key_.erase(by_key);
  by_number_.erase(found);
}

void NodeTable::drop_name(const View& view, const NodeRef& parent, std::string_view name, bool last) {
  Node* node = named(parent, name);
  if (node == nullptr) return;
  take_name(*node, parent, name);
  const bool has_other_names = !node->names.empty() || (!node->directory && node->links > 1);
  if (!last && (has_other_names || !view.key_may_return(node->key))) return;
  auto by_key = by_key_.find(node_key(view, node->key));
  if (by_key != by_key_.end() && by_key->second == node) by_key_.erase(by_key);
}

void NodeTable::move_name(const NodeRef& from, std::string_view name, const NodeRef& to,
                          std::string_view new_name) {
  Node* node = named(from, name);
  if (node == nullptr) {
    drop_name(*from->view, to, new_name, false);
    return;
  }
  // Two names of one file: rename() does nothing to them. Or the new one was out of date; it holds now in any
  // case.
  if (named(to, new_name) == node) {
    put_first(*node, to, new_name);
    return;
  }
  drop_name(*from->view, to, new_name, false);
  NodeRef moved = by_number_.at(node->number);
  take_name(*node, from, name);
  add_name(moved, to, new_name);
}

void NodeTable::exchange_names(const NodeRef& from, std::string_view name, const NodeRef& to,
                               std::string_view new_name) {
  Node* first = named(from, name);
  Node* second = named(to, new_name);
  if (first == second) return;
  NodeRef one = first == nullptr ? nullptr : by_number_.at(first->number);
  NodeRef other = second == nullptr ? nullptr : by_number_.at(second->number);
  if (one) take_name(*one, from, name);
  if (other) take_name(*other, to, new_name);
  if (one) add_name(one, to, new_name);
  if (other) add_name(other, from, name);
}

NodeRef NodeTable::known(const View& view, std::string_view key) const {
  auto found = by_key_.find(node_key(view, key));
  return found == by_key_.end() ? nullptr : by_number_.at(found->second->number);
}

void NodeTable::forget_name(const NodeRef& parent, std::string_view name) {
  if (Node* node = named(parent, name)) take_name(*node, parent, name);
}

std::vector<NodeRef> NodeTable::old_ones(size_t most, bool directories_too) {
  std::vector<NodeRef> found;
  for (; most > 0 && !order_.empty(); --most) {
    const uint64_t number = order_.front();
    order_.pop_front();
    auto at = by_number_.find(number);
    if (at == by_number_.end()) continue;
    order_.push_back(number);
    if (at->second->directory && !directories_too) continue;
    if (at->second->open.empty() && at->second.use_count() == 1) found.push_back(at->second);
  }
  return found;
}

}  // namespace canopy::mount
