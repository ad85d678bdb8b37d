#include "daemon/account/cached_dicts.h"

#include <cerrno>

namespace canopy {

Task<Result<CachedDicts::Held>> CachedDicts::hold(std::string path) {
  Held held;
  while (is_closed(path)) co_await opened_.wait();
  translate(path);
  auto at = entries_.find(path);
  if (at != entries_.end()) {
    held.entry_ = at->second;
  } else {
    if (entries_.size() >= kCachedDictsMax) {
      std::erase_if(entries_, [](const auto& each) { return each.second.use_count() == 1; });
    }
    held.entry_ = entries_[path] = std::make_shared<Entry>(loop_);
  }
  held.guard_.emplace(co_await held.entry_->gate.lock());
  if (!held.entry_->loaded) {
    auto read = co_await files_.read(path);
    // A handle that a server no longer knows says nothing of the file: it may be there in a moment.
    if (!read && read.error().is_of_system() && read.error().error_number() == ESTALE)
      co_return fail(Code::kStoreUnavailable, std::move(path), read.error().message());
    if (!read && read.error().code() != Code::kNotFound) co_return fail(std::move(read).error());
    held.entry_->file = read ? std::move(*read) : dict::VersionedDict{};
    held.entry_->loaded = true;
  }
  held.path_ = std::move(path);
  co_return held;
}

Task<Result<void>> CachedDicts::replace(Held& held, uint32_t slot, dict::Dict changed,
                                        ChangeRequest request) {
  dict::VersionedDict file = held.entry_->file;
  if (file.version.none()) {
    std::string directory = held.path_.substr(0, held.path_.rfind('/'));
    CANOPY_CO_TRY(co_await make_directories(files_.store(), std::move(directory), 0700, Durable::kYes));
  }
  file.dict = std::move(changed);
  auto replaced = co_await files_.replace(slot, held.path_, std::move(file), request);
  if (!replaced) {
    held.entry_->loaded = false;  // which of the two is there has to be read
    co_return fail(std::move(replaced).error());
  }
  held.entry_->file = std::move(*replaced);
  co_return Result<void>();
}

Task<Result<void>> CachedDicts::move_to_newest_store(uint32_t slot, std::string path) {
  auto held = co_await hold(path);
  if (!held) co_return fail(std::move(held).error());
  co_return co_await files_.move_to_newest_store(slot, std::move(path));
}

void CachedDicts::forget_below(const std::string& directory) {
  std::erase_if(entries_, [&](const auto& held) { return held.first.starts_with(directory + "/"); });
  std::erase_if(moved_, [&](const auto& of) { return of.first == directory || of.second == directory; });
}

Task<void> CachedDicts::close_below(std::string directory) {
  closed_ = std::move(directory);
  opened_.reset();
  std::vector<std::shared_ptr<Entry>> below;
  for (const auto& [path, entry] : entries_)
    if (is_closed(path)) below.push_back(entry);
  for (const auto& entry : below) {
    const auto ended = co_await entry->gate.lock();
  }
  std::erase_if(entries_, [this](const auto& of) { return is_closed(of.first); });
}

void CachedDicts::open_below(const std::string& directory, const std::string& now) {
  if (directory != now) {
    moved_.erase(now);
    for (auto& [before, lies] : moved_)
      if (lies == directory) lies = now;
    moved_[directory] = now;
  }
  if (closed_ != directory) return;  // another one is closed meanwhile
  closed_.clear();
  opened_.set();
}

// `path` is DIRECTORY/KIND/FILE.
void CachedDicts::translate(std::string& path) const {
  if (moved_.empty()) return;
  const size_t file = path.rfind('/');
  const size_t kind = file == std::string::npos || file == 0 ? std::string::npos : path.rfind('/', file - 1);
  if (kind == std::string::npos) return;
  if (auto at = moved_.find(path.substr(0, kind)); at != moved_.end()) path.replace(0, kind, at->second);
}

}  // namespace canopy
