// What a player does with names and attributes.
#include <dirent.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "tests/mount-model/player.h"

namespace canopy::mount_model {
namespace {

uint32_t type_bits(const ModelNode& node) {
  switch (node.kind) {
    case ModelNode::Kind::kFile: return S_IFREG;
    case ModelNode::Kind::kDirectory: return S_IFDIR;
    case ModelNode::Kind::kSymlink: return S_IFLNK;
  }
  return 0;
}

char type_letter(uint32_t type) {
  return type == S_IFREG ? 'f' : type == S_IFDIR ? 'd' : type == S_IFLNK ? 'l' : '?';
}

}  // namespace

void Player::create() {
  const std::string path = random_path();
  int flags = O_RDWR | O_NOFOLLOW | O_CREAT;
  if (chance(60))
    flags |= O_EXCL;
  else if (chance(30))
    flags |= O_TRUNC;
  const uint32_t mode = 0600 | static_cast<uint32_t>(random(0200));
  begin("open " + path + " creating, flags " + std::to_string(flags));
  ModelNodeRef node;
  const int error = model_.open(path, flags, mode, node);
  const int file = ::open(real(path).c_str(), flags, mode);
  expect_result(file, error);
  if (file < 0) return;
  if (same_ && chance(50)) write_and_compare(file, *node, 0, random_bytes());
  close(file);
}

void Player::make_directory() {
  const std::string path = random_path();
  const uint32_t mode = 0700 | static_cast<uint32_t>(random(0100));
  begin("mkdir " + path);
  const int error = model_.make(path, ModelNode::Kind::kDirectory, mode);
  expect_result(mkdir(real(path).c_str(), mode), error);
}

void Player::make_symlink() {
  const std::string path = random_path();
  const std::string target = "leads nowhere " + std::to_string(random(1000));
  begin("symlink " + path);
  const int error = model_.make(path, ModelNode::Kind::kSymlink, 0777, target);
  expect_result(symlink(target.c_str(), real(path).c_str()), error);
}

void Player::link() {
  const std::string from = random_path(), to = random_path();
  begin("link " + from + " as " + to);
  const int error = model_.link(from, to);
  expect_result(::link(real(from).c_str(), real(to).c_str()), error);
}

void Player::unlink() {
  const std::string path = random_path();
  begin("unlink " + path);
  const int error = model_.unlink(path);
  expect_result(::unlink(real(path).c_str()), error);
}

void Player::remove_directory() {
  const std::string path = random_path();
  begin("rmdir " + path);
  const int error = model_.remove_directory(path);
  expect_result(rmdir(real(path).c_str()), error);
}

void Player::rename() {
  const std::string from = random_path(), to = random_path();
  const unsigned ways[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
  const unsigned flags = ways[random(std::size(ways))];
  begin("rename " + from + " to " + to + ", flags " + std::to_string(flags));
  // A directory that the other mount has moved has two places in the kernel's cache until its new one is
  // looked up, and a rename between two directories, which must not wait for that, says ESTALE
  // (d_splice_alias in fs/dcache.c). NFS has the same.
  struct stat seen = {};
  (void)lstat(real(from).c_str(), &seen);
  (void)lstat(real(to).c_str(), &seen);
  const int error = model_.rename(from, to, flags);
  expect_result(renameat2(AT_FDCWD, real(from).c_str(), AT_FDCWD, real(to).c_str(), flags), error);
}

void Player::list() {
  std::string path = random_path();
  if (chance(70)) {  // the directory that the path leads to, which is there more often
    const size_t slash = path.rfind('/');
    path = slash == std::string::npos ? "" : path.substr(0, slash);
  }
  begin("list " + path);
  ModelNodeRef node = model_.root();
  int error = 0;
  if (!path.empty()) {
    const Model::Found found = model_.find(path);
    error = found.missing();
    node = found.node;
    if (error == 0 && node->kind == ModelNode::Kind::kSymlink) error = ENOENT;
    if (error == 0 && !node->is_directory()) error = ENOTDIR;
  }
  DIR* directory = opendir(real(path).c_str());
  expect_result(directory == nullptr ? -1 : 0, error);
  if (directory == nullptr) return;
  std::multiset<std::string> names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..")
      names.insert(type_letter(static_cast<uint32_t>(DTTOIF(entry->d_type))) + name);
  }
  closedir(directory);
  if (error != 0) return;
  std::multiset<std::string> expected;
  for (const auto& [name, child] : node->children) expected.insert(type_letter(type_bits(*child)) + name);
  std::string wanted, got;
  for (const std::string& name : expected) wanted += name + ";";
  for (const std::string& name : names) got += name + ";";
  expect("the listing", wanted, got);
}

void Player::expect_attributes(const std::string& what, int got, const struct stat& real,
                               const ModelNode& node) {
  if (got != 0) {
    expect("stat", what + " is there", what + " gives errno " + std::to_string(errno));
    return;
  }
  auto text = [&](uint32_t mode, uint64_t links, uint64_t size, const timespec& modified) {
    std::string out = what + ": mode " + std::to_string(mode) + " links " + std::to_string(links);
    if (!node.is_directory()) out += " size " + std::to_string(size);
    if (node.modified)
      out += " modified " + std::to_string(modified.tv_sec) + "." + std::to_string(modified.tv_nsec);
    return out;
  };
  expect("attributes",
         text(node.mode | type_bits(node), node.links_seen(), node.content.size(),
              node.modified.value_or(timespec{})),
         text(real.st_mode, real.st_nlink, static_cast<uint64_t>(real.st_size), real.st_mtim));
}

void Player::look() {
  const std::string path = random_path();
  begin("stat " + path);
  const Model::Found found = model_.find(path);
  struct stat seen = {};
  const int got = lstat(real(path).c_str(), &seen);
  expect_result(got, found.missing());
  if (got == 0 && same_) expect_attributes(path, got, seen, *found.node);
}

void Player::read_link() {
  const std::string path = random_path();
  begin("readlink " + path);
  const Model::Found found = model_.find(path);
  int error = found.missing();
  if (error == 0 && found.node->kind != ModelNode::Kind::kSymlink) error = EINVAL;
  char target[256];
  const ssize_t got = readlink(real(path).c_str(), target, sizeof target);
  expect_result(got, error);
  if (got >= 0 && error == 0)
    expect("the target", found.node->content, std::string(target, static_cast<size_t>(got)));
}

void Player::change_mode() {
  const std::string path = random_path();
  const Model::Found found = model_.find(path);
  int error = found.missing();
  if (error == 0 && found.node->kind == ModelNode::Kind::kSymlink) error = ENOENT;  // it is followed
  const uint32_t mode = 0700 | static_cast<uint32_t>(random(0100));
  begin("chmod " + path + " " + std::to_string(mode));
  if (error == 0) found.node->mode = mode;
  expect_result(chmod(real(path).c_str(), mode), error);
}

void Player::set_times() {
  const std::string path = random_path();
  const Model::Found found = model_.find(path);
  const timespec to = {static_cast<time_t>(random(4'000'000'000)), static_cast<long>(random(1'000'000'000))};
  const timespec times[2] = {{0, UTIME_OMIT}, to};
  begin("utimens " + path);
  const int error = found.missing();
  if (error == 0) found.node->modified = to;
  if (error == 0 && options_.without_link_times && found.node->kind == ModelNode::Kind::kSymlink)
    found.node->modified.reset();
  expect_result(utimensat(AT_FDCWD, real(path).c_str(), times, AT_SYMLINK_NOFOLLOW), error);
}

void Player::sync_directory() {
  begin("fsync of the top");
  const int directory = ::open(options_.tops[mount_].c_str(), O_RDONLY | O_DIRECTORY);
  expect_result(directory < 0 ? -1 : fsync(directory), 0);
  if (directory >= 0) close(directory);
}

void Player::compare_all(const std::string& path, const ModelNode& directory) {
  for (const auto& [name, child] : directory.children) {
    if (!same_) return;
    const std::string below = path.empty() ? name : path + "/" + name;
    struct stat seen = {};
    expect_attributes(below, lstat(real(below).c_str(), &seen), seen, *child);
    if (!same_) return;
    if (child->is_directory()) compare_all(below, *child);
    if (!child->is_file()) continue;
    const int file = ::open(real(below).c_str(), O_RDONLY);
    expect("opening", below, file < 0 ? below + ": errno " + std::to_string(errno) : below);
    if (file < 0) return;
    read_and_compare(file, *child, 0, child->content.size() + 10);
    close(file);
  }
}

}  // namespace canopy::mount_model
