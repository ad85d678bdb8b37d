// ContentReader: streams the content of a message, wherever the record says that it lies, in verified pieces
// of at most kInlineContentBytesMax. For the loop's thread only; the AccountLog outlives it.
#pragma once

#include "daemon/log/account_log.h"

namespace canopy {

class ContentReader {
 public:
  // `message` is the place of a Message record, `hint_length` its RecordView::length or 0. Bytes before
  // `from` are left out. kDamaged names the slice and offset.
  static Task<Result<ContentReader>> open(AccountLog& log, AccountLog::Pin pin, Place message,
                                          uint64_t hint_length, uint64_t from = 0);
  uint64_t size() const { return size_; }  // of the whole message
  // Whose message the record at the place is.
  uint32_t mailbox_id() const { return mailbox_id_; }
  uint32_t uid() const { return uid_; }
  // The next piece; empty at the end. The view holds until the next call or destruction. An error is final.
  Task<Result<std::string_view>> next();

 private:
  AccountLog* log_ = nullptr;
  AccountLog::Pin pin_;
  uint64_t size_ = 0;
  uint32_t mailbox_id_ = 0, uid_ = 0;
  uint64_t skip_ = 0;  // bytes of what comes next that are before `from`
  OwnedRecord current_;
  std::string_view pending_;  // of current_, to be answered by the next call
  std::vector<ContentPart> parts_;
  size_t next_part_ = 0;
};

// All of it in one string; kTooLarge over bytes_max.
Task<Result<std::string>> read_content(AccountLog& log, AccountLog::Pin pin, Place message,
                                       uint64_t hint_length, uint64_t bytes_max);

}  // namespace canopy
