// Small pieces that the files of Account share.
#pragma once

#include "daemon/account/account.h"

namespace canopy {

class Account::Operation {
 public:
  explicit Operation(Account& account) : account_(account.shared_from_this()) { account_->operations_.add(); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() { account_->operations_.done(); }

 private:
  std::shared_ptr<Account> account_;
};

class Account::Claim {
 public:
  Claim() = default;
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    if (account_ == nullptr) return;
    auto at = account_->in_flight_.find(id_);
    std::shared_ptr<Event> over = at->second;
    account_->in_flight_.erase(at);
    over->set();
  }
  void take(Account& account, const RequestId& id) {
    account_ = &account;
    id_ = id;
    account.in_flight_.emplace(id, std::make_shared<Event>(*account.environment_.loop));
  }

 private:
  Account* account_ = nullptr;
  RequestId id_{};
};

// Room that a message on its way takes, so that others see it before it is applied.
class PlannedRoom {
 public:
  PlannedRoom(uint64_t& bytes, uint64_t& messages, uint64_t size)
      : bytes_(bytes), messages_(messages), size_(size) {
    bytes_ += size_;
    ++messages_;
  }
  PlannedRoom(const PlannedRoom&) = delete;
  PlannedRoom& operator=(const PlannedRoom&) = delete;
  ~PlannedRoom() {
    bytes_ -= size_;
    --messages_;
  }

 private:
  uint64_t& bytes_;
  uint64_t& messages_;
  uint64_t size_;
};

// The start of every mutating operation: answers a remembered request at once.
#define CANOPY_BEGIN_MUTATION(id) \
  Operation operation(*this);     \
  Claim claimed;                  \
  if (auto before = co_await claim(id, claimed)) co_return std::move(*before)

}  // namespace canopy
