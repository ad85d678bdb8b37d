// The load under which the daemon is killed: clients that deliver (over the wire and over LMTP), append,
// change flags, expunge, copy, make and remove mailboxes, change settings, compact and close accounts, and
// write down in the model what was acknowledged. A request whose answer was lost is sent again under the same
// request id until it is answered. For the loop's thread only.
#pragma once

#include <deque>
#include <functional>

#include "daemon/runtime/sync.h"
#include "daemon/runtime/uring_loop.h"
#include "daemon/wire/client/stubs.h"
#include "tests/crash/model.h"
#include "tools/canopy-bench/mail.h"

namespace canopy::crash {

struct LoadOptions {
  Address server, lmtp;
  uint32_t accounts = 6;
  uint64_t seed = 1;
};

struct LoadCounts {
  uint64_t delivered = 0, appended = 0, lmtp_sent = 0, lmtp_acknowledged = 0, flags = 0, expunged = 0,
           copied = 0, mailboxes = 0, settings = 0, compactions = 0, closes = 0, sent_again = 0,
           doubled_on_purpose = 0, verified = 0;
};

// Lets actors pass one by one, or holds them all between two operations.
class Gate {
 public:
  explicit Gate(Loop& loop) : opened_(loop), parked_(loop) { opened_.set(); }
  void enter() { ++actors_; }
  void leave() {
    --actors_;
    look();
  }
  Task<void> pass() {
    while (!opened_.is_set()) {
      ++waiting_;
      look();
      co_await opened_.wait();
      --waiting_;
    }
  }
  // Answers false when not all were at rest before the deadline.
  Task<bool> close(Nanos deadline) {
    opened_.reset();
    parked_.reset();
    look();
    co_return co_await parked_.wait_until(deadline);
  }
  void open() { opened_.set(); }
  size_t busy() const { return actors_ - waiting_; }

 private:
  void look() {
    if (!opened_.is_set() && waiting_ == actors_) parked_.set();
  }
  Event opened_, parked_;
  size_t actors_ = 0, waiting_ = 0;
};

class Load {
 public:
  Load(UringLoop& loop, LoadOptions options);
  ~Load();

  // Makes a domain that is not there yet, and the accounts.
  Task<Result<void>> prepare();
  void start();
  Task<void> stop();  // with the gate open
  Gate& gate() { return gate_; }

  // With everything at rest: reads all accounts and compares, and sends requests that were answered once
  // more.
  Task<void> verify();

  const std::vector<std::string>& complaints() const { return complaints_; }
  void complain(std::string sentence);
  const LoadCounts& counts() const { return counts_; }
  const std::string& domain() const { return domain_; }  // empty before prepare()

 private:
  // A request that was answered, and what its answer was: sending it again must answer the same and change
  // nothing.
  using Again = std::function<Task<std::string>(wire::Client&)>;

  bench::Random& random() { return random_; }
  bool chance(uint32_t percent) { return random_.below(100) < percent; }
  std::string new_token(uint32_t account);
  wire::Client& client_of(uint32_t account) { return *clients_[account]; }
  void remember(Again again);
  template <class Stub, class Req, class Resp>
  Task<Result<Resp>> insist(wire::Client& client,
                            Task<Result<Resp>> (Stub::*method)(const Req&, wire::CallOptions) const,
                            const Req& request);

  Task<void> act(Task<void> (Load::*once)(uint32_t), uint32_t account, uint32_t pause_ms);
  Task<void> deliver(uint32_t account);
  Task<void> append(uint32_t account);
  Task<void> lmtp(uint32_t account);
  Task<void> change_even(uint32_t account);
  Task<void> change_odd(uint32_t account);
  Task<void> change(uint32_t account, uint32_t parity);
  Task<void> change_flags(uint32_t account, std::string box, uint32_t uid);
  Task<void> expunge(uint32_t account, std::string box, uint32_t uid);
  Task<void> copy(uint32_t account, std::string from, uint32_t uid);
  Task<void> change_mailboxes(uint32_t account);
  Task<void> change_settings(uint32_t account);
  Task<void> set(uint32_t account, bool info);
  Task<void> compact(uint32_t account);
  Task<Result<uint64_t>> upload(wire::Client& client, v1::AccountRef account, const std::string& content);

  Task<Result<void>> make_domain();
  Task<Result<Seen>> look_at(uint32_t account);
  Task<Result<void>> look_at_mailbox(uint32_t account, std::string box, Mailbox& out);
  Task<Result<Versioned>> look_at_dictionary(uint32_t account, v1::InfoKind kind);
  Task<void> send_doubles();

  UringLoop& loop_;
  const LoadOptions options_;
  bench::Random random_;
  std::string domain_;
  std::vector<Account> accounts_;
  std::vector<std::unique_ptr<wire::Client>> clients_;
  Gate gate_;
  TaskGroup actors_;
  bool ending_ = false;
  uint64_t next_number_ = 1;
  std::deque<Again> answered_;
  std::vector<std::string> complaints_;
  LoadCounts counts_;
};

}  // namespace canopy::crash
