// Player: makes up operations from a seed, carries each out on one of two mounts and in the model, and
// compares what they answer. What it does depends on the seed and the options alone, so that a run can be
// repeated. One thread.
//
// What it relies on is what docs/operations/mount.md promises: what was written or changed through one mount
// and then closed, synchronized or unmapped is seen through the other after the caches' time to live. So the
// mounts take turns, with a pause between them; within a turn there is none.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "tests/mount-model/model.h"

namespace canopy::mount_model {

struct PlayOptions {
  std::string tops[2];  // the same empty directory, seen through each mount
  uint64_t seed = 1;
  uint64_t operations = 100'000;
  uint64_t turn = 1000;    // operations through one mount at most before it is the other's turn
  unsigned pause_ms = 60;  // between two turns
  // What the store cannot do is refused and changes nothing.
  bool without_room = false, without_exchange = false;
  bool without_link_times = false;  // setting them may be passed over
};

class Player {
 public:
  explicit Player(PlayOptions options);
  ~Player();
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;
  // True when there was no difference; otherwise it has been printed, with what was done last.
  bool play();

 private:
  struct Held {  // a file that stays open
    int file;
    int mount;
    ModelNodeRef node;
  };

  uint64_t random(uint64_t below);
  bool chance(unsigned percent) { return random(100) < percent; }
  std::string random_path();
  std::string random_bytes();
  uint64_t random_offset(const ModelNode& in);
  std::string real(const std::string& path) const { return options_.tops[mount_] + "/" + path; }

  void step();
  void hand_over();
  void begin(std::string what);
  // Compare; `false` ends the run.
  void expect(const char* what, const std::string& wanted, const std::string& got);
  void expect_result(long result, int error);
  void expect_attributes(const std::string& what, int got, const struct stat& real, const ModelNode& node);

  // player_names.cpp
  void create();
  void make_directory();
  void make_symlink();
  void link();
  void unlink();
  void remove_directory();
  void rename();
  void list();
  void look();
  void read_link();
  void change_mode();
  void set_times();
  void sync_directory();
  void compare_all(const std::string& path, const ModelNode& directory);

  // player_files.cpp
  int open_file(const std::string& path, int flags, ModelNodeRef& node);
  void write();
  void append();
  void read();
  void read_whole();
  void truncate();
  void truncate_path();
  void map_write();
  void map_read();
  void allocate();
  void seek();
  void sync();
  void hold();
  void use_held();
  void release_held();
  void read_and_compare(int file, const ModelNode& node, uint64_t offset, size_t bytes);
  void write_and_compare(int file, ModelNode& node, uint64_t offset, const std::string& bytes);
  void seek_and_compare(int file, const ModelNode& node, uint64_t offset, bool hole);

  PlayOptions options_;
  Model model_;
  uint64_t state_;
  uint64_t done_ = 0;
  int mount_ = 0;
  uint64_t left_in_turn_ = 0;
  bool same_ = true;
  std::deque<std::string> last_;
  std::vector<Held> held_;
};

}  // namespace canopy::mount_model
