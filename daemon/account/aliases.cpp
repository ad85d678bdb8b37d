#include "daemon/account/aliases.h"

#include <xxhash.h>

namespace canopy {
namespace {

constexpr uint32_t kParts = 256;

uint32_t part_of(std::string_view alias) {
  return static_cast<uint32_t>(XXH64(alias.data(), alias.size(), 0) % kParts);
}

// Within the domain the account's name stands alone, so that renaming the domain leaves its aliases right.
std::string stored_name(const Domain& domain, const std::string& account) {
  std::string own = "@" + domain.name;
  return account.ends_with(own) ? account.substr(0, account.size() - own.size()) : account;
}
std::string full_name(const Domain& domain, const std::string& stored) {
  return stored.find('@') == std::string::npos ? stored + "@" + domain.name : stored;
}

}  // namespace

std::string Aliases::path_of(const Domain& domain, uint32_t part) {
  return fmt::format("{}/aliases/{:02x}.data", domain.directory(), part);
}

std::shared_ptr<Aliases::Entry> Aliases::entry(const Domain& domain, uint32_t part) {
  std::string path = path_of(domain, part);
  auto at = entries_.find(path);
  if (at != entries_.end()) return at->second;
  if (entries_.size() >= kAliasFilesCachedMax) {
    std::erase_if(entries_, [](const auto& held) { return held.second.use_count() == 1; });
  }
  return entries_[path] = std::make_shared<Entry>(loop_);
}

Task<Result<void>> Aliases::load(std::shared_ptr<Entry> held, std::string path) {
  if (held->loaded) co_return Result<void>();
  auto read = co_await files_.read(path);
  if (!read && read.error().code() != Code::kNotFound) co_return fail(std::move(read).error());
  held->file = read ? std::move(*read) : dict::VersionedDict{};
  held->loaded = true;
  co_return Result<void>();
}

Task<Result<std::string>> Aliases::find(std::shared_ptr<const Domain> domain, std::string alias) {
  uint32_t part = part_of(alias);
  auto held = entry(*domain, part);
  auto guard = co_await held->gate.lock();
  CANOPY_CO_TRY(co_await load(held, path_of(*domain, part)));
  const dict::Value* value = held->file.dict.find(alias);
  if (value == nullptr || value->string() == nullptr) {
    co_return fail(Code::kNotFound, alias + "@" + domain->name, "there is no such account or alias");
  }
  co_return full_name(*domain, *value->string());
}

Task<Result<void>> Aliases::set(std::shared_ptr<const Domain> domain, std::string alias,
                                std::string account) {
  uint32_t part = part_of(alias);
  auto held = entry(*domain, part);
  auto guard = co_await held->gate.lock();
  std::string path = path_of(*domain, part);
  CANOPY_CO_TRY(co_await load(held, path));
  dict::Dict changed = held->file.dict;
  if (!account.empty()) {
    changed.set(alias, stored_name(*domain, account));
  } else if (!changed.erase(alias)) {
    co_return fail(Code::kNotFound, alias + "@" + domain->name, "there is no such alias");
  }
  CANOPY_CO_TRY(
      co_await make_directories(files_.store(), domain->directory() + "/aliases", 0700, Durable::kYes));
  co_return co_await replace(domain, held, path, std::move(changed));
}

// Under the entry's gate.
Task<Result<void>> Aliases::replace(std::shared_ptr<const Domain> domain, std::shared_ptr<Entry> held,
                                    std::string path, dict::Dict changed) {
  auto version = co_await files_.replace(domain->slot, path, changed, held->file.version);
  if (!version) {
    held->loaded = false;  // which of the two is there has to be read
    co_return fail(std::move(version).error());
  }
  held->file.dict = std::move(changed);
  held->file.version = *version;
  co_return Result<void>();
}

Task<Result<void>> Aliases::retarget(std::shared_ptr<const Domain> domain, std::string from, std::string to) {
  for (uint32_t part = 0; part < kParts; ++part) {
    auto held = entry(*domain, part);
    auto guard = co_await held->gate.lock();
    std::string path = path_of(*domain, part);
    CANOPY_CO_TRY(co_await load(held, path));
    dict::Dict changed = held->file.dict;
    bool any = false;
    for (const dict::Entry& alias : held->file.dict) {
      if (alias.value.string() == nullptr || full_name(*domain, *alias.value.string()) != from) continue;
      changed.set(alias.key, stored_name(*domain, to));
      any = true;
    }
    if (any) CANOPY_CO_TRY(co_await replace(domain, held, path, std::move(changed)));
  }
  co_return Result<void>();
}

Task<Result<Aliases::Page>> Aliases::list(std::shared_ptr<const Domain> domain, std::string after,
                                          std::string prefix, size_t limit) {
  std::map<std::string, std::string> found;  // the smallest limit + 1
  for (uint32_t part = 0; part < kParts; ++part) {
    auto held = entry(*domain, part);
    auto guard = co_await held->gate.lock();
    CANOPY_CO_TRY(co_await load(held, path_of(*domain, part)));
    for (const dict::Entry& alias : held->file.dict) {
      if (alias.key <= after || !alias.key.starts_with(prefix) || alias.value.string() == nullptr) continue;
      found.emplace(alias.key, full_name(*domain, *alias.value.string()));
      if (found.size() > limit + 1) found.erase(std::prev(found.end()));
    }
  }
  Page page;
  page.end = found.size() <= limit;
  for (auto& [alias, account] : found) {
    if (page.aliases.size() == limit) break;
    page.aliases.emplace_back(alias, account);
  }
  co_return page;
}

void Aliases::forget_domain(const std::string& directory) {
  std::erase_if(entries_, [&](const auto& held) { return held.first.starts_with(directory + "/"); });
}

}  // namespace canopy
