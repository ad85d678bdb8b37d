// The account's side of a compaction (daemon/log/compaction.h): enumerates the state, and keeps track of
// copies that were made meanwhile.
#pragma once

#include "daemon/account/account.h"
#include "daemon/log/compaction.h"

namespace canopy {

class AccountCompaction final : public CompactionSource {
 public:
  // `alone`: the lane, held until the roll point, and again while the log switches over.
  AccountCompaction(Account& account, Lane::Hold alone);
  ~AccountCompaction() override;

  void snapshot() override;
  Task<Result<bool>> next(Step& out) override;
  void copied(std::span<const MovedMessage> moved) override;
  Task<void> quiet() override;
  Result<void> switch_over(std::span<const uint32_t> dropped, Frame& restated) override;
  void switched(const Appended& restated) override;
  void abandoned() override { alone_.release(); }

  // A COPY or MOVE became durable while this compaction runs: its row refers to `content`.
  void copied_meanwhile(uint32_t mailbox_id, uint32_t uid, Place content);

 private:
  static constexpr uint32_t kContentCarrier = 0;  // no mailbox has this id
  struct Copy {
    uint32_t mailbox_id, uid;
    Place content;
  };
  void put_mailbox(const MailboxState& box);
  Task<Result<void>> add_row(const MailboxState& box, MessageRow row, Step& out);

  // A frame for more state records; a new one when the last is large.
  Frame& state_frame();

  Account& account_;
  Lane::Hold alone_;
  std::deque<Frame> state_frames_;
  std::map<uint32_t, uint32_t> uid_ends_;  // mailbox id -> uidnext at the snapshot
  uint64_t at_mailbox_ =
      0;  // with at_uid_ the row that was given last; may pass the last id that 32 bits hold
  uint32_t at_uid_ = 0;
  std::vector<Copy> copies_;
  size_t copies_given_ = 0;
  std::vector<MovedMessage> moved_;
  struct Restated {
    uint32_t mailbox_id, uid;
    uint64_t length;
  };
  std::vector<Restated> restated_;
};

}  // namespace canopy
