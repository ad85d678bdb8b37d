// canopyctl mounts: show, set, plan.
#include <fstream>
#include <iostream>

#include "daemon/tree/mount_table.h"
#include "tools/canopyctl/command.h"
#include "tools/canopyctl/mounts_plan.h"
#include "tools/canopyctl/rebalance.h"

namespace canopy::ctl {

namespace {
struct MountsArguments {
  std::string file, domain;
  std::vector<std::string> stores;
  bool moves = false, dry_run = false, load = false;
};
}  // namespace

static std::string row_text(const v1::MountRow& row) {
  return row.pattern() + " " + row.store() + (row.prefix().empty() ? "" : " " + row.prefix());
}

static Json rows_json(const google::protobuf::RepeatedPtrField<v1::MountRow>& rows) {
  Json out = Json::array();
  for (const v1::MountRow& row : rows)
    out.push_back({{"pattern", row.pattern()}, {"store", row.store()}, {"prefix", row.prefix()}});
  return out;
}

static Json mounts_json(const v1::MountsResponse& mounts) {
  return {{"version", mounts.version()},
          {"rows", rows_json(mounts.rows())},
          {"superseded", rows_json(mounts.superseded())},
          {"unnamed_folders",
           std::vector<std::string>(mounts.unnamed_folders().begin(), mounts.unnamed_folders().end())}};
}

static std::string mounts_text(const v1::MountsResponse& mounts) {
  std::string text;
  for (const v1::MountRow& row : mounts.rows()) text += row_text(row) + "\n";
  if (mounts.superseded_size() > 0)
    text += "# superseded, newest first: what lies there is found, and nothing new goes there\n";
  for (const v1::MountRow& row : mounts.superseded()) text += "# " + row_text(row) + "\n";
  for (const std::string& folder : mounts.unnamed_folders())
    text += fmt::format("# no row of its neighbours names {}\n", folder);
  return text;
}

// What is elsewhere than the table says, and how many accounts there are where.
Result<AccountCounts> count_accounts(Context& context,
                                     const std::function<void(const v1::AccountMove&)>& on_move) {
  AccountCounts counts;
  v1::ListMovesRequest request;
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListMovesResponse page, context.call(&wire::StoresStub::list_moves, request));
    for (const v1::AccountMove& move : page.moves()) on_move(move);
    for (const v1::AccountsOfStore& of : page.accounts()) counts.by_store[of.store()] += of.accounts();
    for (const v1::AccountsOfStore& of : page.leaves()) counts.by_leaf[of.store()] += of.accounts();
    end = page.end();
    if (!end && page.cursor() == request.cursor())
      return fail(Code::kInternal, "mounts", "the server's cursor does not move");
    request.set_cursor(page.cursor());
  }
  return counts;
}

static Result<void> show(Context& context, const MountsArguments& arguments) {
  CANOPY_ASSIGN(const v1::MountsResponse mounts, context.call(&wire::StoresStub::get_mounts, v1::Empty()));
  CANOPY_ASSIGN(const v1::ListStoresResponse stores, context.call(&wire::StoresStub::list, v1::Empty()));
  Json object = mounts_json(mounts);
  std::string text = mounts_text(mounts);
  object["stores"] = Json::array();
  for (const v1::StoreInfo& store : stores.stores()) {
    object["stores"].push_back(store_json(store));
    text += fmt::format("# store {}: {}\n", store.name(), store_figures(store));
  }
  if (arguments.moves) {
    Json moves = Json::array();
    std::string lines;
    uint64_t count = 0;
    CANOPY_ASSIGN(const AccountCounts counts, count_accounts(context, [&](const v1::AccountMove& move) {
                    ++count;
                    if (context.json())
                      moves.push_back({{"account", move.account()},
                                       {"path", move.path()},
                                       {"from", move.from()},
                                       {"to", move.to()}});
                    else
                      lines += fmt::format("{}: {} lies on {}, its place is on {}\n", move.account(),
                                           move.path(), move.from(), move.to());
                  }));
    object["accounts"] = counts.by_store;
    object["moves"] = moves;
    for (const auto& [store, accounts] : counts.by_store)
      text += fmt::format("# store {}: {} accounts\n", store, accounts);
    text += fmt::format("# {} to be moved\n", count) + lines;
  }
  context.print(object, text);
  return {};
}

static Result<std::vector<MountRow>> read_table(const std::string& file) {
  std::ifstream opened;
  if (file != "-") {
    opened.open(file);
    if (!opened) return fail(Code::kNotFound, file, "the file cannot be read");
  }
  std::istream& in = file == "-" ? std::cin : opened;
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  CANOPY_ASSIGN(const MountTable table, MountTable::parse(text));
  return std::vector<MountRow>(table.rows().begin(), table.rows().end());
}

v1::SetMountsRequest set_mounts_request(const std::vector<MountRow>& rows) {
  v1::SetMountsRequest request;
  for (const MountRow& row : rows) {
    v1::MountRow* one = request.add_rows();
    one->set_pattern(row.pattern);
    one->set_store(row.store);
    one->set_prefix(row.prefix);
  }
  return request;
}

