// canopyctl account move: an account gets a row of the mount table of its own, or loses it; relocation does
// the rest.
#include "tools/canopyctl/account_move.h"

#include "daemon/tree/layout.h"
#include "tools/canopyctl/rebalance.h"
#include "tools/canopyctl/store_drain.h"

namespace canopy::ctl {

namespace {
struct AccountMoveArguments {
  std::string account, store;
  bool back = false, wait = false;
};
}  // namespace

// Where the newest layout of its domain has it, whatever it lies under yet.
static Result<std::string> newest_place(Context& context, const std::string& account) {
  CANOPY_ASSIGN(const AccountAddress address, parse_address(account));
  v1::DomainRequest request;
  request.set_name(address.domain);
  CANOPY_ASSIGN(const v1::Domain domain, context.call(&wire::DirectoryStub::get_domain, request));
  CANOPY_ASSIGN(const TreeLayout layout, TreeLayout::parse("flat", domain.account_foldering(), "0"));
  const std::string within = layout.account_directory(address);
  return domain.directory() + within.substr(within.find('/', within.find('/') + 1));
}

static Result<void> move_account(Context& context, const AccountMoveArguments& arguments) {
  if (arguments.store.empty() != arguments.back)
    return fail(Code::kInvalidArgument, arguments.account, "say either a store or --back");
  v1::AccountRef of;
  of.set_name(arguments.account);
  CANOPY_ASSIGN(const v1::Location is, context.call(&wire::DirectoryStub::locate, of));
  CANOPY_ASSIGN(const v1::MountsResponse mounts, context.call(&wire::StoresStub::get_mounts, v1::Empty()));
  CANOPY_ASSIGN(const std::string pattern, newest_place(context, arguments.account));
  std::vector<MountRow> rows;
  bool had_its_own = false;
  for (const v1::MountRow& row : mounts.rows()) {
    if (row.pattern() == pattern)
      had_its_own = true;
    else
      rows.push_back({row.pattern(), row.store(), row.prefix()});
  }
  if (arguments.back && !had_its_own)
    return fail(Code::kNotFound, arguments.account, "it has no row of its own in the mount table");
  if (!arguments.back) {
    MountRow own{pattern, arguments.store, ""};
    auto parsed = MountTable::make({MountRow{"/", "root", ""}, own});
    if (!parsed || parsed->row_for(pattern).pattern != pattern)
      return fail(Code::kUnsupported, arguments.account,
                  "its name has characters that patterns of the mount table have another meaning for");
    rows.push_back(std::move(own));
  }
  v1::SetMountsRequest request = set_mounts_request(rows);
  request.set_expected_version(mounts.version());
  CANOPY_TRY(context.call(&wire::StoresStub::set_mounts, request));
  Json out = {{"account", arguments.account}, {"was_on", is.store()}};
  std::string text;
  if (arguments.wait) {
    CANOPY_ASSIGN(const v1::RelocationInfo ended, wait_for_stores(context));
    CANOPY_ASSIGN(const v1::Location after, context.call(&wire::DirectoryStub::locate, of));
    out["state"] = ended.state();
    out["store"] = after.store();
    text = fmt::format("{} lies on {}\n", arguments.account, after.store());
  } else {
    text = fmt::format("{} moves in the background: canopyctl relocation show /\n", arguments.account);
  }
  context.print(out, text);
  return {};
}

void add_account_move_command(CLI::App& group, Commands& commands) {
  const auto command = commands.add(
      group, "move",
      "put an account on another store, by a row of its own in the mount table; the row counts for its place "
      "in the present layout of its domain",
      move_account);
  command.app->add_option("account", command.arguments->account, "account, as jsmith@company.com")
      ->required()
      ->type_name("ACCOUNT");
  command.app->add_option("store", command.arguments->store, "where it goes")->type_name("STORE");
  command.app->add_flag("--back", command.arguments->back, "where the other rows have it");
  command.app->add_flag("--wait", command.arguments->wait, "until all that is to move has moved");
}

}  // namespace canopy::ctl
