// DomainHold: keeps everybody from the accounts and dictionaries of a domain, on every loop of the node,
// while its directory gets another name. For Node::change_domains(), whose gate it relies on: one domain at a
// time.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "daemon/wire/services/node.h"

namespace canopy::wire {

class DomainHold {
 public:
  DomainHold(Node& node, std::string domain, std::string directory)
      : node_(node), domain_(std::move(domain)), directory_(std::move(directory)) {}
  DomainHold(const DomainHold&) = delete;

  // Closes the domain's accounts; whoever comes waits. What was asked of the store and is not answered cannot
  // happen any more. False: some account goes on being used after `awaited`; with kForce it is closed all the
  // same, and whoever uses it has to open it again; kBusy then when a write to an account has failed, which
  // may still arrive and is remembered under the domain's name. Begins and ends on the first shard's loop, as
  // the next one. release() follows, whatever it answers.
  enum class Mode : uint8_t { kAsk, kForce };
  Task<Result<bool>> take(Nanos awaited, Mode mode = Mode::kAsk);
  // The directory is called `now`; what is known of names in `renamed` is of others now; those who have
  // waited go on.
  Task<void> release(std::string now, std::set<std::string> renamed = {});

  const std::string& directory() const { return directory_; }  // as it was called
  Nanos since() const { return since_; }  // when the first one began to wait; 0: none has

 private:
  Task<Result<bool>> take_on(Shard& shard, Nanos awaited, Mode mode);

  Node& node_;
  const std::string domain_, directory_;
  std::vector<Shard*> held_;
  Nanos since_ = 0;
};

}  // namespace canopy::wire
