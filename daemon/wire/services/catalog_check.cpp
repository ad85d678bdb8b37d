#include "daemon/wire/services/catalog_check.h"

#include "daemon/catalog/summaries.h"

namespace canopy::wire {
namespace {

void add_dropped(Node& node, std::string account, std::string what, v1::CheckResponse& out) {
  v1::Damage* damage = out.add_damages();
  damage->set_file(node.catalog()->options().directory);
  damage->set_what(std::move(what));
  damage->set_account(std::move(account));
  damage->set_repaired(true);
}

}  // namespace

Task<Result<void>> check_catalog_names(Node& node, std::string domain, v1::CheckResponse& out) {
  Shard& owner = node.shard_of(slot_of("", domain));
  co_await owner.loop.switch_to();
  auto at = owner.accounts.domains().domains.find(domain);
  if (node.catalog() == nullptr || at == owner.accounts.domains().domains.end()) co_return Result<void>();
  std::shared_ptr<const Domain> found = at->second;
  auto differences = co_await owner.names.check(std::move(found));
  if (!differences) co_return fail(std::move(differences).error());
  for (const std::string& name : *differences) {
    add_dropped(node, AccountAddress{name, domain}.to_string(),
                "the list of the domain's accounts said otherwise than the tree; it was made anew", out);
  }
  co_return Result<void>();
}

Task<Result<void>> check_catalog_summaries(Node& node, Shard& shard, std::shared_ptr<Account> account,
                                           v1::CheckResponse& out) {
  std::string name = account->name();
  auto dropped = co_await check_summaries(node.catalog(), shard.loop, std::move(account));
  // Rows that cannot be read count for nothing: that is no damage of the account's.
  if (dropped && dropped->wrong > 0) {
    add_dropped(node, name,
                fmt::format("{} summaries were not the messages'; they were dropped", dropped->wrong), out);
  }
  co_return Result<void>();
}

}  // namespace canopy::wire
