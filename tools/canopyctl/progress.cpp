#include "tools/canopyctl/progress.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

namespace canopy::ctl {

static constexpr auto kTerminalInterval = std::chrono::milliseconds(250);
static constexpr auto kLogInterval = std::chrono::seconds(5);

Progress::Progress(std::string what)
    : what_(std::move(what)),
      terminal_(isatty(STDERR_FILENO) != 0),
      started_(std::chrono::steady_clock::now()),
      shown_(started_) {}

void Progress::update(uint64_t done, uint64_t failed) {
  const auto now = std::chrono::steady_clock::now();
  if (now - shown_ < (terminal_ ? std::chrono::milliseconds(kTerminalInterval) : kLogInterval)) return;
  shown_ = now;
  any_ = true;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  std::cerr << (terminal_ ? "\r" : "")
            << fmt::format("{} {}, {:.0f}/s{}", done, what_, static_cast<double>(done) / seconds,
                           failed == 0 ? "" : fmt::format(", {} failed", failed))
            << (terminal_ ? "\033[K" : "\n") << std::flush;
}

void Progress::end() {
  if (terminal_ && any_) std::cerr << '\n';
}

Result<Json> StateFile::load() const {
  std::ifstream file(path_);
  if (!file) return Json();
  Json state = Json::parse(file, nullptr, false);
  if (!state.is_object())
    return fail(Code::kDamaged, path_, "not a state file of canopyctl; move it away or give --restart");
  return state;
}

Result<void> StateFile::save(const Json& state) const {
  const std::string staged = path_ + ".new";
  std::ofstream file(staged, std::ios::trunc);
  file << state.dump() << '\n';
  file.close();
  if (!file)
    return fail(Code::kIo, staged, "the state cannot be written; without it the work could not go on later");
  std::error_code error;
  std::filesystem::rename(staged, path_, error);
  if (error) return fail_errno(error.value(), path_, "rename");
  return {};
}

void StateFile::remove() const {
  std::error_code error;
  std::filesystem::remove(path_, error);
}

}  // namespace canopy::ctl
