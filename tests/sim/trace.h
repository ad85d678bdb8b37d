// What happened, a line an event, with virtual time; and the first violation, which ends a simulation.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "daemon/runtime/sim_loop.h"

namespace canopy::sim {

class Trace {
 public:
  Trace(const SimWorld& world, bool print) : world_(world), print_(print) {}

  bool printing() const { return print_; }
  template <class... Args>
  void event(fmt::format_string<Args...> format, Args&&... args) {
    if (!print_ && !hashing_) return;
    std::string line = fmt::format(format, std::forward<Args>(args)...);
    for (char c : line) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    if (print_) fmt::print("{:12.6f} {}\n", static_cast<double>(world_.now()) / kSecond, line);
  }
  // The first one counts.
  template <class... Args>
  void violation(fmt::format_string<Args...> format, Args&&... args) {
    std::string line = fmt::format(format, std::forward<Args>(args)...);
    event("VIOLATION {}", line);
    if (violation_.empty()) violation_ = std::move(line);
  }
  const std::string& violation() const { return violation_; }

  // Of all events: equal for equal runs.
  void hash_events() { hashing_ = true; }
  uint64_t hash() const { return hash_; }

 private:
  const SimWorld& world_;
  const bool print_;
  bool hashing_ = false;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::string violation_;
};

}  // namespace canopy::sim
