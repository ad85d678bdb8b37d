// How a server does, from what its connections saw: the circuit breaker and the figures. Pure: time comes
// from the caller.
#pragma once

#include <array>
#include <string>

#include "daemon/runtime/loop.h"

namespace canopy {

enum class ServerState : uint8_t {
  kUp,
  kSlow,  // something is wrong or late; operations wait for it within their limit
  kDown,  // nothing was answered for a whole hard limit: operations fail at once until something is
};
std::string_view server_state_name(ServerState state);

// Microseconds in powers of two: bucket i counts answers that took less than 2^i us, and no less than half.
struct LatencyHistogram {
  std::array<uint64_t, 32> buckets{};
  void add(Nanos latency);
  uint64_t count() const;
  // The upper end of the bucket in which the given share (0 … 1) of all answers is reached; 0 without any.
  Nanos at_most(double share) const;
};

struct ServerFigures {
  ServerState state = ServerState::kUp;
  Nanos since = 0;  // the state, Loop::now()
  uint64_t connections = 0, in_flight = 0, waiting = 0;
  uint64_t answers = 0;
  uint64_t lost_answers = 0;  // calls on connections that broke
  uint64_t delays = 0;        // JUKEBOX and DELAY answers
  uint64_t connections_broken = 0, connects_failed = 0;
  uint64_t operations_given_up = 0;  // after the hard limit, or refused while down
  LatencyHistogram latency;
  std::string last_problem;
};

namespace nfs {

// A call that is answered, or a connection that is made, ends the trouble that a failure began.
class ServerHealth {
 public:
  ServerHealth(Nanos hard_limit, Nanos now) : hard_limit_(hard_limit), since_(now) {}

  void answered(Nanos now, Nanos latency);
  void failed(Nanos now, std::string why);  // a connection broke or was not made
  // Looks at the clock; true when the state has changed. oldest_sent_at: kNever when nothing is under way.
  bool update(Nanos now, Nanos oldest_sent_at);

  ServerState state() const { return state_; }
  Nanos since() const { return since_; }
  bool in_trouble() const { return trouble_since_ != kNever; }
  const LatencyHistogram& latency() const { return latency_; }
  const std::string& last_problem() const { return last_problem_; }

 private:
  const Nanos hard_limit_;
  ServerState state_ = ServerState::kUp;
  Nanos since_;
  Nanos trouble_since_ = kNever;  // the first failure after the last answer
  Nanos late_until_ = 0;          // an answer that came late makes "slow" visible for a while
  LatencyHistogram latency_;
  std::string last_problem_;
};

}  // namespace nfs
}  // namespace canopy
