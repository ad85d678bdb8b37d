#include "daemon/cluster/heartbeat.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

#include "daemon/base/log.h"
#include "daemon/dict/dict.h"
#include "daemon/tree/layout.h"

namespace canopy {
namespace {

constexpr uint64_t kRegisterBytesMax = 4096;

std::string register_path() { return fmt::format("{}/{}", kTreeRoot, kHeartbeatElement); }

std::optional<uint32_t> claimed_generation(std::string_view name) {
  if (!name.starts_with(kHeartbeatElement) || name.size() < kHeartbeatElement.size() + 2) return std::nullopt;
  name.remove_prefix(kHeartbeatElement.size());
  uint32_t generation = 0;
  auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), generation);
  bool whole = name[0] == '.' && error == std::errc() && end == name.data() + name.size();
  return whole ? std::optional(generation) : std::nullopt;
}

}  // namespace

Result<FileLock> FileLock::take(const std::string& file) {
  int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(errno, file, "open");
  FileLock lock(fd);
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (fcntl(fd, F_OFD_SETLK, &whole) == 0) return lock;
  if (errno != EAGAIN && errno != EACCES) return fail_errno(errno, file, "lock");
  char text[512] = {};
  ssize_t size = pread(fd, text, sizeof text - 1, 0);
  auto held = dict::parse_dict(std::string_view(text, size > 0 ? static_cast<size_t>(size) : 0), file);
  std::string holder = held ? std::string(held->string_or("Holder", "?")) : "?";
  return fail(Code::kBusy, file, fmt::format("another canopyd serves this tree ({}); stop it first", holder));
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

Task<Result<std::vector<uint32_t>>> Heartbeat::claims() {
  std::vector<uint32_t> found;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await store_.list(std::string(kTreeRoot), cookie);
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (const DirectoryEntry& entry : page->entries) {
      if (auto generation = claimed_generation(entry.name)) found.push_back(*generation);
    }
  }
  std::ranges::sort(found);
  co_return found;
}

// Empty: it was never written. One that cannot be read is no sign that nobody beats.
static Task<Result<std::string>> read_register(Store& store) {
  auto text = co_await read_file(store, register_path(), kRegisterBytesMax);
  if (!text && text.error().code() == Code::kNotFound) co_return std::string();
  co_return text;
}

Task<Result<bool>> Heartbeat::released(uint32_t last) {
  CANOPY_CO_ASSIGN(const std::string text, co_await read_register(store_));
  auto found = dict::parse_dict(text, register_path());
  if (!found) co_return false;  // half a beat
  co_return found->number_or("Generation", 0) == last && found->bool_or("Released", false);
}

Task<Result<void>> Heartbeat::await_standstill() {
  CANOPY_CO_ASSIGN(const std::string first, co_await read_register(store_));
  log_event(LogLevel::kInfo, "waiting-for-lease", register_path(),
            {{"register", first.substr(0, first.find_last_not_of(" \n") + 1)}});
  co_await loop_.sleep(kLeaseNanos + kDriftNanos);
  CANOPY_CO_ASSIGN(const std::string second, co_await read_register(store_));
  if (first != second) co_return fail(Code::kBusy, register_path(), "another canopyd serves this tree");
  co_return Result<void>();
}

Task<Result<uint32_t>> Heartbeat::claim(bool locked) {
  auto before = co_await claims();
  if (!before) co_return fail(std::move(before).error());
  bool wait = !locked && !before->empty();
  if (wait) {
    CANOPY_CO_ASSIGN(const bool is_released, co_await released(before->back()));
    wait = !is_released;
  }
  if (wait) CANOPY_CO_TRY(co_await await_standstill());
  Nanos sent = loop_.now();
  generation_ = before->empty() ? 1 : before->back() + 1;
  std::string claim = fmt::format("{}.{}", register_path(), generation_);
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  auto file = co_await store_.open(claim, options);
  if (!file) {
    if (file.error().code() == Code::kAlreadyExists) {
      co_return fail(Code::kBusy, claim, "another canopyd has just claimed this tree");
    }
    co_return fail(std::move(file).error());
  }
  std::string text = fmt::format("{{Holder=\"{}\";}}\n", holder_);
  std::string_view piece = text;
  auto written = co_await (*file)->write(0, std::span(&piece, 1), Durable::kYes);
  if (!written) co_return fail(std::move(written).error());
  CANOPY_CO_TRY(co_await store_.sync_directory(std::string(kTreeRoot)));
  CANOPY_CO_TRY(co_await write());
  // The highest claim is what counts; those below it are only names, of starts that were killed some of them.
  for (uint32_t older : *before) {
    auto gone = co_await store_.remove(fmt::format("{}.{}", register_path(), older), Durable::kNo);
    if (!gone && gone.error().code() != Code::kNotFound) co_return fail(std::move(gone).error());
  }
  if (wait) {
    co_await loop_.sleep(kLeaseNanos + kDriftNanos);
    sent = loop_.now();
    CANOPY_CO_TRY(co_await beat());
  }
  lease_.renew(sent);
  co_return generation_;
}

Task<Result<void>> Heartbeat::write() {
  dict::Dict entries;
  entries.set("Beat", ++beat_);
  entries.set("Generation", generation_);
  entries.set("Holder", holder_);
  if (released_) entries.set("Released", "YES");
  std::string text = dict::print(entries) + "\n";
  text.resize(512, ' ');  // of one size, so that a shorter text leaves nothing of a longer one
  OpenOptions options;
  options.write = options.create = true;
  auto file = co_await store_.open(register_path(), options);
  if (!file) co_return fail(std::move(file).error());
  std::string_view piece = text;
  auto written = co_await (*file)->write(0, std::span(&piece, 1), Durable::kNo);
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

Task<Result<void>> Heartbeat::release() {
  lease_.end();
  released_ = true;  // also in a beat that is under way
  auto found = co_await claims();
  if (!found) co_return fail(std::move(found).error());
  if (found->empty() || found->back() != generation_) co_return Result<void>();  // another holder's by now
  co_return co_await write();
}

Task<Result<void>> Heartbeat::beat() {
  if (released_) co_return fail(Code::kTryAgain, register_path(), "the tree was released");
  const Nanos sent = loop_.now();
  auto found = co_await claims();
  if (!found) co_return fail(std::move(found).error());
  const uint32_t highest = found->empty() ? 0 : found->back();
  if (highest > generation_) {
    lease_.end();
    co_return fail(Code::kFenced, register_path(), fmt::format("generation {} has taken over", highest));
  }
  CANOPY_CO_TRY(co_await write());
  lease_.renew(sent);
  co_return Result<void>();
}

}  // namespace canopy
