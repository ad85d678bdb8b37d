// TreeIntents: what the tree's clients were about to make, in files of fixed size on the store, so that a
// daemon that was killed knows what it made before it could say so (docs/protocol/tree.md, "Once").
//
// Before a name is made, its request is written into a slot; only then it is made. A slot is used again when
// all the others have been since. A starting daemon reads the slots and, before it serves anybody, looks
// which of the names are there: nobody but the request can have made one, as it was absent when the slot was
// written and the daemon has let nobody else have it since. That is written into the slot, once and for all.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>

#include "daemon/runtime/sync.h"
#include "daemon/wire/services/file_identity.h"
#include "daemon/wire/services/node.h"

namespace canopy::wire {

inline constexpr std::string_view kTreeIntentsPath = ".canopy/tree";
inline constexpr size_t kTreeIntentSlots = 1024;        // of a loop
inline constexpr size_t kTreeIntentSlotBytes = 4096;    // a path has at most 4,000
inline constexpr size_t kTreeIntentsUnderWayMax = 512;  // of a loop; others wait

class TreeIntents {
 public:
  // Before anything is served. Begins and ends on the first shard's loop.
  Task<Result<void>> start(Node& node);

  // From begin() on until the name is made or not. Goes on its loop.
  class [[nodiscard]] UnderWay {
   public:
    UnderWay() = default;
    UnderWay(bool& slot, Semaphore::Permit permit) : slot_(&slot), permit_(std::move(permit)) {}
    UnderWay(UnderWay&& other) noexcept
        : slot_(std::exchange(other.slot_, nullptr)), permit_(std::move(other.permit_)) {}
    UnderWay& operator=(UnderWay&&) = delete;
    ~UnderWay() {
      if (slot_ != nullptr) *slot_ = false;
    }

   private:
    bool* slot_ = nullptr;
    Semaphore::Permit permit_;
  };
  // On the loop of a shard. The caller holds the name, and has seen that it is free.
  Task<Result<UnderWay>> begin(Loop& loop, std::string id, std::string path);

  // What a request of an earlier process has made; nullopt: it made nothing. Any thread, after start().
  std::optional<FileIdentity> made(const std::string& id) const;

 private:
  enum class State : uint32_t { kBegun = 1, kMade = 2, kNotMade = 3 };
  struct Intent {
    State state = State::kBegun;
    uint64_t number = 0;  // rises over all loops
    std::string id, path;
    FileIdentity made;
    size_t slots = 0, slot = 0;  // where it lies
  };
  struct Slots {  // of a loop
    Slots(Loop& on, std::unique_ptr<File> in)
        : loop(on), file(std::move(in)), free(on, kTreeIntentsUnderWayMax) {}
    Loop& loop;
    std::unique_ptr<File> file;
    Semaphore free;
    std::unique_ptr<bool[]> busy = std::make_unique<bool[]>(kTreeIntentSlots);
    size_t next = 0;
  };

  static std::string print(const Intent& intent);
  static std::optional<Intent> parse(std::string_view slot);
  Task<Result<void>> open_slots(Shard& shard, std::string path, std::vector<Intent>& found);
  Task<Result<void>> resolve(Store& store, std::vector<Intent>& found);
  static Task<Result<void>> write(Slots& slots, size_t slot, const Intent& intent);

  std::vector<std::unique_ptr<Slots>> slots_;  // constant after start()
  std::unordered_map<std::string, FileIdentity> made_;
  std::atomic<uint64_t> number_{0};
};

}  // namespace canopy::wire
