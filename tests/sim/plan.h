// Plan: everything that a seed decides before a simulation starts: which kind of store, how often it fails,
// how many clients do how much, and what happens to the processes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/account/accounts.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/faulty/faulty_store.h"

namespace canopy::sim {

// A store beside the root store.
struct StorePlan {
  bool shared = true;  // as below
  FaultPlan faults;
};

struct Plan {
  uint64_t seed = 0;

  // A shared store takes requests of a dead process late, and any number of processes; a local one neither.
  bool shared = true;
  bool journal = false;  // of replaced infos, on local stores
  FaultPlan faults;
  SimOptions network;
  AccountsOptions accounts;  // small bounds, so that checkpoints, rolls and compactions are frequent

  uint32_t clients = 3;
  uint32_t shared_accounts = 2;
  uint32_t operations = 30;  // of each client

  // What the processes meet. Chances are weights.
  Nanos calm_max = 2 * kSecond;  // between two events
  uint32_t kills = 3, power_cuts = 1, takeovers = 3, pauses = 1, cuts = 1;
  uint32_t relayouts =
      0;  // operations of the first client in a hundred that change how accounts are laid out
  uint32_t refolderings = 0;     // and that change the domain foldering
  uint32_t abandon_one_in = 30;  // failed attempts after which a client never asks again; 0: none

  // Several stores under a mount table, which that client changes as well.
  std::vector<StorePlan> others;
  uint32_t remounts = 0;  // operations of it in a hundred that do
  bool split = false;     // the table may put one domain on several stores
  uint32_t aways = 0;     // a weight, too: a store does not answer for a while

  bool any_shared() const;
  Nanos late_max() const;  // of any store

  static Plan draw(uint64_t seed);
  std::string to_string() const;
};

}  // namespace canopy::sim
