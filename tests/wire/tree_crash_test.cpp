// What a client of the Tree service has synced survives the power: random files and names, a backend that is
// killed anywhere, and a disk that loses, tears and reorders what was not synced.
#include "tests/wire/tree_fixture.h"

namespace canopy::wire {
namespace {

constexpr uint64_t kFirstEpoch = 1ull << 32 | 1;
constexpr int kSeeds = 150;
constexpr int kOperations = 60;

// A file as the client knows it.
struct Known {
  uint64_t handle = 0;
  std::string content, synced;  // `synced` has been promised, as far as `changed` says nothing else
  std::set<size_t> changed;     // bytes written since, which may be either
  bool named = false;           // its name has been promised
};

class TreeCrashTest : public TreeTest {
 protected:
  void make_file(Client& client, SeededRandom& random) {
    const std::string path = fmt::format("{}/{}", directory_, ++made_);
    v1::TreeOpenRequest request;
    request.set_path(path);
    request.set_handle(made_);
    request.set_write(true);
    request.set_create(true);
    request.set_exclusive(true);
    request.set_mode(0600);
    if (run(TreeStub(client).open(request)))
      files_[path] = Known{.handle = made_, .content = {}, .synced = {}, .changed = {}};
    write(client, path, random);
  }

  void write(Client& client, const std::string& path, SeededRandom& random) {
    const auto at = files_.find(path);
    if (at == files_.end()) return;
    Known& file = at->second;
    const std::string data(1 + random.below(9000), static_cast<char>('a' + random.below(26)));
    const uint64_t offset = random.below(file.content.size() + 1);
    // Also when no answer comes it may have been done.
    for (size_t i = offset; i < std::min(offset + data.size(), file.synced.size()); ++i)
      file.changed.insert(i);
    v1::TreeWriteRequest request;
    request.set_handle(file.handle);
    request.set_offset(offset);
    request.set_data(data);
    if (!run(TreeStub(client).write(request))) return;
    if (file.content.size() < offset + data.size()) file.content.resize(offset + data.size());
    file.content.replace(offset, data.size(), data);
  }

  void sync(Client& client, Known& file) {
    v1::TreeSyncRequest request;
    request.set_handle(file.handle);
    if (!run(TreeStub(client).sync(request))) return;
    ++promises_;
    file.synced = file.content;
    file.changed.clear();
  }

  void sync_names(Client& client) {
    v1::TreeSyncRequest request;
    request.set_path(directory_);
    if (!run(TreeStub(client).sync(request))) return;
    for (auto& [path, file] : files_) file.named = true;
    gone_for_good_.insert(gone_.begin(), gone_.end());
    gone_.clear();
  }

  void rename(Client& client, SeededRandom& random) {
    const auto from = any(random);
    v1::TreeRenameRequest request;
    request.set_from(from->first);
    request.set_to(fmt::format("{}/{}", directory_, ++made_));
    const bool done = run(TreeStub(client).rename(request)).has_value();
    Known file = std::move(from->second);
    const bool lost_track = file.named;  // it has one of two names until the next promise
    file.named = false;
    if (!lost_track) gone_.insert(from->first);
    files_.erase(from);
    if (done) files_[request.to()] = std::move(file);
  }

  void remove(Client& client, SeededRandom& random) {
    const auto file = any(random);
    v1::TreeRemoveRequest request;
    request.set_path(file->first);
    if (run(TreeStub(client).remove(request))) gone_.insert(file->first);
    files_.erase(file);
  }

  std::map<std::string, Known>::iterator any(SeededRandom& random) {
    return std::next(files_.begin(), static_cast<ptrdiff_t>(random.below(files_.size())));
  }

  void do_something(Client& client, SeededRandom& random) {
    const uint64_t which = files_.empty() ? 0 : random.below(10);
    switch (which) {
      case 0:
      case 1: make_file(client, random); break;
      case 2:
      case 3:
      case 4: write(client, any(random)->first, random); break;
      case 5:
      case 6: sync(client, any(random)->second); break;
      case 7: sync_names(client); break;
      case 8: rename(client, random); break;
      default: remove(client, random);
    }
  }

  void expect_what_was_promised(TreeBackend& on, uint64_t seed) {
    for (const auto& [path, file] : files_) {
      if (!file.named) continue;
      auto content = on.run(read_file(on.store(), path, 16u << 20));
      ASSERT_TRUE(content) << "seed " << seed << ": " << content.error().to_string();
      ASSERT_GE(content->size(), file.synced.size()) << "seed " << seed << ": " << path;
      for (size_t i = 0; i < file.synced.size(); ++i) {
        ASSERT_TRUE((*content)[i] == file.synced[i] || file.changed.contains(i))
            << "seed " << seed << ": byte " << i << " of " << path;
      }
    }
    for (const std::string& path : gone_for_good_)
      EXPECT_EQ(code_of(disk.attributes(path)), Code::kNotFound) << "seed " << seed << ": " << path;
  }

  std::map<std::string, Known> files_;
  std::set<std::string> gone_, gone_for_good_;
  std::string directory_;
  uint64_t made_ = 0, promises_ = 0;
};

TEST_F(TreeCrashTest, WhatWasSyncedIsThereAfterThePowerFailed) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SeededRandom random(seed);
    directory_ = fmt::format("SharedDomains/d/{}", seed);
    files_.clear();
    gone_.clear();
    gone_for_good_.clear();
    auto first = backend(kFirstEpoch + 2 * seed);
    ASSERT_TRUE(disk.make_directory(directory_, 0700, Durable::kYes));
    Client& client = first->client();
    if (random.chance(0.5)) first->kill_at(1 + random.below(200));
    for (int i = 0; i < kOperations; ++i) do_something(client, random);
    first.reset();
    disk.crash(seed);
    auto second = backend(kFirstEpoch + 2 * seed + 1);
    expect_what_was_promised(*second, seed);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(promises_, uint64_t{kSeeds});
}

}  // namespace
}  // namespace canopy::wire
