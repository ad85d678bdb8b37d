// SimClient as an administrator of several stores: which of them serves what changes while accounts are used,
// whatever is still on its way to another store.
#include "daemon/tree/mount_table.h"
#include "tests/sim/client_ask.h"

namespace canopy::sim {

std::string SimClient::draw_store() {
  return std::string(kStoreNames[random_.below(1 + site_.plan.others.size())]);
}

// One row leads everywhere; where the plan lets the table split the domain, others lead to leaves of it. A
// store that no row names is being emptied.
std::vector<MountRow> SimClient::draw_mounts() {
  constexpr std::string_view kLeaves[] = {
      "SharedDomains/company.com",
      "SharedDomains/company.com/*",
      "SharedDomains/company.com/[a-m].sub",
      "SharedDomains/company.com/[0-7].sub",
      "SharedDomains/company.com/*/[a-m].sub",
      "SharedDomains/company.com/user0.macnt",
      "SharedDomains/company.com/fast",
      "SharedDomains/fast",
  };
  auto row = [this](std::string_view pattern) {
    MountRow made{std::string(pattern), draw_store(), ""};
    if (random_.one_in(4)) made.prefix = std::string(kStorePrefix);
    return made;
  };
  std::vector<MountRow> rows{row("/")};
  if (!site_.plan.split) return rows;
  for (const std::string_view leaf : kLeaves)
    if (random_.one_in(4)) rows.push_back(row(leaf));
  return rows;
}

Task<void> SimClient::set_mounts() {
  v1::SetMountsRequest request;
  std::string what = "mounts";
  for (const MountRow& row : draw_mounts()) {
    v1::MountRow* one = request.add_rows();
    one->set_pattern(row.pattern);
    one->set_store(row.store);
    one->set_prefix(row.prefix);
    what += fmt::format("; {} {} {}", row.pattern, row.store, row.prefix);
  }
  // Refused when too many rows are superseded.
  (void)co_await ask<v1::SetMountsRequest, v1::MountsResponse>(0, CANOPY_SIM_METHOD(Stores, SetMounts),
                                                               request, what);
}

Task<void> SimClient::change_mounts() {
  if (random_.below(10) < 6) co_return co_await set_mounts();
  co_await turn_or_pause(std::string(kAllMounts));
}

Task<void> SimClient::add_stores() {
  for (size_t i = 0; i < site_.plan.others.size(); ++i) {
    v1::AddStoreRequest request;
    request.set_name(std::string(kStoreNames[i + 1]));
    request.set_address(store_address(i + 1));
    request.set_new_store(true);
    request.set_allow_same_device(true);
    request.set_shared(site_.plan.others[i].shared);
    auto added = co_await wire::StoresStub(*client_).add(request);
    while (!added && added.error().code() == Code::kConnectionLost)
      added = co_await wire::StoresStub(*client_).add(request);
    if (!added && added.error().code() != Code::kAlreadyExists)
      site_.trace.violation("the store {} cannot be added: {}", request.name(), added.error().to_string());
  }
}

Task<std::optional<MountTable>> SimClient::settle_mounts() {
  if (site_.plan.others.empty()) co_return MountTable::single(kStoreNames[0]);
  const auto moved = co_await settle(std::string(kAllMounts));
  if (!moved) co_return std::nullopt;
  auto now = co_await ask<v1::Empty, v1::MountsResponse>(0, CANOPY_SIM_METHOD(Stores, GetMounts), v1::Empty(),
                                                         "look at the mount table");
  if (!now.done() || now.response.superseded_size() != 0) co_return std::nullopt;
  std::vector<MountRow> rows;
  for (const v1::MountRow& row : now.response.rows())
    rows.push_back({row.pattern(), row.store(), row.prefix()});
  auto table = MountTable::make(std::move(rows));
  if (!table) co_return std::nullopt;
  co_return std::move(*table);
}

}  // namespace canopy::sim
