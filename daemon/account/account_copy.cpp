#include "daemon/account/account_copy.h"

#include <xxhash.h>

#include <optional>
#include <set>

#include "daemon/store/departure.h"

namespace canopy {
class AccountCopy::Hashed {
 public:
  Hashed() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Hashed() { XXH3_freeState(state_); }
  Hashed(const Hashed&) = delete;
  void add(std::string_view bytes) { XXH3_64bits_update(state_, bytes.data(), bytes.size()); }
  uint64_t value() const { return XXH3_64bits_digest(state_); }

 private:
  XXH3_state_t* state_;
};

namespace {

// A sync that takes longer says that the disk has enough to do: it is left to others so many times as long.
constexpr Nanos kLongSync = 5 * kMillisecond;
constexpr int kRestTimes = 3;
constexpr Nanos kRestMax = kSecond;

std::unexpected<Error> changed(std::string path) {
  return fail(Code::kIo, std::move(path), "what was copied reads otherwise than what it was copied from");
}

}  // namespace

Task<Result<void>> AccountCopy::begin() { return store_.make_directory(to_, 0700, Durable::kNo); }

// Answers where it ended: at the end of a file that is shorter, which is damage that was there before.
Task<Result<uint64_t>> AccountCopy::copy_range(std::string name, uint64_t from, uint64_t until) {
  auto read_from = co_await store_.open(source(name), OpenOptions{});
  if (!read_from) co_return fail(std::move(read_from).error());
  OpenOptions options;
  options.write = options.create = true;
  auto write_to = co_await store_.open(target(name), options);
  if (!write_to) co_return fail(std::move(write_to).error());
  Hashed hashed;
  uint64_t at = from;
  for (bool more = true; more;) {
    std::optional<Mutex::Guard> turn;
    if (turns_ != nullptr && !held_) turn.emplace(co_await turns_->lock());
    const uint64_t wanted = std::min(until, at + kCopySyncedBytes);
    CANOPY_CO_ASSIGN(at, co_await copy_piece(**read_from, **write_to, at, wanted, hashed));
    more = at == wanted && at < until;
    // So that what others make durable meanwhile never waits for all of it, nor one request of ours.
    const Nanos begun = loop_.now();
    CANOPY_CO_TRY(co_await (*write_to)->sync());
    const Nanos took = loop_.now() - begun;
    if (!held_ && took > kLongSync) co_await loop_.sleep(std::min(kRestTimes * took, kRestMax));
  }
  write_to->reset();
  CANOPY_CO_TRY(co_await verify(std::move(name), from, at, hashed.value()));
  co_return at;
}

// Answers where it ended.
Task<Result<uint64_t>> AccountCopy::copy_piece(File& from, File& to, uint64_t at, uint64_t until,
                                               Hashed& hashed) {
  std::string chunk(std::min(kCopyChunkBytes, until - at), '\0');
  while (at < until) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(chunk.size(), until - at));
    CANOPY_CO_ASSIGN(const size_t got, co_await from.read(at, std::span(chunk.data(), wanted)));
    if (got == 0) break;
    const std::string_view piece(chunk.data(), got);
    CANOPY_CO_TRY(co_await to.write(at, std::span(&piece, 1), Durable::kNo));
    hashed.add(piece);
    at += got;
    bytes_ += got;
    co_await loop_.yield();  // others have their turn
  }
  co_return at;
}

Task<Result<void>> AccountCopy::verify(std::string name, uint64_t from, uint64_t until, uint64_t hash) {
  auto file = co_await store_.open(target(name), OpenOptions{});
  if (!file) co_return fail(std::move(file).error());
  CANOPY_CO_ASSIGN(const Attributes attributes, co_await (*file)->attributes());
  if (attributes.size != until) co_return changed(target(name));
  std::string chunk(std::min(kCopyChunkBytes, until - from), '\0');
  Hashed hashed;
  for (uint64_t at = from; at < until;) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(chunk.size(), until - at));
    CANOPY_CO_ASSIGN(const size_t got, co_await (*file)->read(at, std::span(chunk.data(), wanted)));
    if (got == 0) co_return changed(target(name));
    hashed.add(std::string_view(chunk.data(), got));
    at += got;
    co_await loop_.yield();
  }
  if (hashed.value() != hash) co_return changed(target(name));
  co_return Result<void>();
}

