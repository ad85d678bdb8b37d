#include "tests/mount-model/model.h"

#include <linux/fs.h>

#include <algorithm>
#include <cerrno>

namespace canopy::mount_model {

uint32_t ModelNode::links_seen() const {
  if (!is_directory()) return links;
  uint32_t count = 2;
  for (const auto& [name, child] : children) count += child->is_directory();
  return count;
}

void ModelNode::write(size_t offset, std::string_view bytes) {
  if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
  std::ranges::copy(bytes, content.begin() + static_cast<ptrdiff_t>(offset));
  modified.reset();
}

void ModelNode::truncate(size_t size) {
  content.resize(size);
  modified.reset();
}

void ModelNode::clear(size_t offset, size_t bytes, bool keep_size) {
  if (!keep_size && content.size() < offset + bytes) content.resize(offset + bytes);
  const size_t end = std::min(offset + bytes, content.size());
  for (size_t i = offset; i < end; ++i) content[i] = '\0';
  modified.reset();
}

int Model::Found::missing() const {
  if (error != 0) return error;
  return node == nullptr ? ENOENT : 0;
}

Model::Model(bool exchanges) : root_(std::make_shared<ModelNode>()), exchanges_(exchanges) {
  root_->kind = ModelNode::Kind::kDirectory;
  root_->mode = 0755;
}

Model::Found Model::find(const std::string& path) const {
  Found found;
  ModelNodeRef at = root_;
  size_t begin = 0;
  while (true) {
    const size_t end = path.find('/', begin);
    const std::string name = path.substr(begin, end == std::string::npos ? end : end - begin);
    auto child = at->children.find(name);
    ModelNodeRef next = child == at->children.end() ? nullptr : child->second;
    if (end == std::string::npos) {
      found.parent = at;
      found.name = name;
      found.node = next;
      return found;
    }
    if (next == nullptr || next->kind == ModelNode::Kind::kSymlink)
      found.error = ENOENT;
    else if (!next->is_directory())
      found.error = ENOTDIR;
    if (found.error != 0) return found;
    at = next;
    begin = end + 1;
  }
}

void Model::attach(const Found& at, ModelNodeRef node) {
  at.parent->children[at.name] = std::move(node);
  at.parent->modified.reset();
  ++names_;
}

void Model::detach(const Found& at) {
  at.parent->children.erase(at.name);
  at.parent->modified.reset();
  --names_;
}

int Model::open(const std::string& path, int flags, uint32_t mode, ModelNodeRef& into) {
  const Found found = find(path);
  if (found.error != 0) return found.error;
  if (found.node == nullptr) {
    if ((flags & O_CREAT) == 0) return ENOENT;
    into = std::make_shared<ModelNode>();
    into->mode = mode;
    attach(found, into);
    return 0;
  }
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return EEXIST;
  if (found.node->kind == ModelNode::Kind::kSymlink) return ELOOP;
  if (found.node->is_directory() && ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0))
    return EISDIR;
  into = found.node;
  if ((flags & O_TRUNC) != 0) into->truncate(0);
  return 0;
}

int Model::make(const std::string& path, ModelNode::Kind kind, uint32_t mode, std::string target) {
  const Found found = find(path);
  if (found.error != 0) return found.error;
  if (found.node != nullptr) return EEXIST;
  auto node = std::make_shared<ModelNode>();
  node->kind = kind;
  node->mode = mode;
  node->content = std::move(target);
  attach(found, std::move(node));
  return 0;
}

int Model::link(const std::string& from, const std::string& to) {
  const Found source = find(from);
  if (const int error = source.missing()) return error;
  const Found target = find(to);
  if (target.error != 0) return target.error;
  if (target.node != nullptr) return EEXIST;
  if (source.node->is_directory()) return EPERM;
  ++source.node->links;
  attach(target, source.node);
  return 0;
}

int Model::unlink(const std::string& path) {
  const Found found = find(path);
  if (const int error = found.missing()) return error;
  if (found.node->is_directory()) return EISDIR;
  --found.node->links;
  detach(found);
  return 0;
}

int Model::remove_directory(const std::string& path) {
  const Found found = find(path);
  if (const int error = found.missing()) return error;
  if (!found.node->is_directory()) return ENOTDIR;
  if (!found.node->children.empty()) return ENOTEMPTY;
  detach(found);
  return 0;
}

bool Model::lies_in(const ModelNodeRef& node, const ModelNodeRef& directory) {
  if (node == directory) return true;
  return std::ranges::any_of(directory->children,
                             [&](const auto& child) { return lies_in(node, child.second); });
}

// The order of the errors is Linux' (fs/namei.c, do_renameat2 and vfs_rename).
int Model::rename(const std::string& from, const std::string& to, unsigned flags) {
  const Found source = find(from);
  if (source.error != 0) return source.error;
  const Found target = find(to);
  if (target.error != 0) return target.error;
  if (source.node == nullptr) return ENOENT;
  if ((flags & RENAME_NOREPLACE) != 0 && target.node != nullptr) return EEXIST;
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (exchange && target.node == nullptr) return ENOENT;
  if (source.node->is_directory() && lies_in(target.parent, source.node)) return EINVAL;
  if (target.node != nullptr && target.node->is_directory() && lies_in(source.parent, target.node))
    return exchange ? EINVAL : ENOTEMPTY;
  if (source.node == target.node) return 0;
  if (exchange && !exchanges_) return EOPNOTSUPP;
  if (exchange) {
    source.parent->children[source.name] = target.node;
    target.parent->children[target.name] = source.node;
    source.parent->modified.reset();
    target.parent->modified.reset();
    return 0;
  }
  if (target.node != nullptr) {
    if (source.node->is_directory() && !target.node->is_directory()) return ENOTDIR;
    if (!source.node->is_directory() && target.node->is_directory()) return EISDIR;
    if (!target.node->children.empty()) return ENOTEMPTY;
    --target.node->links;
    detach(target);
  }
  detach(source);
  attach(target, source.node);
  return 0;
}

}  // namespace canopy::mount_model
