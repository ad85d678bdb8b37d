#include "tests/mount-model/player.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace canopy::mount_model {
namespace {

constexpr size_t kLastKept = 60;   // operations that are printed with a difference
constexpr size_t kNamesMax = 150;  // in the whole tree; beyond, nothing new is made
constexpr size_t kDepthMax = 4;
constexpr uint64_t kToldEvery = 100'000;
constexpr uint64_t kTurnsPerWhole = 16;  // turns between two comparisons of the whole tree

const std::string kNames[] = {"a", "b", "c", "d", "name with spaces", "e", "\xff\xfe", std::string(255, 'n')};

std::string printable(const std::string& text) {
  std::string out, short_text = text;
  while (true) {  // the longest name
    const size_t at = short_text.find(kNames[std::size(kNames) - 1]);
    if (at == std::string::npos) break;
    short_text.replace(at, kNames[std::size(kNames) - 1].size(), "NNN");
  }
  for (const char each : short_text.substr(0, 600)) {
    if (each >= 0x20 && each < 0x7f) {
      out += each;
    } else {
      char code[5];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned char>(each));
      out += code;
    }
  }
  return out;
}

std::string result_name(int error) {
  if (error == 0) return "ok";
  const char* name = strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

}  // namespace

Player::Player(PlayOptions options)
    : options_(std::move(options)), model_(!options_.without_exchange), state_(options_.seed) {}

Player::~Player() {
  for (const Held& held : held_) close(held.file);
}

// splitmix64 (Steele, Lea and Flood, 2014): the same everywhere, which std::'s distributions are not.
uint64_t Player::random(uint64_t below) {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (z ^ z >> 31) % below;
}

// Mostly a name in a directory that is there; now and then one below something else.
std::string Player::random_path() {
  std::string path;
  ModelNodeRef at = model_.root();
  for (size_t depth = 1; depth < kDepthMax && chance(60); ++depth) {
    std::vector<std::string> below;
    for (const auto& [name, child] : at->children) {
      if (child->is_directory()) below.push_back(name);
    }
    if (below.empty()) break;
    const std::string& name = below[random(below.size())];
    at = at->children.at(name);
    path += name + "/";
  }
  if (!at->children.empty() && chance(60))
    path += std::next(at->children.begin(), static_cast<ptrdiff_t>(random(at->children.size())))->first;
  else
    path += kNames[random(std::size(kNames))];
  if (chance(4)) path += "/" + kNames[random(std::size(kNames))];
  return path;
}

std::string Player::random_bytes() {
  const size_t size = chance(85) ? 1 + random(5000) : 1 + random(80'000);
  std::string out(size, '\0');
  const uint64_t start = random(UINT64_MAX);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>((start + i * (start | 1)) >> 8 | 1);
  return out;
}

uint64_t Player::random_offset(const ModelNode& in) {
  if (chance(70)) return random(in.content.size() + 1);
  return random(200'000);
}

void Player::begin(std::string what) {
  char head[48];
  std::snprintf(head, sizeof head, "%llu mount %d: ", static_cast<unsigned long long>(done_), mount_);
  last_.push_back(head + what);
  if (last_.size() > kLastKept) last_.pop_front();
}

void Player::expect(const char* what, const std::string& wanted, const std::string& got) {
  if (wanted == got || !same_) return;
  same_ = false;
  size_t at = 0;
  while (at < wanted.size() && at < got.size() && wanted[at] == got[at]) ++at;
  std::printf("what was done last:\n");
  for (const std::string& each : last_) std::printf("  %s\n", printable(each).c_str());
  const size_t from = at < 40 ? 0 : at - 40;
  std::printf(
      "difference in %s, at byte %zu\n  wanted (%zu bytes, from byte %zu): %s\n  got    (%zu bytes): %s\n",
      what, at, wanted.size(), from, printable(wanted.substr(from, 100)).c_str(), got.size(),
      printable(got.size() > from ? got.substr(from, 100) : "").c_str());
  std::printf("seed %llu, turn %llu, pause %u ms\n", static_cast<unsigned long long>(options_.seed),
              static_cast<unsigned long long>(options_.turn), options_.pause_ms);
}

void Player::expect_result(long result, int error) {
  const int got = result < 0 ? errno : 0;
  last_.back() += " -> " + result_name(error);
  expect("the result", result_name(error), result_name(got));
}

void Player::hand_over() {
  if (options_.pause_ms > 0) usleep(options_.pause_ms * 1000);
  mount_ = 1 - mount_;
  left_in_turn_ = 1 + random(options_.turn);
  if (random(kTurnsPerWhole) == 0) {
    begin("compare the whole tree");
    compare_all("", *model_.root());
  }
}

void Player::step() {
  struct Choice {
    unsigned weight;
    void (Player::*run)();
    bool makes;  // names, of which there are to be so many only
  };
  static constexpr Choice kChoices[] = {
      {8, &Player::create, true},          {3, &Player::make_directory, true},
      {2, &Player::make_symlink, true},    {4, &Player::link, true},
      {7, &Player::unlink, false},         {4, &Player::remove_directory, false},
      {8, &Player::rename, false},         {5, &Player::list, false},
      {8, &Player::look, false},           {1, &Player::read_link, false},
      {3, &Player::change_mode, false},    {3, &Player::set_times, false},
      {1, &Player::sync_directory, false}, {10, &Player::write, false},
      {4, &Player::append, false},         {8, &Player::read, false},
      {4, &Player::read_whole, false},     {4, &Player::truncate, false},
      {1, &Player::truncate_path, false},  {5, &Player::map_write, false},
      {4, &Player::map_read, false},       {4, &Player::allocate, false},
      {3, &Player::seek, false},           {1, &Player::sync, false},
      {3, &Player::hold, false},           {9, &Player::use_held, false},
      {2, &Player::release_held, false},
  };
  static constexpr unsigned kWhole = [] {
    unsigned sum = 0;
    for (const Choice& each : kChoices) sum += each.weight;
    return sum;
  }();
  uint64_t at = random(kWhole);
  const Choice* choice = kChoices;
  while (at >= choice->weight) at -= choice++->weight;
  if (!choice->makes || model_.names() < kNamesMax)
    (this->*choice->run)();
  else if (chance(50))
    unlink();
  else
    remove_directory();
}

bool Player::play() {
  left_in_turn_ = options_.turn;
  while (same_ && done_ < options_.operations) {
    if (left_in_turn_-- == 0) hand_over();
    step();
    if (++done_ % kToldEvery == 0)
      std::fprintf(stderr, "%llu operations so far\n", static_cast<unsigned long long>(done_));
  }
  for (int i = 0; same_ && i < 2; ++i) {
    hand_over();
    begin("compare the whole tree at the end");
    compare_all("", *model_.root());
  }
  return same_;
}

}  // namespace canopy::mount_model
