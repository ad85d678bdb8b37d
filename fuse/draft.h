// Draft: a file that somebody writes under accounts/ before it has become a message, or an account's
// settings. Its content lies in a file without a name on this machine, so that a message of any size takes no
// memory and can be sent once more after a lost connection. For the mount's loop.
#pragma once

#include <time.h>

#include <map>
#include <memory>
#include <string>

#include "daemon/base/error.h"
#include "daemon/runtime/uring_loop.h"
#include "fuse/place.h"

namespace canopy::mount {

class Draft {
 public:
  explicit Draft(UringLoop& loop) : loop_(loop) {}
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  // The disk is waited for aside from the loop. Whoever waits keeps the draft.
  Task<Result<void>> open();  // empty; also of one that has been delivered, which begins anew
  Task<Result<void>> write(uint64_t offset, std::string bytes);  // after an error it is `broken`
  Task<Result<std::string>> read(uint64_t offset, size_t bytes) const;
  Task<Result<void>> resize(uint64_t size);
  void become(Place message);  // it has been delivered: its content is no longer needed

  uint64_t size() const { return size_; }
  bool delivered() const { return message_.uid != 0; }
  const Place& message() const { return message_; }
  // A name that begins with a dot is a temporary one, of a program that will rename the file.
  bool is_temporary() const { return folder.kind != Place::Kind::kMailbox || name.starts_with('.'); }
  Place place() const;

  uint32_t number = 0;
  Place folder;  // a mailbox or an account
  std::string name;
  timespec modified = {};  // when it was made, or last written
  timespec changed = {};
  bool dated = false;  // somebody has set `modified`: it becomes the internal date
  std::string request_id;
  unsigned open_files = 0;
  bool sending = false;
  bool removed = false;         // it has lost its name: whoever has it open goes on, and nothing is delivered
  std::optional<Error> broken;  // why what there is of it is no message, until it is written anew
  Nanos used = 0;               // when it was last of use to somebody

 private:
  void touch();  // it was changed now
  struct Spool;  // the open file; who uses it keeps it
  UringLoop& loop_;
  std::shared_ptr<Spool> spool_;
  uint64_t size_ = 0;
  Place message_;
};
using DraftRef = std::shared_ptr<Draft>;

// At start: whether drafts can be made in $TMPDIR.
Result<void> check_draft_directory();

class Drafts {
 public:
  explicit Drafts(UringLoop& loop) : loop_(loop) {}

  static constexpr size_t kMost = 1024;
  static constexpr Nanos kNameSeconds = 60 * kSecond;  // how long a delivered message has its written name
  static constexpr Nanos kTemporarySeconds = 3600 * kSecond;  // how long an abandoned one stays

  Task<Result<DraftRef>> create(Place folder, std::string name, Nanos now);
  // Another name of a message, for a while.
  void alias(const Place& folder, const std::string& name, const Place& message, Nanos now);
  DraftRef find(uint32_t number) const;
  DraftRef find(const Place& folder, const std::string& name, Nanos now);
  void move(const DraftRef& draft, const Place& folder, const std::string& name);
  void drop(const DraftRef& draft);
  void remove(const DraftRef& draft);  // its name; it goes when nobody has it open any more
  void clean(Nanos now);
  size_t size() const { return by_number_.size(); }

 private:
  static std::string name_key(const Place& folder, const std::string& name);
  static bool is_over(const Draft& draft, Nanos now);
  void add(const DraftRef& draft, Nanos now);

  UringLoop& loop_;
  std::map<uint32_t, DraftRef> by_number_;
  std::map<std::string, DraftRef> by_name_;
  uint32_t next_number_ = 1;
};

}  // namespace canopy::mount
