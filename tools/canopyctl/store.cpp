// canopyctl store: add, list, show, set, check, bench, drain, remove.
#include <charconv>

#include "tools/canopyctl/command.h"
#include "tools/canopyctl/store_drain.h"

namespace canopy::ctl {

namespace {
struct StoreArguments {
  std::string name, address, role, reserve;
  bool new_store = false, allow_same_device = false, shared = false;
  uint32_t seconds = 1;
};
}  // namespace

Json store_json(const v1::StoreInfo& store) {
  return {{"name", store.name()},
          {"kind", store.kind()},
          {"id", store.id()},
          {"state", store.state()},
          {"reason", store.reason()},
          {"address", store.address()},
          {"role", store.fast() ? "fast" : ""},
          {"shared", store.shared()},
          {"rows", store.rows()},
          {"bytes_total", store.bytes_total()},
          {"bytes_free", store.bytes_free()},
          {"reserve_bytes", store.reserve_bytes()},
          {"files_total", store.files_total()},
          {"files_free", store.files_free()},
          {"operations", store.operations()},
          {"errors", store.errors()},
          {"in_flight", store.in_flight()},
          {"latency_p50_us", store.latency_p50_us()},
          {"latency_p99_us", store.latency_p99_us()}};
}

std::string store_figures(const v1::StoreInfo& store) {
  return fmt::format("{}, {} of {} free, {} under way, {} failed, p99 below {} us", store.state(),
                     human_bytes(store.bytes_free()), human_bytes(store.bytes_total()), store.in_flight(),
                     store.errors(), store.latency_p99_us());
}

static std::string store_text(const v1::StoreInfo& store) {
  std::string text = fmt::format(
      "{}\n  state       {}\n  address     {}\n  id          {}\n  rows        {}\n  free        {} of {}, "
      "{} kept back\n  operations  {} ({} failed, {} under way), p50 below {} us, p99 below {} us\n",
      store.name(), store.state(), store.address(), store.id(), store.rows(), human_bytes(store.bytes_free()),
      human_bytes(store.bytes_total()), human_bytes(store.reserve_bytes()), store.operations(),
      store.errors(), store.in_flight(), store.latency_p50_us(), store.latency_p99_us());
  if (store.fast()) text += "  role        fast: for settings and info\n";
  if (!store.reason().empty()) text += fmt::format("  reason      {}\n", store.reason());
  return text;
}

static Result<std::optional<uint64_t>> reserve_of(const StoreArguments& arguments) {
  if (arguments.reserve.empty() || arguments.reserve == "default") return std::nullopt;
  uint64_t bytes = 0;
  const char* end = arguments.reserve.data() + arguments.reserve.size();
  const auto read = std::from_chars(arguments.reserve.data(), end, bytes);
  if (read.ec != std::errc() || read.ptr != end)
    return fail(Code::kInvalidArgument, "reserve", "a number of bytes, or `default`");
  return bytes;
}

static Result<void> add(Context& context, const StoreArguments& arguments) {
  v1::AddStoreRequest request;
  request.set_name(arguments.name);
  request.set_address(arguments.address);
  request.set_new_store(arguments.new_store);
  request.set_allow_same_device(arguments.allow_same_device);
  request.set_fast(arguments.role == "fast");
  request.set_shared(arguments.shared);
  CANOPY_ASSIGN(const auto reserve, reserve_of(arguments));
  if (reserve) request.mutable_reserve()->set_bytes(*reserve);
  CANOPY_ASSIGN(const v1::StoreInfo store, context.call(&wire::StoresStub::add, request));
  context.print(store_json(store), store_text(store));
  return {};
}

static Result<v1::ListStoresResponse> all_stores(Context& context) {
  return context.call(&wire::StoresStub::list, v1::Empty());
}

static Result<void> list(Context& context, const StoreArguments&) {
  CANOPY_ASSIGN(const v1::ListStoresResponse stores, all_stores(context));
  ListPrinter printer(context);
  for (const v1::StoreInfo& store : stores.stores())
    printer.row(store_json(store),
                fmt::format("{:<12} {:<6} {:>10} free of {:>10}  {:>4} rows  p99 {:>8} us  {}", store.name(),
                            store.state(), human_bytes(store.bytes_free()), human_bytes(store.bytes_total()),
                            store.rows(), store.latency_p99_us(), store.address()));
  printer.end();
  return {};
}

static Result<void> show(Context& context, const StoreArguments& arguments) {
  CANOPY_ASSIGN(const v1::ListStoresResponse stores, all_stores(context));
  for (const v1::StoreInfo& store : stores.stores()) {
    if (store.name() != arguments.name) continue;
    context.print(store_json(store), store_text(store));
    return {};
  }
  return fail(Code::kNotFound, arguments.name, "there is no such store");
}

static Result<void> set(Context& context, const StoreArguments& arguments) {
  v1::SetStoreRequest request;
  request.set_name(arguments.name);
  request.set_address(arguments.address);
  if (!arguments.role.empty())
    request.set_role(arguments.role == "fast" ? v1::SetStoreRequest::FAST : v1::SetStoreRequest::ORDINARY);
  CANOPY_ASSIGN(const auto reserve, reserve_of(arguments));
  if (reserve) request.mutable_reserve()->set_bytes(*reserve);
  request.set_default_reserve(arguments.reserve == "default");
  CANOPY_ASSIGN(const v1::StoreInfo store, context.call(&wire::StoresStub::set, request));
  context.print(store_json(store), store_text(store));
  return {};
}

// More than 10,000 files are made and removed, on a store that may be slow and busy.
static constexpr Nanos kCheckWithin = 600 * kSecond;

static Result<void> check(Context& context, const StoreArguments& arguments) {
  v1::StoreRequest request;
  request.set_name(arguments.name);
  CANOPY_ASSIGN(wire::BlockingClient* const connected, context.client());
  const wire::CallOptions options{.deadline = connected->loop().now() + kCheckWithin};
  const wire::StoresStub stores(connected->client());
  CANOPY_ASSIGN(const v1::TestStoreResponse found, connected->run(stores.test(request, options)));
  Json verdicts = Json::array();
  std::string text;
  for (const v1::StoreVerdict& verdict : found.verdicts()) {
    if (!verdict.good()) context.exit_with(kExitFailed);
    verdicts.push_back({{"requirement", verdict.requirement()},
                        {"good", verdict.good()},
                        {"found", verdict.found()},
                        {"advice", verdict.advice()}});
    text += fmt::format("{:<5} {:<40} {}\n", verdict.good() ? "good" : "BAD", verdict.requirement(),
                        verdict.found());
    if (!verdict.good()) text += fmt::format("      -> {}\n", verdict.advice());
  }
  context.print({{"store", arguments.name}, {"verdicts", verdicts}}, text);
  return {};
}

static Result<void> bench(Context& context, const StoreArguments& arguments) {
  v1::MeasureStoreRequest request;
  request.set_name(arguments.name);
  request.set_seconds(arguments.seconds);
  CANOPY_ASSIGN(const v1::MeasureStoreResponse measured, context.call(&wire::StoresStub::measure, request));
  Json rows = Json::array();
  std::string text = fmt::format("{:<28} {:>5} {:>12} {:>12} {:>10} {:>10}\n", "operation", "depth",
                                 "per second", "MiB/s", "p50 us", "p99 us");
  for (const v1::StoreMeasurement& row : measured.rows()) {
    const double seconds = std::max(row.seconds(), 1e-9);
    const double rate = static_cast<double>(row.operations()) / seconds;
    rows.push_back({{"operation", row.operation()},
                    {"depth", row.depth()},
                    {"per_second", rate},
                    {"bytes", row.bytes()},
                    {"seconds", row.seconds()},
                    {"latency_p50_us", row.latency_p50_us()},
                    {"latency_p99_us", row.latency_p99_us()}});
    text += fmt::format("{:<28} {:>5} {:>12.0f} {:>12.1f} {:>10} {:>10}\n", row.operation(), row.depth(),
                        rate, static_cast<double>(row.bytes()) / seconds / (1 << 20), row.latency_p50_us(),
                        row.latency_p99_us());
  }
  context.print({{"store", arguments.name}, {"rows", rows}}, text);
  return {};
}

static Result<void> remove(Context& context, const StoreArguments& arguments) {
  v1::StoreRequest request;
  request.set_name(arguments.name);
  CANOPY_TRY(context.call(&wire::StoresStub::remove, request));
  context.print({{"removed", arguments.name}}, "");
  return {};
}

static void add_name(const Command<StoreArguments>& command) {
  command.app->add_option("store", command.arguments->name, "the store's name")
      ->required()
      ->type_name("STORE");
}

static void add_common(const Command<StoreArguments>& command) {
  command.app
      ->add_option("--role", command.arguments->role, "fast: for settings and info; data: for accounts")
      ->type_name("ROLE")
      ->check(CLI::IsMember({"fast", "data"}).description(""));
  command.app
      ->add_option("--reserve", command.arguments->reserve,
                   "space that new mail may not take; default: a hundredth of the store")
      ->type_name("BYTES");
}

void add_store_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "store", "stores that the tree lies on");

  const auto add_command = commands.add(group, "add", "take a store in", add);
  add_name(add_command);
  add_command.app
      ->add_option("address", add_command.arguments->address, "dir:/PATH, or nfs://HOST/EXPORT?version=3")
      ->required()
      ->type_name("ADDRESS");
  add_command.app->add_flag("--new", add_command.arguments->new_store, "it is empty: mark it as this store");
  add_command.app->add_flag("--allow-same-device", add_command.arguments->allow_same_device,
                            "a plain directory that nothing is mounted on");
  add_command.app->add_flag("--shared", add_command.arguments->shared,
                            "a directory that other machines write to, too");
  add_common(add_command);

  commands.add(group, "list", "all stores: state, space, latency", list);
  add_name(commands.add(group, "show", "one store", show));

  const auto set_command = commands.add(group, "set", "change how a store is used or reached", set);
  add_name(set_command);
  set_command.app
      ->add_option("--address", set_command.arguments->address, "where the same store is reached from now on")
      ->type_name("ADDRESS");
  add_common(set_command);

  add_name(commands.add(group, "check", "whether a store does what Canopy needs", check));
  const auto bench_command = commands.add(group, "bench", "how fast a store is", bench);
  add_name(bench_command);
  bench_command.app->add_option("--seconds", bench_command.arguments->seconds, "for each of the eight rows")
      ->type_name("N")
      ->check(CLI::Range(1, 3).description(""));
  add_drain_command(group, commands);
  add_name(commands.add(group, "remove", "forget a store that holds nothing", remove));
}

}  // namespace canopy::ctl
