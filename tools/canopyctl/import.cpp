// canopyctl import: the mail of many accounts at once, from a tree of Maildirs or mboxes.
#include <atomic>
#include <csignal>
#include <iostream>

#include "tools/canopyctl/account_import.h"
#include "tools/canopyctl/import_tree.h"

namespace canopy::ctl {
namespace {

constexpr uint32_t kAccountsAtOnceDefault = 8, kAccountsAtOnceMax = 256;
constexpr uint64_t kAllBytesInFlightMax = 128u << 20;  // of all accounts at once

std::atomic<bool> stop_import{false};

struct TreeArguments {
  std::string tree, domain, state;
  bool maildir = false, mbox = false, create = false, restart = false;
  uint32_t concurrency = kAccountsAtOnceDefault;
};

struct FailedAccount {
  SourceAccount account;
  Error error;
};

// However it is spelled, its state lies beside it.
std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

class TreeImport {
 public:
  TreeImport(wire::BlockingClient& client, const TreeArguments& arguments)
      : client_(client),
        arguments_(arguments),
        tree_(without_slashes(arguments.tree)),
        state_(arguments.state.empty() ? tree_ + ".canopy-state" : arguments.state) {}

  Result<void> run() {
    CANOPY_ASSIGN(accounts_, list_source_accounts(tree_, format(), arguments_.domain));
    CANOPY_TRY(state_.open("canopyctl import " + format() + " " + arguments_.domain, arguments_.restart));
    std::erase_if(accounts_, [this](const SourceAccount& of) { return state_.is_done(of.address); });
    earlier_ = state_.messages_done();
    if (earlier_ != 0)
      std::cerr << "going on after " << earlier_ << " messages (" << state_.directory() << ")\n";
    client_.run(import_all());
    progress_.end();
    if (failed_.empty() && !stop_import) state_.remove();
    return {};
  }

  void print(Context& context) const {
    Json failed = Json::array();
    std::string text = fmt::format("{} messages imported into {} accounts", imported_, complete_);
    if (earlier_ != 0) text += fmt::format(", {} were there from an earlier run", earlier_);
    text += '\n';
    for (const FailedAccount& of : failed_) {
      failed.push_back({{"account", of.account.address},
                        {"path", of.account.path},
                        {"error", code_name(of.error.code())},
                        {"message", of.error.to_string()}});
      text += fmt::format("failed: {} ({}): {}\n", of.account.address, of.account.path, of.error.to_string());
    }
    context.print({{"accounts", complete_},
                   {"imported", imported_},
                   {"earlier", earlier_},
                   {"failed", failed},
                   {"not_tried", accounts_.size() - next_},
                   {"interrupted", next_ - complete_ - failed_.size()}},
                  text);
  }

  bool all_in() const { return complete_ == accounts_.size(); }
  const std::optional<Error>& gave_up() const { return gave_up_; }
  const ImportState& state() const { return state_; }

 private:
  std::string format() const { return arguments_.maildir ? "maildir" : "mbox"; }

  Task<void> import_all() {
    TaskGroup running(client_.loop());
    for (uint32_t i = 0; i < arguments_.concurrency; ++i) running.spawn(import_some());
    co_await running.join();
  }

  Task<void> import_some() {
    while (next_ < accounts_.size() && !stop_import) {
      const SourceAccount& account = accounts_[next_++];
      auto done = co_await import_one(account);
      if (done) {
        ++complete_;
        continue;
      }
      if (done.error().code() == Code::kCancelled) continue;
      if (done.error().code() == Code::kConnectionLost || done.error().code() == Code::kDeadlineExceeded) {
        gave_up_ = done.error();  // the others would fare no better
        stop_import = true;
      }
      failed_.push_back({account, std::move(done).error()});
    }
  }