static Result<void> set(Context& context, const MountsArguments& arguments) {
  CANOPY_ASSIGN(const auto rows, read_table(arguments.file));
  v1::SetMountsRequest request = set_mounts_request(rows);
  request.set_dry_run(arguments.dry_run);
  CANOPY_ASSIGN(const v1::MountsResponse mounts, context.call(&wire::StoresStub::set_mounts, request));
  context.print(mounts_json(mounts), mounts_text(mounts));
  return {};
}

Result<MountPlan> plan_domain(Context& context, const PlanBasis& basis, const std::string& name,
                              const std::vector<std::string>& only) {
  v1::DomainRequest of;
  of.set_name(name);
  CANOPY_ASSIGN(const v1::Domain domain, context.call(&wire::DirectoryStub::get_domain, of));
  PlanRequest request;
  request.domain_directory = domain.directory();
  request.foldering = domain.account_foldering();
  request.rows = basis.rows;
  request.operations = basis.operations;
  for (const v1::StoreInfo& store : basis.stores.stores()) {
    const bool named = std::ranges::find(only, store.name()) != only.end();
    if (only.empty() ? store.fast() || store.name() == "root" || !store.reason().empty() : !named) continue;
    request.stores.push_back({store.name(), store.bytes_total()});
  }
  for (const std::string& each : only)
    if (std::ranges::none_of(request.stores, [&](const auto& store) { return store.name == each; }))
      return fail(Code::kNotFound, each, "there is no such store");
  return plan_mounts(request, basis.counts);
}

Result<PlanBasis> plan_basis(Context& context, bool by_load) {
  PlanBasis basis;
  CANOPY_ASSIGN(const v1::MountsResponse now, context.call(&wire::StoresStub::get_mounts, v1::Empty()));
  CANOPY_ASSIGN(basis.stores, context.call(&wire::StoresStub::list, v1::Empty()));
  CANOPY_ASSIGN(basis.counts, count_accounts(context, [](const v1::AccountMove&) {}));
  basis.version = now.version();
  if (by_load)
    for (const v1::StoreInfo& store : basis.stores.stores())
      basis.operations[store.name()] = store.operations();
  for (const v1::MountRow& row : now.rows()) basis.rows.push_back({row.pattern(), row.store(), row.prefix()});
  return basis;
}

static Result<void> plan(Context& context, const MountsArguments& arguments) {
  CANOPY_ASSIGN(const PlanBasis basis, plan_basis(context, arguments.load));
  CANOPY_ASSIGN(const MountPlan planned, plan_domain(context, basis, arguments.domain, arguments.stores));
  std::string text;
  Json out_rows = Json::array(), added = Json::array(), removed = Json::array(), shares = Json::array();
  for (const MountRow& row : planned.rows) out_rows.push_back(to_line(row));
  for (const MountRow& row : planned.removed) {
    removed.push_back(to_line(row));
    text += "- " + to_line(row) + "\n";
  }
  for (const MountRow& row : planned.added) {
    added.push_back(to_line(row));
    text += "+ " + to_line(row) + "\n";
  }
  for (const auto& [store, accounts] : planned.accounts) {
    shares.push_back({{"store", store}, {"accounts", accounts}});
    text += fmt::format("# store {}: {} accounts of the domain\n", store, accounts);
  }
  if (planned.added.empty() && planned.removed.empty()) text += "# the table is as it would be planned\n";
  context.print({{"rows", out_rows}, {"added", added}, {"removed", removed}, {"shares", shares}}, text);
  return {};
}

void add_mounts_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "mounts", "the mount table: which store serves which part of the tree");
  add_rebalance_command(app, commands);
  const auto show_command = commands.add(
      group, "show", "the table, as `mounts set` takes it, and how full and busy its stores are", show);
  show_command.app->add_flag("--moves", show_command.arguments->moves,
                             "also accounts that lie elsewhere than it says, and how many each store holds");
  const auto set_command =
      commands.add(group, "set", "replace the table; effective at once for what is new", set);
  set_command.app
      ->add_option("file", set_command.arguments->file,
                   "one row a line, PATTERN STORE [PREFIX]; -: standard input")
      ->required()
      ->type_name("FILE");
  set_command.app->add_flag("--dry-run", set_command.arguments->dry_run, "only check it and show the result");
  const auto plan_command =
      commands.add(group, "plan", "propose rows that spread a domain over stores", plan);
  plan_command.app->add_option("domain", plan_command.arguments->domain, "domain name")
      ->required()
      ->type_name("DOMAIN");
  plan_command.app
      ->add_option("--store", plan_command.arguments->stores,
                   "a store to use (may be repeated; default: all that answer, but root and fast ones)")
      ->type_name("STORE");
  plan_command.app->add_flag("--load", plan_command.arguments->load, kLoadHelp);
}

}  // namespace canopy::ctl
