#include "daemon/account/aliases.h"

#include <xxhash.h>

#include <map>

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

Task<Result<std::string>> Aliases::find(std::shared_ptr<const Domain> domain, std::string alias) {
  auto held = co_await files_.hold(path_of(*domain, part_of(alias)));
  if (!held) co_return fail(std::move(held).error());
  const dict::Value* value = held->file().dict.find(alias);
  if (value == nullptr || value->string() == nullptr) {
    co_return fail(Code::kNotFound, alias + "@" + domain->name, "there is no such account or alias");
  }
  co_return full_name(*domain, *value->string());
}

Task<Result<bool>> Aliases::answered(std::shared_ptr<const Domain> domain, std::string alias, RequestId id) {
  if (is_none(id)) co_return false;
  auto held = co_await files_.hold(path_of(*domain, part_of(alias)));
  if (!held) co_return fail(std::move(held).error());
  co_return held->file().answered(ChangeRequest{id}.key()) != nullptr;
}

Task<Result<void>> Aliases::set(std::shared_ptr<const Domain> domain, std::string alias, std::string account,
                                RequestId id) {
  auto held = co_await files_.hold(path_of(*domain, part_of(alias)));
  if (!held) co_return fail(std::move(held).error());
  ChangeRequest request{id, files_.loop().wall_clock_ns() / kSecond};
  if (held->file().answered(request.key()) != nullptr) co_return Result<void>();
  dict::Dict changed = held->file().dict;
  if (!account.empty()) {
    changed.set(alias, stored_name(*domain, account));
  } else if (!changed.erase(alias)) {
    co_return fail(Code::kNotFound, alias + "@" + domain->name, "there is no such alias");
  }
  co_return co_await files_.replace(*held, domain->slot, std::move(changed), request);
}

Task<Result<void>> Aliases::retarget(std::shared_ptr<const Domain> domain, std::string from, std::string to) {
  for (uint32_t part = 0; part < kParts; ++part) {
    auto held = co_await files_.hold(path_of(*domain, part));
    if (!held) co_return fail(std::move(held).error());
    dict::Dict changed = held->file().dict;
    bool any = false;
    for (const dict::Entry& alias : held->file().dict) {
      if (alias.value.string() == nullptr || full_name(*domain, *alias.value.string()) != from) continue;
      changed.set(alias.key, stored_name(*domain, to));
      any = true;
    }
    if (any) CANOPY_CO_TRY(co_await files_.replace(*held, domain->slot, std::move(changed)));
  }
  co_return Result<void>();
}

Task<Result<Aliases::Page>> Aliases::list(std::shared_ptr<const Domain> domain, std::string after,
                                          std::string prefix, size_t limit) {
  std::map<std::string, std::string> found;  // the smallest limit + 1
  for (uint32_t part = 0; part < kParts; ++part) {
    auto held = co_await files_.hold(path_of(*domain, part));
    if (!held) co_return fail(std::move(held).error());
    for (const dict::Entry& alias : held->file().dict) {
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

}  // namespace canopy
