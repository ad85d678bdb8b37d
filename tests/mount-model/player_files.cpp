// What a player does with the content of files.
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/mount-model/player.h"

namespace canopy::mount_model {
namespace {

constexpr size_t kHeldMax = 6;

bool is_zero(const std::string& content, size_t from, size_t to) {
  for (size_t i = from; i < std::min(to, content.size()); ++i) {
    if (content[i] != '\0') return false;
  }
  return true;
}

}  // namespace

// The descriptor, or -1 after a comparison of the errors. `node` is a file then.
int Player::open_file(const std::string& path, int flags, ModelNodeRef& node) {
  flags |= O_NOFOLLOW;
  const int error = model_.open(path, flags, 0, node);
  const int file = ::open(real(path).c_str(), flags);
  expect_result(file, error);
  if (file >= 0 && (error != 0 || !node->is_file())) {
    close(file);
    return -1;
  }
  return file;
}

void Player::read_and_compare(int file, const ModelNode& node, uint64_t offset, size_t bytes) {
  std::string got(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t piece = pread(file, got.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (piece < 0) {
      expect("reading", "ok", "errno " + std::to_string(errno));
      return;
    }
    if (piece == 0) break;
    done += static_cast<size_t>(piece);
  }
  got.resize(done);
  expect("the content", offset >= node.content.size() ? "" : node.content.substr(offset, bytes), got);
}

void Player::write_and_compare(int file, ModelNode& node, uint64_t offset, const std::string& bytes) {
  last_.back() += ", write " + std::to_string(bytes.size()) + " at " + std::to_string(offset);
  node.write(offset, bytes);
  const ssize_t done = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  expect("bytes written", std::to_string(bytes.size()),
         done < 0 ? "errno " + std::to_string(errno) : std::to_string(done));
}

void Player::write() {
  const std::string path = random_path();
  begin("write to " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_WRONLY, node);
  if (file < 0) return;
  const int pieces = 1 + static_cast<int>(random(3));
  for (int i = 0; i < pieces && same_; ++i)
    write_and_compare(file, *node, random_offset(*node), random_bytes());
  close(file);
}

void Player::append() {
  const std::string path = random_path();
  begin("append to " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_WRONLY | O_APPEND, node);
  if (file < 0) return;
  const std::string bytes = node->content.size() > 300'000 ? "x" : random_bytes();
  last_.back() += ", " + std::to_string(bytes.size()) + " at " + std::to_string(node->content.size());
  node->write(node->content.size(), bytes);
  const ssize_t done = ::write(file, bytes.data(), bytes.size());
  expect("bytes appended", std::to_string(bytes.size()), std::to_string(done));
  close(file);
}

void Player::read() {
  const std::string path = random_path();
  begin("read " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDONLY, node);
  if (file < 0) return;
  read_and_compare(file, *node, random_offset(*node), 1 + random(20'000));
  close(file);
}

void Player::read_whole() {
  const std::string path = random_path();
  begin("read the whole of " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDONLY, node);
  if (file < 0) return;
  read_and_compare(file, *node, 0, node->content.size() + 1);
  close(file);
}

void Player::truncate() {
  const std::string path = random_path();
  begin("truncate " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDWR, node);
  if (file < 0) return;
  const uint64_t size = random_offset(*node);
  last_.back() += " to " + std::to_string(size);
  node->truncate(size);
  expect_result(ftruncate(file, static_cast<off_t>(size)), 0);
  if (same_) read_and_compare(file, *node, size < 5000 ? 0 : size - 5000, 10'000);
  close(file);
}

void Player::truncate_path() {
  const std::string path = random_path();
  const Model::Found found = model_.find(path);
  int error = found.missing();
  if (error == 0 && found.node->kind == ModelNode::Kind::kSymlink) error = ENOENT;  // it is followed
  if (error == 0 && found.node->is_directory()) error = EISDIR;
  const uint64_t size = random(100'000);
  begin("truncate by path " + path + " to " + std::to_string(size));
  if (error == 0) found.node->truncate(size);
  expect_result(::truncate(real(path).c_str(), static_cast<off_t>(size)), error);
}

void Player::map_write() {
  const std::string path = random_path();
  begin("write in memory " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDWR, node);
  if (file < 0) return;
  const size_t size = node->content.size();
  if (size > 0) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    expect("mmap", "ok", at == MAP_FAILED ? "errno " + std::to_string(errno) : "ok");
    if (at != MAP_FAILED) {
      const uint64_t offset = random(size);
      const std::string bytes = random_bytes().substr(0, size - offset);
      last_.back() += ", " + std::to_string(bytes.size()) + " at " + std::to_string(offset);
      node->write(offset, bytes);
      std::memcpy(static_cast<char*>(at) + offset, bytes.data(), bytes.size());
      if (chance(50)) expect_result(msync(at, size, MS_SYNC), 0);
      if (same_ && chance(50)) read_and_compare(file, *node, offset, bytes.size());
      munmap(at, size);
    }
  }
  close(file);
}

void Player::map_read() {
  const std::string path = random_path();
  begin("read in memory " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDONLY, node);
  if (file < 0) return;
  struct stat seen = {};
  expect_attributes(path, fstat(file, &seen), seen, *node);  // beyond the real end would be SIGBUS
  const size_t size = node->content.size();
  if (same_ && size > 0) {
    void* at = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    expect("mmap", "ok", at == MAP_FAILED ? "errno " + std::to_string(errno) : "ok");
    if (at != MAP_FAILED) {
      expect("the content in memory", node->content, std::string(static_cast<char*>(at), size));
      munmap(at, size);
    }
  }
  close(file);
}

void Player::allocate() {
  const std::string path = random_path();
  begin("allocate in " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDWR, node);
  if (file < 0) return;
  const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_ZERO_RANGE};
  const int mode = modes[random(std::size(modes))];
  const uint64_t offset = random_offset(*node), bytes = 1 + random(60'000);
  last_.back() +=
      ", mode " + std::to_string(mode) + ": " + std::to_string(bytes) + " at " + std::to_string(offset);
  if (!options_.without_room) {
    if (mode == 0 && node->content.size() < offset + bytes) node->truncate(offset + bytes);
    if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
      node->clear(offset, bytes, (mode & FALLOC_FL_KEEP_SIZE) != 0);
    node->modified.reset();
  }
  expect_result(fallocate(file, mode, static_cast<off_t>(offset), static_cast<off_t>(bytes)),
                options_.without_room ? EOPNOTSUPP : 0);
  if (same_) read_and_compare(file, *node, offset < 100 ? 0 : offset - 100, bytes + 200);
  close(file);
}

// Where holes lie is the store's business; that there is nothing but zeros in them is not.
void Player::seek_and_compare(int file, const ModelNode& node, uint64_t offset, bool hole) {
  const off_t found = lseek(file, static_cast<off_t>(offset), hole ? SEEK_HOLE : SEEK_DATA);
  const std::string& all = node.content;
  if (found < 0) {
    expect("errno of a seek", "ENXIO", errno == ENXIO ? "ENXIO" : std::to_string(errno));
    const bool right = offset >= all.size() || (!hole && is_zero(all, offset, all.size()));
    expect("nothing behind it", "yes", right ? "yes" : "no");
    return;
  }
  const auto at = static_cast<size_t>(found);
  expect("a seek's result within the file", "yes",
         at >= offset && at <= all.size() ? "yes" : std::to_string(found));
  if (!same_) return;
  if (!hole) {
    expect("zeros before the data", "yes", is_zero(all, offset, at) ? "yes" : "no");
  } else if (at < all.size()) {
    const off_t data = lseek(file, found, SEEK_DATA);
    const size_t end = data < 0 ? all.size() : static_cast<size_t>(data);
    expect("zeros in the hole", "yes", is_zero(all, at, end) ? "yes" : "no");
  }
}

void Player::seek() {
  const std::string path = random_path();
  begin("seek in " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDONLY, node);
  if (file < 0) return;
  seek_and_compare(file, *node, random_offset(*node), chance(50));
  close(file);
}

void Player::sync() {
  const std::string path = random_path();
  begin("fsync " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_WRONLY, node);
  if (file < 0) return;
  expect_result(chance(50) ? fsync(file) : fdatasync(file), 0);
  close(file);
}

// ------------------------------------------------------------------------------------------------ held open

void Player::hold() {
  if (held_.size() >= kHeldMax) {
    release_held();
    return;
  }
  const std::string path = random_path();
  begin("open and hold " + path);
  ModelNodeRef node;
  const int file = open_file(path, O_RDWR, node);
  if (file >= 0) held_.push_back(Held{file, mount_, node});
}

void Player::use_held() {
  std::vector<Held*> mine;
  for (Held& each : held_) {
    if (each.mount == mount_) mine.push_back(&each);
  }
  if (mine.empty()) return;
  const Held& held = *mine[random(mine.size())];
  begin("held file " + std::to_string(held.file));
  ModelNode& node = *held.node;
  switch (random(5)) {
    case 0: write_and_compare(held.file, node, random_offset(node), random_bytes()); break;
    case 1: {
      const uint64_t size = random_offset(node);
      last_.back() += " truncate to " + std::to_string(size);
      node.truncate(size);
      expect_result(ftruncate(held.file, static_cast<off_t>(size)), 0);
      break;
    }
    case 2: {
      struct stat seen = {};
      last_.back() += " fstat";
      expect_attributes("the held file", fstat(held.file, &seen), seen, node);
      break;
    }
    default:
      last_.back() += " read";
      read_and_compare(held.file, node, random_offset(node), 1 + random(20'000));
  }
}

void Player::release_held() {
  if (held_.empty()) return;
  const size_t at = random(held_.size());
  begin("close the held file " + std::to_string(held_[at].file));
  close(held_[at].file);
  held_.erase(held_.begin() + static_cast<ptrdiff_t>(at));
}

}  // namespace canopy::mount_model
