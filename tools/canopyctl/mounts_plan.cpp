#include "tools/canopyctl/mounts_plan.h"

#include <algorithm>

#include "daemon/tree/foldering.h"

namespace canopy::ctl {
namespace {

constexpr std::string_view kSub = ".sub";
constexpr std::string_view kLetters = "0123456789_abcdefghijklmnopqrstuvwxyz";

struct Leaf {
  std::string folder;  // "a" of "a.sub"
  uint64_t accounts = 0;
};

// The folders that there are, and those of one letter that accounts of other names would get.
std::vector<Leaf> leaves_of(const PlanRequest& request, const AccountCounts& counts) {
  std::map<std::string, uint64_t> found;
  if (request.foldering == "1" || request.foldering.starts_with("1-"))
    for (char letter : kLetters) found[std::string(1, letter)] = 0;
  if (request.foldering.starts_with("hash-1"))
    for (char digit : std::string_view("0123456789abcdef")) found[std::string(1, digit)] = 0;
  const std::string above = request.domain_directory + "/";
  for (const auto& [path, accounts] : counts.by_leaf)
    if (path.starts_with(above) && path.ends_with(kSub))
      found[path.substr(above.size(), path.size() - above.size() - kSub.size())] += accounts;
  std::vector<Leaf> leaves;
  for (const auto& [folder, accounts] : found) leaves.push_back({folder, accounts});
  return leaves;
}

// Letters of one store as one class: [0-9_a-d].
std::string class_of(const std::string& letters) {
  if (letters.size() == 1) return letters;
  std::string out = "[";
  for (size_t i = 0; i < letters.size();) {
    size_t last = i;
    while (last + 1 < letters.size() && letters[last + 1] == letters[last] + 1) ++last;
    out += letters[i];
    if (last > i) out += (last > i + 1 ? "-" : "") + std::string(1, letters[last]);
    i = last + 1;
  }
  return out + "]";
}

// How much more accounts on each store are used than all are on average; what is not named is 1.
std::map<std::string, double> use_of_accounts(const PlanRequest& request, const AccountCounts& counts) {
  std::map<std::string, double> use;
  double operations = 0, accounts = 0;
  for (const auto& [store, of] : request.operations) {
    const auto there = counts.by_store.find(store);
    if (there == counts.by_store.end() || there->second == 0) continue;
    use[store] = static_cast<double>(of) / static_cast<double>(there->second);
    operations += static_cast<double>(of);
    accounts += static_cast<double>(there->second);
  }
  if (operations == 0) return {};
  for (auto& [store, of] : use) of /= operations / accounts;
  return use;
}

bool is_leaf_row(const MountRow& row, const std::string& domain_directory) {
  const std::string above = domain_directory + "/";
  return row.pattern.starts_with(above) && row.pattern.ends_with(kSub) &&
         row.pattern.find('/', above.size()) == std::string::npos;
}

}  // namespace

std::string to_line(const MountRow& row) {
  return row.pattern + " " + row.store + (row.prefix.empty() ? "" : " " + row.prefix);
}

Result<MountPlan> plan_mounts(const PlanRequest& request, const AccountCounts& counts) {
  if (request.stores.empty())
    return fail(Code::kInvalidArgument, request.domain_directory, "there is no store to spread it over");
  const std::vector<Leaf> leaves = leaves_of(request, counts);
  if (leaves.empty())
    return fail(Code::kInvalidArgument, request.domain_directory,
                "it has no folders that could lie on different stores: its account foldering is " +
                    request.foldering);
  // A folder without accounts weighs a little, so that folders are spread also before there are accounts.
  double all = 0, room = 0;
  const std::map<std::string, double> use = use_of_accounts(request, counts);
  CANOPY_ASSIGN(const MountTable present, MountTable::make(request.rows));
  auto weight_of = [&](const Leaf& leaf) {
    const std::string path = fmt::format("{}/{}{}", request.domain_directory, leaf.folder, kSub);
    const auto known = use.find(present.row_for(path).store);
    return static_cast<double>(leaf.accounts) * (1 + (known == use.end() ? 1 : known->second)) / 2 + 0.01;
  };
  for (const Leaf& leaf : leaves) all += weight_of(leaf);
  for (const PlanRequest::Store& store : request.stores) room += static_cast<double>(store.bytes_total) + 1;

  std::map<std::string, std::string> letters;  // by store: folders of one letter
  MountPlan plan;
  for (const MountRow& row : request.rows)
    if (!is_leaf_row(row, request.domain_directory)) plan.rows.push_back(row);
  size_t at = 0;
  double given = 0, share = (static_cast<double>(request.stores[0].bytes_total) + 1) / room * all;
  for (const Leaf& leaf : leaves) {
    const double weight = weight_of(leaf);
    // The cut is where the middle of a folder passes the end of the store's share.
    while (at + 1 < request.stores.size() && given + weight / 2 > share) {
      ++at;
      share += (static_cast<double>(request.stores[at].bytes_total) + 1) / room * all;
    }
    given += weight;
    const std::string& store = request.stores[at].name;
    plan.accounts[store] += leaf.accounts;
    if (leaf.folder.size() == 1)
      letters[store] += leaf.folder;
    else
      plan.rows.push_back({fmt::format("{}/{}{}", request.domain_directory, leaf.folder, kSub), store, ""});
  }
  for (const auto& [store, of] : letters)
    plan.rows.push_back({fmt::format("{}/{}{}", request.domain_directory, class_of(of), kSub), store, ""});
  CANOPY_ASSIGN(const MountTable table, MountTable::make(plan.rows));
  plan.rows.assign(table.rows().begin(), table.rows().end());
  for (const MountRow& row : plan.rows)
    if (std::ranges::find(request.rows, row) == request.rows.end()) plan.added.push_back(row);
  for (const MountRow& row : request.rows)
    if (std::ranges::find(plan.rows, row) == plan.rows.end()) plan.removed.push_back(row);
  return plan;
}

}  // namespace canopy::ctl
