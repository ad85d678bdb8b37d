#include "daemon/wire/services/tree_intents.h"

#include <algorithm>
#include <charconv>

#include "daemon/base/bytes.h"
#include "daemon/base/crc32c.h"
#include "daemon/base/limits.h"

namespace canopy::wire {
namespace {

constexpr uint32_t kMagic = 0x31495443;  // "CTI1"
constexpr size_t kHeadBytes = 12;        // magic, checksum, size
constexpr std::string_view kFilePrefix = "intents.";
constexpr size_t kFilesMax = 4096;  // more loops than that no process has

}  // namespace

// Magic u32, checksum u32 of what follows the size, size u32 of it; then state u32, number u64, request id 16
// bytes, file id u64, born i64 s and u32 ns, path.
std::string TreeIntents::print(const Intent& intent) {
  std::string body;
  put_le(body, static_cast<uint32_t>(intent.state));
  put_le(body, intent.number);
  body += intent.id;
  put_le(body, intent.made.file_id);
  put_le(body, intent.made.born.seconds);
  put_le(body, intent.made.born.nanoseconds);
  body += intent.path;
  std::string out;
  put_le(out, kMagic);
  put_le(out, crc32c(0, body));
  put_le(out, static_cast<uint32_t>(body.size()));
  return out + body;
}

std::optional<TreeIntents::Intent> TreeIntents::parse(std::string_view slot) {
  ByteReader head(slot);
  auto magic = head.le<uint32_t>();
  auto checksum = head.le<uint32_t>();
  auto size = head.le<uint32_t>();
  if (magic != kMagic || !size || *size > slot.size() - kHeadBytes) return std::nullopt;
  const std::string_view body = slot.substr(kHeadBytes, *size);
  if (crc32c(0, body) != *checksum) return std::nullopt;
  ByteReader in(body);
  auto state = in.le<uint32_t>();
  auto number = in.le<uint64_t>();
  auto id = in.take(kRequestIdBytes);
  auto file_id = in.le<uint64_t>();
  auto seconds = in.le<int64_t>();
  auto nanoseconds = in.le<uint32_t>();
  if (!nanoseconds || *state < 1 || *state > 3) return std::nullopt;
  Intent intent;
  intent.state = static_cast<State>(*state);
  intent.number = *number;
  intent.id = *id;
  intent.made = FileIdentity{*file_id, FileTime{*seconds, *nanoseconds}};
  intent.path = in.rest();
  return intent;
}

Task<Result<void>> TreeIntents::write(Slots& slots, size_t slot, const Intent& intent) {
  const std::string bytes = print(intent);
  CANOPY_CHECK(bytes.size() <= kTreeIntentSlotBytes);
  const std::string_view piece = bytes;
  auto done = co_await slots.file->write(slot * kTreeIntentSlotBytes, {&piece, 1}, Durable::kNo);
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<Result<void>> TreeIntents::open_slots(Shard& shard, std::string path, std::vector<Intent>& found) {
  co_await shard.loop.switch_to();
  auto file = co_await shard.store->open(path, OpenOptions{.write = true, .create = true, .mode = 0600});
  if (!file) co_return fail(std::move(file).error());
  slots_.push_back(std::make_unique<Slots>(shard.loop, std::move(*file)));
  Slots& slots = *slots_.back();
  std::string bytes(kTreeIntentSlots * kTreeIntentSlotBytes, '\0');
  auto got = co_await slots.file->read(0, bytes);
  if (!got) co_return fail(std::move(got).error());
  uint64_t newest = 0;
  for (size_t slot = 0; slot * kTreeIntentSlotBytes < *got; ++slot) {
    const size_t at = slot * kTreeIntentSlotBytes;
    auto intent = parse(std::string_view(bytes).substr(at, std::min(kTreeIntentSlotBytes, *got - at)));
    if (!intent) continue;  // never used, or torn by a power failure
    intent->slots = slots_.size() - 1;
    intent->slot = slot;
    if (intent->number > newest) slots.next = (slot + 1) % kTreeIntentSlots;
    newest = std::max(newest, intent->number);
    found.push_back(std::move(*intent));
  }
  number_ = std::max(number_.load(), newest);
  co_return Result<void>();
}

// A name that two requests were to make is the later one's: it saw the name free after the earlier one.
Task<Result<void>> TreeIntents::resolve(Store& store, std::vector<Intent>& found) {
  std::ranges::sort(found, std::greater(), &Intent::number);
  std::unordered_map<std::string_view, const Intent*> newest;
  for (Intent& intent : found) {
    const bool latest = newest.try_emplace(intent.path, &intent).second;
    if (intent.state == State::kBegun) {
      intent.state = State::kNotMade;
      if (latest) {
        auto there = co_await store.attributes(intent.path);
        if (!there && there.error().retryable()) co_return fail(std::move(there).error());
        if (there) {
          intent.state = State::kMade;
          intent.made = identity_of(*there);
        }
      }
      Slots& slots = *slots_[intent.slots];
      co_await slots.loop.switch_to();
      auto written = co_await write(slots, intent.slot, intent);
      co_await slots_.front()->loop.switch_to();
      if (!written) co_return written;
    }
    if (intent.state == State::kMade) made_.emplace(intent.id, intent.made);
  }
  co_return Result<void>();
}

Task<Result<void>> TreeIntents::start(Node& node) {
  Shard& first = *node.shards().front();
  CANOPY_CO_TRY(co_await make_directories(*first.store, std::string(kTreeIntentsPath), 0700, Durable::kNo));
  std::vector<Intent> found;
  for (size_t i = 0; i < node.shards().size(); ++i) {
    auto opened = co_await open_slots(*node.shards()[i],
                                      fmt::format("{}/{}{}", kTreeIntentsPath, kFilePrefix, i), found);
    co_await first.loop.switch_to();
    if (!opened) co_return opened;
  }
  // Of an earlier process with more loops.
  auto files = co_await list_all(*first.store, std::string(kTreeIntentsPath), kFilesMax);
  if (!files) co_return fail(std::move(files).error());
  for (const DirectoryEntry& file : *files) {
    uint32_t index = 0;
    const std::string_view name = file.name;
    if (!name.starts_with(kFilePrefix)) continue;
    const std::string_view digits = name.substr(kFilePrefix.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error != std::errc() || end != digits.data() + digits.size()) continue;
    if (index < node.shards().size()) continue;
    CANOPY_CO_TRY(co_await open_slots(first, fmt::format("{}/{}", kTreeIntentsPath, name), found));
  }
  co_return co_await resolve(*first.store, found);
}

Task<Result<TreeIntents::UnderWay>> TreeIntents::begin(Loop& loop, std::string id, std::string path) {
  auto mine = std::ranges::find_if(slots_, [&](const auto& slots) { return &slots->loop == &loop; });
  CANOPY_CHECK(mine != slots_.end());
  Slots& slots = **mine;
  Semaphore::Permit permit = co_await slots.free.acquire();
  while (slots.busy[slots.next]) slots.next = (slots.next + 1) % kTreeIntentSlots;
  const size_t slot = slots.next;
  slots.next = (slot + 1) % kTreeIntentSlots;
  slots.busy[slot] = true;
  UnderWay under_way(slots.busy[slot], std::move(permit));
  Intent intent;
  intent.number = ++number_;
  intent.id = std::move(id);
  intent.path = std::move(path);
  CANOPY_CO_TRY(co_await write(slots, slot, intent));
  co_return under_way;
}

std::optional<FileIdentity> TreeIntents::made(const std::string& id) const {
  auto found = made_.find(id);
  if (found == made_.end()) return std::nullopt;
  return found->second;
}

}  // namespace canopy::wire