  Task<Result<void>> import_one(const SourceAccount& account) {
    if (!is_utf8(account.address))
      co_return fail(Code::kInvalidArgument, account.path, "its name has bytes that are no UTF-8");
    if (arguments_.create) CANOPY_CO_TRY(co_await make_account(account.address));
    AccountImportOptions options;
    options.account = account.address;
    options.path = account.path;
    options.format = format();
    CANOPY_CO_ASSIGN(options.state_file, state_.file_of(account.address));
    options.bytes_in_flight_max =
        std::min(kImportBytesInFlightMax, kAllBytesInFlightMax / arguments_.concurrency);
    options.stop = &stop_import;
    AccountImport import(client_.client(), std::move(options));
    CANOPY_CO_TRY(import.open());
    import.on_message = [this] { progress_.update(++messages_, failed_.size()); };
    auto done = co_await import.run();
    imported_ += import.imported();
    earlier_ += import.earlier();
    CANOPY_CO_TRY(std::move(done));
    CANOPY_CO_TRY(state_.set_done(account.address, import.confirmed()));
    import.finish();
    co_return Result<void>();
  }

  Task<Result<void>> make_account(std::string address) {
    v1::CreateAccountsRequest request;
    request.add_accounts()->set_name(address);
    request.set_exist_ok(true);
    request.set_request_id(client_.client().new_request_id());
    const wire::DirectoryStub directory(client_.client());
    CANOPY_CO_ASSIGN(const v1::CreateAccountsResponse response, co_await directory.create_accounts(request));
    if (response.results_size() != 1)
      co_return fail(Code::kInternal, address, "the server gave no result for it");
    const v1::Error& error = response.results(0).error();
    if (error.code() != 0) co_return fail(static_cast<Code>(error.code()), error.object(), error.message());
    co_return Result<void>();
  }

  wire::BlockingClient& client_;
  const TreeArguments& arguments_;
  const std::string tree_;
  ImportState state_;
  std::vector<SourceAccount> accounts_;  // that are not in yet
  size_t next_ = 0;
  uint64_t messages_ = 0, imported_ = 0, earlier_ = 0, complete_ = 0;
  std::vector<FailedAccount> failed_;
  std::optional<Error> gave_up_;
  Progress progress_{"messages"};
};

void stop_at_signal(int) { stop_import = true; }

}  // namespace

static Result<void> import_tree(Context& context, const TreeArguments& arguments) {
  if (arguments.maildir == arguments.mbox)
    return fail(Code::kInvalidArgument, "import", "say what the tree holds: --maildir or --mbox");
  CANOPY_ASSIGN(wire::BlockingClient* const client, context.client());
  std::signal(SIGINT, stop_at_signal);
  std::signal(SIGTERM, stop_at_signal);
  TreeImport import(*client, arguments);
  CANOPY_TRY(import.run());
  import.print(context);
  if (import.all_in()) return {};
  context.exit_with(kExitFailed);
  std::cerr << "not all accounts are in; the same command goes on (" << import.state().directory() << ")\n";
  if (import.gave_up() || stop_import) context.exit_with(kExitTemporary);
  return {};
}

void add_import_command(CLI::App& app, Commands& commands) {
  const auto [command, arguments] = commands.add(
      app, "import",
      "bring in the mail of many accounts at once. TREE holds DOMAIN/ACCOUNT, or ACCOUNT@DOMAIN, or with "
      "--domain "
      "ACCOUNT: as Maildirs (the directory itself, or Maildir in it; with Maildir++ folders), or as mbox "
      "files "
      "(NAME or NAME.mbox) and directories with an mbox for each mailbox. Messages keep their order, dates, "
      "flags "
      "and keywords. Stopped by Ctrl-C or killed, the same command goes on where it was and brings in no "
      "message "
      "twice; accounts that failed are listed, and tried again by the same command. The tree must not change "
      "between such runs",
      import_tree);
  command->add_option("tree", arguments->tree, "the directory")->required()->type_name("TREE");
  command->add_flag("--maildir", arguments->maildir, "of Maildirs");
  command->add_flag("--mbox", arguments->mbox, "of mbox files");
  command->add_option("--domain", arguments->domain, "the domain of all accounts in the tree")
      ->type_name("DOMAIN");
  command->add_flag("--create", arguments->create, "make accounts that are not there, without a password");
  command->add_option("--concurrency", arguments->concurrency, "accounts at once, 1 to 256 (default: 8)")
      ->type_name("N")
      ->check(CLI::Range(1u, kAccountsAtOnceMax).description(""));
  command
      ->add_option("--state", arguments->state,
                   "directory that remembers how far it is, until all is in (default: TREE.canopy-state)")
      ->type_name("PATH");
  command->add_flag("--restart", arguments->restart, "begin anew instead of going on after a stopped run");
}

}  // namespace canopy::ctl
