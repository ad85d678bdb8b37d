// The account's side of a compaction (daemon/log/compaction.h): enumerates the state, and keeps track of
// copies that were made meanwhile.
#pragma once

#include "daemon/account/account.h"
#include "daemon/log/compaction.h"

namespace canopy {

class AccountCompaction final : public CompactionSource {
 public:
  explicit AccountCompaction(Account& account);
  ~AccountCompaction() override;

  void snapshot() override;
  Task<Result<bool>> next(Step& out) override;
  void copied(std::span<const MovedMessage> moved) override;
  Result<void> switch_over(std::span<const uint32_t> dropped, Frame& restated) override;
  void switched(const Appended& restated) override;
  void abandoned() override {}

  // A COPY or MOVE became durable while this compaction runs: its row refers to `content`.
  void copied_meanwhile(uint32_t mailbox_id, uint32_t uid, Place content);

 private:
  struct Copy {
    uint32_t mailbox_id, uid;
    Place content;
  };
  void put_mailbox(Frame& out, const MailboxState& box);
  Task<Result<void>> add_row(const MailboxState& box, MessageRow row, Step& out);

  Account& account_;
  Frame state_records_;
  bool state_given_ = false;
  std::map<uint32_t, uint32_t> uid_ends_;  // mailbox id -> uidnext at the snapshot
  uint32_t at_mailbox_ = 0, at_uid_ = 0;   // the row that was given last
  std::vector<Copy> copies_;
  size_t copies_given_ = 0;
  std::vector<MovedMessage> moved_;
  std::map<Place, Place> new_places_;
  struct Restated {
    uint32_t mailbox_id, uid;
    uint64_t length;
  };
  std::vector<Restated> restated_;
};

}  // namespace canopy
