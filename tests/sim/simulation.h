// Simulation: one seed: a site, its processes and clients, what happens to them, and the checks at the end.
#pragma once

#include "tests/sim/client.h"

namespace canopy::sim {

struct SimulationOptions {
  Bug bug = Bug::kNone;
  bool trace = false;
  bool trace_store = false;
  bool hash = false;  // of all events, for comparing runs
};

struct Verdict {
  std::string violation;  // empty: nothing was wrong
  uint64_t steps = 0;
  uint64_t hash = 0;
  Nanos took = 0;  // virtual
};

class Simulation {
 public:
  Simulation(const Plan& plan, const SimulationOptions& options);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Verdict run();

 private:
  enum class Event {
    kKill,
    kKillAtOperation,
    kPowerCut,
    kPowerCutAtOperation,
    kTakeover,
    kPause,
    kCut,
    kStoreAway,
  };
  void set_up();
  void chaos();
  void calm();
  bool all_ended() const;
  bool run_until(const std::function<bool()>& condition, Nanos time_max);

  void next_event();
  Event draw_event();
  bool lacks_backend();
  void keep_one_alive();
  void start_backend();
  // Of one store, or of all; every process ends with it.
  std::optional<size_t> draw_store();
  void power_cut(std::optional<size_t> store);
  void store_away();
  void store_back();
  Backend* newest();  // alive; null: none is
  std::vector<Backend*> alive();

  struct Everything {
    std::map<size_t, Seen> accounts;     // that all clients share
    std::map<size_t, SeenAccounts> own;  // by client
  };
  void settle_layout();
  void read_all(Everything& seen);
  void check_stages();
  void verify(const Everything& seen);
  void compare(const Everything& before, const Everything& after);

  const Plan plan_;
  std::vector<MemoryDisk> disks_;  // of the stores
  SimWorld world_;
  Trace trace_;
  SimRandom chance_;  // of what happens to the processes
  WorkerPool workers_;
  Site site_;
  std::vector<Address> addresses_;
  std::vector<std::shared_ptr<AccountFacts>> accounts_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::unique_ptr<SimClient> admin_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  Nanos next_event_at_ = 0;
  Nanos restart_at_ = kNever;
  Nanos resume_at_ = kNever;
  SimLoop* paused_ = nullptr;
  Nanos store_back_at_ = kNever;
  bool power_cut_due_ = false;
  std::optional<size_t> power_cut_of_;  // which store
};

Verdict simulate(uint64_t seed, const SimulationOptions& options);

}  // namespace canopy::sim
