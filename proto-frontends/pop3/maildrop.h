// A maildrop as one session sees it (RFC 1939 section 5): the messages there were at login, their numbers,
// and which of them are marked as deleted. Pure. 8 bytes a message.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto-frontends/common/backend.h"

namespace canopy::pop3 {

class Maildrop {
 public:
  explicit Maildrop(frontend::MessageList list) : list_(std::move(list)) {
    for (uint32_t size : list_.sizes) bytes_ += size;
  }

  uint32_t mailbox_id() const { return list_.mailbox_id; }
  uint32_t highest_number() const {
    return static_cast<uint32_t>(list_.uids.size());
  }  // deleted ones included
  uint32_t count() const { return highest_number() - deleted_count_; }
  uint64_t bytes() const { return bytes_; }
  // `number`: as the client says it, from 1. False for one that never was and for one marked as deleted.
  bool has(uint64_t number) const {
    return number >= 1 && number <= list_.uids.size() && (deleted_.empty() || !deleted_[number - 1]);
  }
  uint32_t uid(uint32_t number) const { return list_.uids[number - 1]; }
  uint32_t size(uint32_t number) const { return list_.sizes[number - 1]; }
  // Stays the same as long as the message does, over restarts and moves of the account.
  std::string unique_id(uint32_t number) const {
    return fmt::format("{}.{}", list_.uid_validity, uid(number));
  }

  void mark_deleted(uint32_t number) {
    if (deleted_.empty()) deleted_.resize(list_.uids.size());
    deleted_[number - 1] = true;
    ++deleted_count_;
    bytes_ -= size(number);
  }
  void unmark_all() {
    for (uint32_t number = 1; number <= deleted_.size(); ++number)
      if (deleted_[number - 1]) bytes_ += size(number);
    deleted_count_ = 0;
    deleted_ = {};
  }
  std::vector<uint32_t> deleted_uids() const {
    std::vector<uint32_t> uids;
    for (size_t i = 0; i < deleted_.size(); ++i)
      if (deleted_[i]) uids.push_back(list_.uids[i]);
    return uids;
  }

 private:
  frontend::MessageList list_;
  std::vector<bool> deleted_;  // empty until the first DELE
  uint32_t deleted_count_ = 0;
  uint64_t bytes_ = 0;  // without the deleted ones
};

}  // namespace canopy::pop3
