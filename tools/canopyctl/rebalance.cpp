#include "tools/canopyctl/rebalance.h"

#include "tools/canopyctl/store_drain.h"

namespace canopy::ctl {

namespace {
struct RebalanceArguments {
  std::vector<std::string> domains, stores;
  bool plan = false, apply = false, wait = false, load = false;
};
}  // namespace

static Result<std::vector<std::string>> all_domains(Context& context) {
  std::vector<std::string> names;
  v1::ListRequest request;
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListDomainsResponse page,
                  context.call(&wire::DirectoryStub::list_domains, request));
    names.insert(names.end(), page.names().begin(), page.names().end());
    end = page.end() || page.names().empty();
    if (!end) request.set_after(names.back());
  }
  return names;
}

static Result<void> rebalance(Context& context, const RebalanceArguments& arguments) {
  if (arguments.plan == arguments.apply)
    return fail(Code::kInvalidArgument, "rebalance", "say one of --plan and --apply");
  CANOPY_ASSIGN(PlanBasis basis, plan_basis(context, arguments.load));
  const std::vector<MountRow> before = basis.rows;
  std::vector<std::string> domains = arguments.domains;
  if (domains.empty()) {
    CANOPY_ASSIGN(domains, all_domains(context));
  }
  for (const std::string& domain : domains) {
    auto planned = plan_domain(context, basis, domain, arguments.stores);
    // One without folders cannot be spread; that is an error only where it was named.
    if (!planned && arguments.domains.empty() && planned.error().code() == Code::kInvalidArgument) continue;
    if (!planned) return fail(std::move(planned).error());
    basis.rows = std::move(planned->rows);
  }
  Json added = Json::array(), removed = Json::array();
  std::string text;
  for (const MountRow& row : before) {
    if (std::ranges::find(basis.rows, row) != basis.rows.end()) continue;
    removed.push_back(to_line(row));
    text += "- " + to_line(row) + "\n";
  }
  for (const MountRow& row : basis.rows) {
    if (std::ranges::find(before, row) != before.end()) continue;
    added.push_back(to_line(row));
    text += "+ " + to_line(row) + "\n";
  }
  const bool changes = !added.empty() || !removed.empty();
  if (!changes) text = "# the table is as it would be planned\n";
  Json out = {{"added", added}, {"removed", removed}, {"applied", arguments.apply}};
  if (arguments.apply && changes) {
    v1::SetMountsRequest request = set_mounts_request(basis.rows);
    request.set_expected_version(basis.version);
    CANOPY_TRY(context.call(&wire::StoresStub::set_mounts, request));
    text += "# accounts move in the background: canopyctl relocation show /\n";
  }
  if (arguments.apply && arguments.wait) {
    CANOPY_ASSIGN(const v1::RelocationInfo ended, wait_for_stores(context));
    out["state"] = ended.state();
    out["moved"] = ended.moved();
    out["bytes_copied"] = ended.bytes_copied();
    text +=
        fmt::format("# {}: {} moved, {} bytes copied\n", ended.state(), ended.moved(), ended.bytes_copied());
  }
  context.print(out, text);
  return {};
}

void add_rebalance_command(CLI::App& app, Commands& commands) {
  const auto command = commands.add(
      app, "rebalance", "spread accounts over the stores anew, as `mounts plan` proposes", rebalance);
  command.app->add_option("domain", command.arguments->domains, "domains; default: all that can be spread")
      ->type_name("DOMAIN");
  command.app
      ->add_option("--store", command.arguments->stores,
                   "a store to use (may be repeated; default: all that answer, but root and fast ones)")
      ->type_name("STORE");
  command.app->add_flag("--load", command.arguments->load, kLoadHelp);
  command.app->add_flag("--plan", command.arguments->plan, "only show how the table would change");
  command.app->add_flag("--apply", command.arguments->apply, "change it; accounts move in the background");
  command.app->add_flag("--wait", command.arguments->wait, "until all have moved");
}

}  // namespace canopy::ctl
