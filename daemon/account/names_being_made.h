// NamesBeingMade: the names under which an account is about to appear, by creation or by renaming, on
// whatever loop of the process. What is put ready for one of two that want the same name is never taken for
// the other's. Any thread.
#pragma once

#include <mutex>
#include <set>
#include <string>

namespace canopy {

class NamesBeingMade {
 public:
  // One name, until the end of its scope.
  class Claim {
   public:
    Claim(NamesBeingMade& of, std::string name) : of_(of), name_(std::move(name)) {
      std::lock_guard lock(of_.mutex_);
      mine_ = of_.names_.insert(name_).second;
    }
    ~Claim() {
      std::lock_guard lock(of_.mutex_);
      if (mine_) of_.names_.erase(name_);
    }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

    bool mine() const { return mine_; }  // false: somebody else is about to make it

   private:
    NamesBeingMade& of_;
    const std::string name_;
    bool mine_ = false;
  };

 private:
  std::mutex mutex_;
  std::set<std::string> names_;
};

}  // namespace canopy
