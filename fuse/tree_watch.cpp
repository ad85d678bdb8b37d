#include "fuse/tree_watch.h"

#include "daemon/base/log.h"

namespace canopy::mount {
namespace {

constexpr uint32_t kPollSeconds = 20;
constexpr Nanos kAgain = 50 * kMillisecond;   // after a lost connection; the client itself backs off
constexpr Nanos kAgainRefused = 5 * kSecond;  // by a server that does not offer it
constexpr Nanos kSettles = kSecond;

std::string_view leaf_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

void expire_below(const NodeTable& nodes, Notifier& notifier, const Node& directory) {
  // What goes round in a circle is asked for again, too.
  auto lies_below = [&](const Node& node) {
    const Node* at = &node;
    for (size_t above = 0; !at->names.empty(); ++above) {
      at = at->names.front().parent.get();
      if (at == &directory || above == kRawPathElementsMax) return true;
    }
    return false;
  };
  nodes.for_each([&](const Node& node) {
    if (!lies_below(node)) return;
    notifier.expire_node(node.number, false);
    for (const NodeName& name : node.names) notifier.expire_name(name.parent->number, name.name);
  });
}

Task<void> TreeWatch::run() {
  while (true) {
    v1::TreeWatchRequest request;
    request.set_session(backend_.session());
    request.set_epoch(epoch_);
    request.set_cursor(cursor_);
    request.set_seconds(live_ ? kPollSeconds : 0);
    wire::CallOptions options;
    options.deadline = backend_.loop().now() + 2 * kPollSeconds * kSecond;
    options.retry = false;  // a lost connection is news
    auto answer = co_await backend_.tree().watch(request, options);
    if (!answer) {
      if (live_) expire_all();
      live_ = false;
      raw_.names().follow(false);
      co_await backend_.loop().sleep(answer.error().retryable() ? kAgain : kAgainRefused);
      continue;
    }
    if (!live_) {  // a new connection
      co_await raw_.reopen_all();
      co_await raw_.take_locks_again();
    }
    if (answer->lost()) expire_all();
    live_ = true;
    raw_.names().follow(true);
    epoch_ = answer->epoch();
    cursor_ = answer->cursor();
    for (const v1::TreeChange& change : answer->changes()) apply(change);
    if (answer->lost() || !answer->changes().empty()) changed_ = backend_.loop().now();
  }
}

bool TreeWatch::settled() const { return live_ && backend_.loop().now() - changed_ > kSettles; }

NodeRef TreeWatch::directory_of(std::string_view path) const {
  NodeRef at = nodes_.find(NodeTable::kRoot);
  while (at != nullptr) {
    const size_t slash = path.find('/');
    if (slash == std::string_view::npos) return at;
    const Node* next = nodes_.named(at, path.substr(0, slash));
    at = next == nullptr ? nullptr : nodes_.find(next->number);
    path.remove_prefix(slash + 1);
  }
  return at;
}

void TreeWatch::apply(const v1::TreeChange& change) {
  switch (change.kind()) {
    case v1::TreeChange::CONTENT:
      if (NodeRef node = nodes_.known(raw_, key_of(change.file()))) {
        node->content.reset();
        notifier_.expire_node(node->number, true);
      }
      return;
    case v1::TreeChange::NAME: return name_changed(change.path(), key_of(change.file()));
    case v1::TreeChange::MOVED: return name_moved(change);
    default: return expire_all();  // of a later version
  }
}

void TreeWatch::name_changed(const std::string& path, const std::string& key_now) {
  NodeRef directory = directory_of(path);
  if (directory == nullptr) return raw_.names().stray();
  const std::string name(leaf_of(path));
  raw_.names().came(*directory, name);
  const Node* known = nodes_.named(directory, name);
  if (known != nullptr && known->key != key_now) {
    notifier_.expire_node(known->number, false);
    forget_name(directory, name);
  }
  notifier_.expire_name(directory->number, name);
  notifier_.expire_node(directory->number, true);
}

void TreeWatch::name_moved(const v1::TreeChange& change) {
  NodeRef from = directory_of(change.path()), to = directory_of(change.to());
  const std::string name(leaf_of(change.path())), new_name(leaf_of(change.to()));
  const Node* moved = from == nullptr ? nullptr : nodes_.named(from, name);
  if (to == nullptr) {
    raw_.names().stray();
  } else {
    raw_.names().came(*to, new_name);
    const Node* replaced = nodes_.named(to, new_name);
    if (replaced != nullptr && replaced != moved) {
      notifier_.expire_node(replaced->number, false);
      forget_name(to, new_name);
    }
  }
  if (moved != nullptr && to != nullptr)
    nodes_.move_name(from, name, to, new_name);
  else if (moved != nullptr)
    forget_name(from, name);
  if (from != nullptr) {
    notifier_.expire_name(from->number, name);
    notifier_.expire_node(from->number, true);
  }
  if (to != nullptr) {
    notifier_.expire_name(to->number, new_name);
    notifier_.expire_node(to->number, true);
  }
}

// Of what lies below a directory without a name nothing is told any more.
void TreeWatch::forget_name(const NodeRef& directory, const std::string& name) {
  const Node* known = nodes_.named(directory, name);
  if (known != nullptr && known->directory) {
    raw_.names().forget_all();
    expire_below(nodes_, notifier_, *known);
  }
  nodes_.forget_name(directory, name);
}

void TreeWatch::expire_all() {
  raw_.names().forget_all();
  log_event(LogLevel::kInfo, "caches-dropped", "tree", {{"nodes", nodes_.size()}});
  nodes_.for_each([this](Node& node) {
    if (node.view != &raw_) return;
    node.content.reset();
    notifier_.expire_node(node.number, true);
    for (const NodeName& name : node.names) notifier_.expire_name(name.parent->number, name.name);
  });
}

}  // namespace canopy::mount
