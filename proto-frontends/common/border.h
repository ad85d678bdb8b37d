// What the border of the system holds against clients: how many connections there may be, and how long an
// address that fails to log in has to wait. Shared by all loops of the process; every member may be called
// from any thread (a short mutex, taken once a connection or a login, never on the path of a message).
// Bounded in memory.
#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include "daemon/runtime/loop.h"
#include "proto-frontends/common/ip.h"

namespace canopy::frontend {

class ConnectionLimits {
 public:
  // `per_address`: of one IpAddress::client(). 0: no limit of that kind.
  ConnectionLimits(uint32_t total_max, uint32_t per_address_max)
      : total_max_(total_max), per_address_max_(per_address_max) {}

  // One connection's place, given back when it goes. The limits must outlive it.
  class [[nodiscard]] Place {
   public:
    Place() = default;
    Place(ConnectionLimits* of, const IpAddress& client) : of_(of), client_(client) {}
    Place(Place&& other) noexcept : of_(std::exchange(other.of_, nullptr)), client_(other.client_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(of_, other.of_);
      std::swap(client_, other.client_);
      return *this;
    }
    ~Place() {
      if (of_ != nullptr) of_->leave(client_);
    }
    explicit operator bool() const { return of_ != nullptr; }

   private:
    ConnectionLimits* of_ = nullptr;
    IpAddress client_;
  };

  // An empty place when a limit is reached. Unix peers (unspecified addresses) count in total only.
  Place enter(const IpAddress& address);
  uint32_t total() const;

 private:
  void leave(const IpAddress& client);

  const uint32_t total_max_, per_address_max_;
  mutable std::mutex mutex_;
  uint32_t total_ = 0;
  std::unordered_map<IpAddress, uint32_t, IpAddressHash>
      clients_;  // as many as there are connections at most
};

// After a failed login the address waits before its next attempt is looked at: 0.5 s, doubled with every
// failure up to 15 s, forgotten after a success or 10 minutes. Attempts on many connections at once wait one
// behind the other, so that guessing is no faster with more of them.
class LoginDelays {
 public:
  static constexpr Nanos kFirst = 500 * kMillisecond;
  static constexpr Nanos kLongest = 15 * kSecond;
  static constexpr Nanos kForgotten = 600 * kSecond;
  static constexpr Nanos kWaitMax = 60 * kSecond;
  static constexpr size_t kAddressesMax = 65'536;

  // How long the attempt that begins at `now` has to wait; empty: longer than kWaitMax, it is to be refused.
  // Unix peers never wait.
  std::optional<Nanos> take_turn(const IpAddress& address, Nanos now);
  void failed(const IpAddress& address, Nanos now);
  void succeeded(const IpAddress& address);
  size_t size() const;

 private:
  struct Entry {
    Nanos last = 0;
    uint32_t failures = 0;
    Nanos turn = INT64_MIN / 2;  // when the last attempt goes, of those that wait or went
  };
  // Drops what is forgotten, or else the oldest of a few, so that a flood of addresses costs no more than a
  // lookup.
  void make_room(Nanos now);

  mutable std::mutex mutex_;
  std::unordered_map<IpAddress, Entry, IpAddressHash> entries_;
};

}  // namespace canopy::frontend
