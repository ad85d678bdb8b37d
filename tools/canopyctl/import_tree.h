// Which accounts a tree of mailboxes holds, and what of them a stopped `canopyctl import` has done. One
// thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::ctl {

struct SourceAccount {
  std::string address;  // as the tree's names say: jsmith@company.com
  std::string path;     // of its Maildir, mbox or directory of mboxes
};

// With a `domain` each entry of the tree is an account of it; without, an entry whose name has an '@' is an
// account, and every other directory a domain with its accounts in it. An mbox may be called NAME.mbox; a
// Maildir is the account's directory, or `Maildir` in it. Names that begin with '.' are passed over. Sorted.
Result<std::vector<SourceAccount>> list_source_accounts(const std::string& tree, const std::string& format,
                                                        const std::string& domain);

// A directory that a run keeps beside the tree: `.done`, a line for each account that is in, and
// DOMAIN/NAME.state for one under way.
class ImportState {
 public:
  explicit ImportState(std::string directory) : directory_(std::move(directory)) {}

  // Makes the directory and reads what is there; `restart`: forgets it. kConflict: the directory is of an
  // import of another kind.
  Result<void> open(const std::string& kind, bool restart);
  bool is_done(const std::string& address) const { return done_.contains(address); }
  uint64_t messages_done() const;
  Result<void> set_done(const std::string& address, uint64_t messages);
  // Where the state of an account under way is kept; makes its directory.
  Result<std::string> file_of(const std::string& address) const;
  void remove();  // all of it

  const std::string& directory() const { return directory_; }

 private:
  Result<void> append(const std::string& line) const;

  const std::string directory_;
  std::map<std::string, uint64_t> done_;  // messages of each account
};

}  // namespace canopy::ctl
