// The two kinds of loop as one fixture: every test that is typed over Hosts runs on the real loop, and on the
// simulated one with several seeds.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/runtime/sim_loop.h"
#include "daemon/runtime/uring_loop.h"

namespace canopy {

class UringHost {
 public:
  static constexpr uint64_t kSeeds = 1;
  explicit UringHost(uint64_t) {
    auto made = UringLoop::create();
    CANOPY_CHECK(made.has_value());
    loop_ = std::move(*made);
  }
  Loop& loop() { return *loop_; }
  Address address() const { return *Address::parse("tcp:127.0.0.1:0"); }
  void run(Task<void> task) { loop_->run_until_done(std::move(task)); }

 private:
  std::unique_ptr<UringLoop> loop_;
};

class UringUnixHost : public UringHost {
 public:
  explicit UringUnixHost(uint64_t seed)
      : UringHost(seed), path_(fmt::format("/tmp/canopy-runtime-{}.sock", getpid())) {}
  Address address() const { return *Address::parse("unix:" + path_); }

 private:
  std::string path_;
};

class SimHost {
 public:
  static constexpr uint64_t kSeeds = 50;
  explicit SimHost(uint64_t seed) : world_(seed), loop_(world_.add_loop("host")) {}
  Loop& loop() { return loop_; }
  Address address() const { return *Address::parse("tcp:127.0.0.1:0"); }
  void run(Task<void> task) {
    ASSERT_TRUE(world_.run_until_done(loop_, std::move(task), 1'000'000 * kSecond));
  }

 private:
  SimWorld world_;
  SimLoop& loop_;
};

template <class Host>
class OnEveryLoop : public testing::Test {
 protected:
  // Runs `program(loop, address)` on a fresh loop for every seed.
  template <class Program>
  void run(Program program) {
    for (uint64_t seed = 1; seed <= Host::kSeeds; ++seed) {
      SCOPED_TRACE(fmt::format("seed {}", seed));
      Host host(seed);
      host.run(program(host.loop(), host.address()));
      if (this->HasFatalFailure()) return;
    }
  }
};

using Hosts = testing::Types<UringHost, UringUnixHost, SimHost>;

}  // namespace canopy
