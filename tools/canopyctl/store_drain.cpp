#include "tools/canopyctl/store_drain.h"

#include <thread>

#include "tools/canopyctl/drain_plan.h"
#include "tools/canopyctl/rebalance.h"

namespace canopy::ctl {

namespace {
struct DrainArguments {
  std::string name;
  bool plan = false, wait = false;
};

constexpr auto kLookedAgainAfter = std::chrono::milliseconds(500);
}  // namespace

Result<v1::RelocationInfo> wait_for_stores(Context& context) {
  v1::DomainRequest request;
  request.set_name("/");
  for (;;) {
    CANOPY_ASSIGN(v1::RelocationInfo now, context.call(&wire::RelocationStub::get, request));
    if (now.state() == "finished" || now.state() == "none" || now.state() == "paused") return now;
    if (!context.json())
      fmt::print(stderr, "{}, {} moved, {} copied{}\n", now.state(), now.moved(),
                 human_bytes(now.bytes_copied()),
                 now.last_error().empty() ? "" : "; last error: " + now.last_error());
    std::this_thread::sleep_for(kLookedAgainAfter);
  }
}

static Result<DrainRequest> drain_request(Context& context, const std::string& name, uint64_t& version) {
  CANOPY_ASSIGN(const v1::MountsResponse mounts, context.call(&wire::StoresStub::get_mounts, v1::Empty()));
  CANOPY_ASSIGN(const v1::ListStoresResponse stores, context.call(&wire::StoresStub::list, v1::Empty()));
  version = mounts.version();
  DrainRequest request;
  request.store = name;
  for (const v1::MountRow& row : mounts.rows())
    request.rows.push_back({row.pattern(), row.store(), row.prefix()});
  const auto of = std::ranges::find(stores.stores(), name, &v1::StoreInfo::name);
  if (of == stores.stores().end()) return fail(Code::kNotFound, name, "there is no such store");
  if (name == "root")
    return fail(Code::kInvalidArgument, name,
                "the root store holds the settings of the tree and cannot be drained");
  request.bytes_used = 0;
  const auto take = [&](bool root) {
    for (const v1::StoreInfo& store : stores.stores()) {
      const bool fits = store.name() != name && store.reason().empty() && store.fast() == of->fast();
      if (!fits || (store.name() == "root") != root) continue;
      request.stores.push_back(
          {store.name(), store.bytes_free() - std::min(store.bytes_free(), store.reserve_bytes())});
    }
  };
  take(false);
  if (request.stores.empty()) take(true);
  return request;
}

static Result<void> drain(Context& context, const DrainArguments& arguments) {
  uint64_t version = 0;
  CANOPY_ASSIGN(const DrainRequest wanted, drain_request(context, arguments.name, version));
  CANOPY_ASSIGN(const DrainPlan plan, plan_drain(wanted));
  Json changes = Json::array();
  std::string text;
  for (const DrainPlan::Change& change : plan.changes) {
    changes.push_back(
        {{"pattern", change.before.pattern}, {"from", change.before.store}, {"to", change.after.store}});
    text += fmt::format("- {}\n+ {}\n", to_line(change.before), to_line(change.after));
  }
  if (plan.changes.empty()) text = "# no row of the mount table leads to it\n";
  Json out = {{"store", arguments.name}, {"changes", changes}, {"applied", false}};
  if (arguments.plan) {
    context.print(out, text);
    return {};
  }
  if (!plan.changes.empty()) {
    v1::SetMountsRequest request = set_mounts_request(plan.rows);
    request.set_expected_version(version);
    CANOPY_TRY(context.call(&wire::StoresStub::set_mounts, request));
  }
  out["applied"] = true;
  if (arguments.wait) {
    if (!context.json()) fmt::print("{}", text);
    CANOPY_ASSIGN(const v1::RelocationInfo ended, wait_for_stores(context));
    out["state"] = ended.state();
    out["moved"] = ended.moved();
    out["bytes_copied"] = ended.bytes_copied();
    text = fmt::format("{}: {} moved, {} bytes copied\n", ended.state(), ended.moved(), ended.bytes_copied());
  } else {
    text += "# its accounts move in the background: canopyctl relocation show /\n";
  }
  context.print(out, text);
  return {};
}

void add_drain_command(CLI::App& group, Commands& commands) {
  const auto command =
      commands.add(group, "drain", "give a store's rows to the others and move everything off it", drain);
  command.app->add_option("store", command.arguments->name, "the store's name")
      ->required()
      ->type_name("STORE");
  command.app->add_flag("--plan,--dry-run", command.arguments->plan, "only show which rows go where");
  command.app->add_flag("--wait", command.arguments->wait,
                        "until everything has moved, with its progress on stderr");
}

}  // namespace canopy::ctl
