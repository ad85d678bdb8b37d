// JournalPaths: the paths that a ReplaceJournal has to do with: whose replacements are under way, which have
// records, which others hold, and the names above them that were given but not durably. Any thread, so that
// whoever changes a name that the journal has nothing of needs not ask its loop.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/store/journal/journal_format.h"

namespace canopy {

class JournalPaths {
  using Counted = std::multiset<std::string, std::less<>>;

 public:
  // Of paths that are held, until release().
  using Held = std::vector<Counted::iterator>;

  // Replacements under way.
  enum class Claim : uint8_t { kClaimed, kHeld, kNameAbove };
  // kHeld: release() says that somebody waits, until waited(). kNameAbove: one has to become durable first.
  Claim claim(std::string_view path);
  // Like a claim that is not kept: whether it is held.
  bool is_held(std::string_view path);
  void waited();
  void unclaim(std::string_view path);
  bool any_claimed() const;
  bool any_claimed_below(std::string_view path) const;  // or the path itself

  // Paths with a record in a file of the journal, unless settled since.
  void recorded(uint32_t file, std::string_view path);
  void settled(std::string_view path);
  void emptied(uint32_t file);
  bool is_pending(std::string_view path) const;
  // At or below the path; no more than a few beyond `most`.
  std::vector<std::string> pending_below(std::string_view path, size_t most) const;

  // No path at or below these can be claimed while they are held.
  Held hold(const std::vector<std::string>& paths);
  // Where none at or below them is claimed or pending.
  std::optional<Held> hold_if_unused(const std::vector<std::string>& paths);
  // Whether somebody waits for it.
  [[nodiscard]] bool release(const Held& held);

  // A name that was given, not durably. How many there are now.
  size_t note_name(std::string from, std::string to);
  struct Name {
    std::string from, to;
    uint64_t number = 0;  // rises from note to note
  };
  std::vector<Name> names_above(std::string_view path) const;  // or the path itself
  uint64_t names_noted() const;                                // the newest one's number
  void names_durable(uint64_t up_to);
  void name_durable(const Name& name);  // unless it was noted again

 private:
  // Under the mutex:
  Held insert_held(const std::vector<std::string>& paths);
  bool held_above(std::string_view path) const;
  bool any_pending_below(std::string_view path) const;

  mutable std::mutex mutex_;
  Counted claimed_, held_;
  std::array<std::set<std::string, std::less<>>, journal::kFiles> pending_;
  std::map<std::string, std::pair<std::string, uint64_t>, std::less<>> names_;  // by the new one
  uint64_t noted_ = 0;
  size_t waiting_ = 0;
};

}  // namespace canopy
