#include "tests/sim/plan.h"

#include <algorithm>

namespace canopy::sim {
namespace {

// Of small chances: often none at all, so that what happens can be told apart.
double chance(SimRandom& random, double most) {
  if (random.one_in(3)) return 0;
  return most * static_cast<double>(random.below(1000)) / 1000;
}

FaultPlan draw_faults(SimRandom& random, bool shared) {
  FaultPlan faults;
  faults.check_unclosed = false;  // processes die with open files
  faults.delay = chance(random, 0.6);
  faults.delay_max = random.between(kMillisecond, 30 * kMillisecond);
  faults.sync_delay = random.between(0, 3 * kMillisecond);
  faults.error = chance(random, 0.01);
  faults.error_code = random.one_in(2) ? Code::kIo : Code::kStoreUnavailable;
  faults.torn_write = chance(random, 0.02);
  if (shared) {
    faults.lost_answer = chance(random, 0.02);
    faults.late = chance(random, 0.02);
    faults.deadline = random.between(50 * kMillisecond, 800 * kMillisecond);
    faults.late_max = random.between(kSecond, 20 * kSecond);
  }
  return faults;
}

AccountsOptions draw_accounts(SimRandom& random) {
  AccountsOptions options;
  options.idle_close = random.one_in(2) ? 300 * kSecond : random.between(kSecond, 5 * kSecond);
  options.account.checkpoint_tail_bytes = random.between(1000, 20'000);
  options.account.garbage_bytes_min = random.between(1000, 40'000);
  options.account.slices_max = static_cast<uint32_t>(random.between(3, 16));
  options.log.slice_bytes_max = random.one_in(3) ? 256u << 20 : random.between(1500, 30'000);
  options.log.copy_chunk_bytes = random.between(500, 20'000);
  return options;
}

void draw_stores(SimRandom& random, Plan& plan) {
  const int64_t count = random.between(1, 2);
  for (int64_t i = 0; i < count; ++i) {
    // Where others may serve the tree, all of it must be there for them.
    StorePlan& other = plan.others.emplace_back();
    other.shared = plan.shared || random.one_in(2);
    other.faults = draw_faults(random, other.shared);
  }
  plan.remounts = static_cast<uint32_t>(random.between(3, 30));
  plan.split = !random.one_in(3);
  // A domain that lies on several stores gets no other place (docs/status.md).
  if (plan.split) plan.refolderings = 0;
  plan.aways = static_cast<uint32_t>(random.below(3));
}

}  // namespace

bool Plan::any_shared() const {
  return shared || std::ranges::any_of(others, [](const StorePlan& other) { return other.shared; });
}

Nanos Plan::late_max() const {
  Nanos most = faults.late_max;
  for (const StorePlan& other : others)
    if (other.shared) most = std::max(most, other.faults.late_max);
  return most;
}

Plan Plan::draw(uint64_t seed) {
  SimRandom random(seed * 0x9e3779b97f4a7c15 + 1);
  Plan plan;
  plan.seed = seed;
  plan.shared = !random.one_in(4);
  plan.faults = draw_faults(random, plan.shared);
  plan.network.break_one_in = random.one_in(2) ? 0 : static_cast<uint64_t>(random.between(200, 3000));
  plan.network.delay_max = random.between(200 * kMicrosecond, 10 * kMillisecond);
  plan.accounts = draw_accounts(random);
  plan.clients = static_cast<uint32_t>(random.between(1, 4));
  plan.shared_accounts = static_cast<uint32_t>(random.between(1, 2));
  plan.operations = static_cast<uint32_t>(random.between(20, 80));
  plan.calm_max = random.between(50 * kMillisecond, 1500 * kMillisecond);
  plan.kills = static_cast<uint32_t>(random.below(5));
  plan.power_cuts = static_cast<uint32_t>(random.below(3));
  plan.takeovers = plan.shared ? static_cast<uint32_t>(random.below(5)) : 0;
  plan.pauses = plan.shared ? static_cast<uint32_t>(random.below(4)) : 0;
  plan.cuts = static_cast<uint32_t>(random.below(2));
  plan.abandon_one_in = random.one_in(3) ? 0 : static_cast<uint32_t>(random.between(5, 50));
  plan.relayouts = random.one_in(3) ? 0 : static_cast<uint32_t>(random.between(3, 30));
  plan.journal = !plan.shared && seed % 2 == 0;
  plan.refolderings = random.one_in(2) ? 0 : static_cast<uint32_t>(random.between(3, 30));
  if (random.one_in(2)) draw_stores(random, plan);
  return plan;
}

std::string Plan::to_string() const {
  std::string stores = fmt::format("{} store{}", shared ? "shared" : "local", journal ? ", journaled" : "");
  for (const StorePlan& other : others)
    stores += fmt::format(", {} store (error {:.4f} lost {:.4f} late {:.4f} delay {:.2f})",
                          other.shared ? "shared" : "local", other.faults.error, other.faults.lost_answer,
                          other.faults.late, other.faults.delay);
  if (!others.empty()) stores += fmt::format(", remounts {} split {} away {}", remounts, split, aways);
  return fmt::format(
      "{}, {} clients of {} operations on {} accounts; faults: error {:.4f} lost {:.4f} late {:.4f} "
      "torn {:.4f} "
      "delay {:.2f}; weights: kill {} power {} takeover {} pause {} cut {}; relayouts {} refolderings {}",
      stores, clients, operations, shared_accounts, faults.error, faults.lost_answer, faults.late,
      faults.torn_write, faults.delay, kills, power_cuts, takeovers, pauses, cuts, relayouts, refolderings);
}

}  // namespace canopy::sim
