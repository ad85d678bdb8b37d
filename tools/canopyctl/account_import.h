// AccountImport: messages of an mbox, a Maildir or .eml files into one account, in their order, so that a run
// that was stopped anywhere can be gone on with. Any number of them may run at once on one loop; for that
// loop's thread.
#pragma once

#include <atomic>
#include <functional>
#include <set>

#include "daemon/wire/client/stubs.h"
#include "tools/canopyctl/progress.h"
#include "tools/mailfiles/mail_item.h"

namespace canopy::ctl {

inline constexpr uint64_t kImportBytesInFlightMax = 32u << 20;

struct AccountImportOptions {
  std::string account, path, mailbox = "INBOX";
  std::string format;      // as parse_format() takes it; empty: by what lies there
  std::string state_file;  // where it notes how far it is
  bool restart = false;    // from the beginning, whatever that file says
  bool again = false;      // as further messages
  uint64_t bytes_in_flight_max = kImportBytesInFlightMax;
  const std::atomic<bool>* stop = nullptr;  // set: it ends after what is under way, with kCancelled
};

class AccountImport {
 public:
  AccountImport(wire::Client& client, AccountImportOptions options);

  // Told of each message that is in the account.
  std::function<void()> on_message = [] {};

  // Opens the source and what a former run has noted. To be called first.
  Result<void> open();
  // Answers when nothing is under way any more. After an error the state is noted.
  Task<Result<void>> run();
  // Forgets the state: all is in the account.
  void finish() { state_.remove(); }

  uint64_t confirmed() const { return confirmed_; }  // of all runs
  uint64_t skipped() const { return skipped_; }      // that the state said to be there
  uint64_t earlier() const { return skipped_ + were_there_; }
  uint64_t imported() const { return confirmed_ - earlier(); }
  const StateFile& state() const { return state_; }

 private:
  Result<uint64_t> already_imported();
  Task<Result<void>> import_all();
  Task<Result<void>> import_one(mailfiles::MailItem item);
  Task<void> append(v1::AppendRequest request, uint64_t number, std::string position, size_t bytes);
  Task<Result<void>> append_large(v1::AppendRequest request, const mailfiles::MailItem& item);
  Task<Result<void>> drained(size_t in_flight_max);
  Task<Result<void>> make_mailbox(const std::string& name);
  Result<void> confirm(uint64_t number);
  Result<void> save() const;
  std::string request_id_for(const mailfiles::MailItem& item) const;
  std::string target_of(const mailfiles::MailItem& item) const {
    return item.mailbox.empty() ? options_.mailbox : item.mailbox;
  }
  std::string fingerprint() const { return options_.account + "\n" + options_.mailbox; }

  wire::Client& client_;
  const AccountImportOptions options_;
  StateFile state_;
  wire::MailboxesStub mailboxes_;
  std::unique_ptr<mailfiles::MailSource> source_;
  std::string source_path_;         // canonical
  std::string salt_;                // of this run, with `again`
  std::set<std::string> keywords_;  // that messages have borne so far
  std::string last_target_;         // where the message before went
  std::string known_mailbox_;       // the last one that was made sure of
  uint32_t known_uid_next_ = 0;     // its next UID at that time: an answer below it is of an earlier run
  uint64_t skipped_ = 0;
  uint64_t were_there_ = 0;  // sent again and found to be there
  uint64_t taken_ = 0;       // read from the source, skipped ones included
  uint64_t confirmed_ = 0;   // all up to here are in the account
  std::set<uint64_t> ended_;
  size_t in_flight_ = 0;
  uint64_t bytes_in_flight_ = 0;
  std::optional<Error> error_;
};

}  // namespace canopy::ctl
