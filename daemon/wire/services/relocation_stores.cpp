#include "daemon/wire/services/relocation_stores.h"

#include <algorithm>
#include <set>

#include "daemon/wire/services/domain_moves.h"
#include "daemon/wire/services/stores_service.h"

namespace canopy::wire {
namespace {

struct Ends {
  std::set<std::string> reads, writes;
};

// Of what lies at this path and below it.
void add(const Mounts& mounts, const std::string& path, bool reads, bool writes, Ends& ends) {
  if (path.empty()) return;
  if (reads) {
    const auto above = mounts.places_of(path);
    for (const MountRow* row : above) ends.reads.insert(row->store);
    for (const MountRow* row : mounts.places_below(path, above)) ends.reads.insert(row->store);
  }
  if (writes) {
    ends.writes.insert(mounts.table().row_for(path).store);
    for (const MountRow* row : mounts.table().rows_below(path)) ends.writes.insert(row->store);
  }
}

Ends ends_of(const Mounts& mounts, const Domain& domain) {
  Ends ends;
  add(mounts, domain.directory(), true, true, ends);
  add(mounts, domain.layout.domain_fast_directory(domain.name), true, true, ends);
  for (const TreeLayout& layout : domain.older)
    add(mounts, layout.domain_fast_directory(domain.name), true, false, ends);
  return ends;
}

// A domain that moves stays on its store.
Ends ends_of_domains(const Mounts& mounts, const DomainTable& table) {
  Ends ends;
  for (const auto& [name, domain] : table.domains)
    if (domain->layout.domain_foldering() != table.tree.domain_foldering)
      ends.reads.insert(mounts.table().row_for(domain->directory()).store);
  ends.writes = ends.reads;
  return ends;
}

Ends ends_of(const Mounts& mounts, const DomainTable& table, const std::string& relocation) {
  if (relocation == kAllDomains) return ends_of_domains(mounts, table);
  if (relocation != kMountsRun) {
    const Domain* domain = table.find(relocation);
    return domain == nullptr ? Ends() : ends_of(mounts, *domain);
  }
  Ends ends;
  for (const MountRow& row : mounts.superseded()) ends.reads.insert(row.store);
  ends.writes = mounts.stores_moved_to();
  return ends;
}

}  // namespace

Task<void> put_stores(Node& node, std::span<v1::RelocationInfo* const> relocations) {
  const bool some = std::ranges::any_of(
      relocations, [](const auto* of) { return of->state() != "none" && of->state() != "finished"; });
  if (!some || node.here().stores == nullptr) co_return;
  const GatheredStores gathered = co_await gather_stores(node);
  const auto mounts = node.here().stores->config()->mounts;
  const auto table = node.here().accounts.domain_table();
  for (v1::RelocationInfo* of : relocations) {
    if (of->state() == "none" || of->state() == "finished") continue;
    const Ends ends = ends_of(*mounts, *table, of->domain());
    for (const v1::StoreInfo& store : gathered.infos) {
      const bool reads = ends.reads.contains(store.name()), writes = ends.writes.contains(store.name());
      if (!reads && !writes) continue;
      v1::RelocationStore* out = of->add_stores();
      out->set_name(store.name());
      out->set_reads(reads);
      out->set_writes(writes);
      out->set_state(store.state());
      out->set_in_flight(store.in_flight());
      out->set_latency_p99_us(store.latency_p99_us());
    }
  }
}

}  // namespace canopy::wire
