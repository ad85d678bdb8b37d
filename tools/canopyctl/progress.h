// Long work on the command line: a line of progress on stderr, and the place to go on from in a small file.
#pragma once

#include <chrono>
#include <string>

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

// Rewrites one line on a terminal; a line every few seconds elsewhere.
class Progress {
 public:
  explicit Progress(std::string what);  // "rows"
  void update(uint64_t done, uint64_t failed);
  void end();

 private:
  std::string what_;
  bool terminal_;
  std::chrono::steady_clock::time_point started_, shown_;
  bool any_ = false;
};

// JSON in a file that is replaced whole, so that a killed run leaves the last state or the one before.
class StateFile {
 public:
  explicit StateFile(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  // null when there is none; kDamaged when it is not ours.
  Result<Json> load() const;
  Result<void> save(const Json& state) const;
  void remove() const;

 private:
  std::string path_;
};

}  // namespace canopy::ctl