Task<Result<uint64_t>> AccountCopy::follow(std::vector<SliceInfo> slices) {
  const uint64_t before = bytes_;
  for (const SliceInfo& slice : slices) {
    const uint64_t from = copied_.contains(slice.file) ? copied_[slice.file] : 0;
    if (from >= slice.entry.length) continue;
    auto ended = co_await copy_range(slice.file, from, slice.entry.length);
    // A compaction has removed it, or it is missing, which the copy's reader is told by the manifest, too.
    if (!ended && ended.error().code() == Code::kNotFound && !copied_.contains(slice.file)) continue;
    if (!ended) co_return fail(std::move(ended).error());
    copied_[slice.file] = *ended;
  }
  co_return bytes_ - before;
}

uint64_t AccountCopy::missing(const std::vector<SliceInfo>& slices) const {
  uint64_t sum = 0;
  for (const SliceInfo& slice : slices) {
    const auto at = copied_.find(slice.file);
    const uint64_t have = at == copied_.end() ? 0 : at->second;
    sum += slice.entry.length - std::min(have, slice.entry.length);
  }
  return sum;
}

Task<Result<void>> AccountCopy::copy_whole(std::string name, Attributes of) {
  CANOPY_CO_TRY(co_await copy_range(name, 0, of.size));
  if (of.mode == 0600) co_return Result<void>();
  SetAttributes as_it_was;
  as_it_was.mode = of.mode;
  co_return co_await store_.set_attributes(target(name), as_it_was, Durable::kYes);
}

Task<Result<void>> AccountCopy::copy_directory(std::string name, uint32_t depth) {
  if (depth > kCopyDepthMax)
    co_return fail(Code::kTooLarge, source(name), "directories within an account's lie too deep to be moved");
  CANOPY_CO_TRY(co_await store_.make_directory(target(name), 0700, Durable::kNo));
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store_, source(name), kAccountDirectoryEntriesMax));
  CANOPY_CO_TRY(co_await copy_others(name + "/", std::move(entries), depth));
  co_return co_await store_.sync_directory(target(name));
}

Task<Result<void>> AccountCopy::copy_others(std::string below, std::vector<DirectoryEntry> entries,
                                            uint32_t depth) {
  for (const DirectoryEntry& entry : entries) {
    const std::string name = below + entry.name;
    CANOPY_CO_ASSIGN(const Attributes attributes, co_await store_.attributes(source(name)));
    switch (attributes.type) {
      case FileType::kRegular: CANOPY_CO_TRY(co_await copy_whole(name, attributes)); break;
      case FileType::kDirectory: CANOPY_CO_TRY(co_await copy_directory(name, depth + 1)); break;
      case FileType::kSymlink: {
        CANOPY_CO_ASSIGN(std::string says, co_await store_.read_symlink(source(name)));
        CANOPY_CO_TRY(co_await store_.make_symlink(std::move(says), target(name), Durable::kNo));
        break;
      }
      case FileType::kOther:
        co_return fail(
            Code::kUnsupported, source(name),
            "a special file lies in the account's directory: it cannot be copied to another store");
    }
  }
  co_return Result<void>();
}

Task<Result<void>> AccountCopy::finish(std::vector<SliceInfo> slices) {
  held_ = true;
  CANOPY_CO_TRY(co_await follow(slices));
  std::set<std::string> live;
  for (const SliceInfo& slice : slices) live.insert(slice.file);
  for (const auto& [name, length] : copied_)
    if (!live.contains(name)) CANOPY_CO_TRY(co_await store_.remove(target(name), Durable::kNo));

  // Of the rest, what counts for nobody stays behind: other slices, and all checkpoints but the newest.
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store_, from_, kAccountDirectoryEntriesMax));
  std::optional<SliceId> newest;
  for (const DirectoryEntry& entry : entries) {
    const auto id = parse_checkpoint_file_name(entry.name);
    const auto rank = [](SliceId of) { return std::pair(of.epoch, of.number); };
    if (id && (!newest || rank(*id) > rank(*newest))) newest = id;
  }
  std::erase_if(entries, [&](const DirectoryEntry& entry) {
    if (entry.name == kDepartureFile) return true;
    if (entry.type != FileType::kRegular) return false;
    const auto checkpoint = parse_checkpoint_file_name(entry.name);
    return parse_slice_file_name(entry.name).has_value() || (checkpoint && *checkpoint != *newest);
  });
  CANOPY_CO_TRY(co_await copy_others("", std::move(entries), 0));
  co_return co_await store_.sync_directory(to_);
}

}  // namespace canopy
