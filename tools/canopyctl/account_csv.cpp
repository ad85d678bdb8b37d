#include "tools/canopyctl/account_csv.h"

#include <filesystem>
#include <iostream>
#include <map>

#include "tools/canopyctl/csv_reader.h"
#include "tools/canopyctl/progress.h"

namespace canopy::ctl {

// Batches on their way at once: enough to keep the daemon busy while answers travel.
static constexpr int kBatchesInFlight = 8;
// All batches under way end at about the same time, and only then is progress noted.
static constexpr uint32_t kBatchRowsMax = 250;
// A password costs the daemon a deliberately slow hash, so batches with passwords are shorter, and wait
// longer.
static constexpr uint32_t kPasswordBatchRowsMax = 25;
static constexpr Nanos kBatchTimeout = 600 * kSecond;
static constexpr int kFailuresShown = 20;

namespace {

struct Counts {
  uint64_t created = 0, existed = 0, failed = 0;
  void add(const Counts& other) {
    created += other.created;
    existed += other.existed;
    failed += other.failed;
  }
};

struct Batch {
  uint64_t number = 0;
  v1::CreateAccountsRequest request;
  std::vector<uint64_t> lines;
  Counts refused;  // rows that are not sent
  CsvReader::Place after;
};

struct Ended {
  CsvReader::Place after;
  Counts counts;
};

// The state of one run. Batches are taken in order and may end in any; `confirmed_` is the place up to which
// all ended.
class CsvCreation {
 public:
  CsvCreation(Context& context, wire::BlockingClient& client, const CsvArguments& arguments)
      : context_(context), client_(client), arguments_(arguments), state_(arguments.file + ".canopy-state") {}

  Result<void> run();

 private:
  Result<CsvReader::Place> starting_place();
  Result<std::optional<Batch>> take_batch();
  Result<void> add_row(Batch& batch, const CsvReader::Row& row);
  void fail_row(Counts& counts, uint64_t line, std::string_view why) const;
  static bool is_title(const CsvReader::Row& row) {
    return row.line == 1 && (row.fields[0] == "name" || row.fields[0] == "account");
  }
  Task<void> work();
  Task<Result<void>> send(Batch batch);
  Counts count(const Batch& batch, const v1::CreateAccountsResponse& response);
  Result<void> save(CsvReader::Place place);
  Result<void> confirm(uint64_t number, Ended ended);
  Task<void> run_workers();

  Context& context_;
  wire::BlockingClient& client_;
  const CsvArguments& arguments_;
  StateFile state_;
  std::optional<CsvReader> reader_;
  Progress progress_{"rows"};
  uint64_t file_bytes_ = 0;
  bool resumed_ = false;
  uint64_t next_batch_ = 0;
  uint64_t next_confirmed_ = 0;
  std::map<uint64_t, Ended> ended_;  // batches that ended before an earlier one
  Counts seen_;                      // of all that have ended
  Counts noted_;                     // of those before the place that is noted
  int working_ = 0;
  std::optional<Error> error_;  // the first that ends the run
};

}  // namespace

Result<CsvReader::Place> CsvCreation::starting_place() {
  std::error_code error;
  file_bytes_ = std::filesystem::file_size(arguments_.file, error);
  if (error) return fail_errno(error.value(), arguments_.file, "open");
  CsvReader::Place start;
  if (arguments_.restart) return start;
  CANOPY_ASSIGN(const Json state, state_.load());
  if (state.is_null()) return start;
  if (state.value("bytes", uint64_t{0}) != file_bytes_)
    return fail(Code::kConflict, arguments_.file,
                "the file has changed since the run that stopped; give --restart");
  start.offset = state.value("offset", uint64_t{0});
  start.line = state.value("line", uint64_t{1});
  noted_.created = state.value("created", uint64_t{0});
  noted_.existed = state.value("existed", uint64_t{0});
  noted_.failed = state.value("failed", uint64_t{0});
  seen_ = noted_;
  resumed_ = true;
  std::cerr << "going on at line " << start.line << " (" << state_.path() << ")\n";
  return start;
}

Result<void> CsvCreation::add_row(Batch& batch, const CsvReader::Row& row) {
  v1::NewAccount& account = *batch.request.add_accounts();
  std::string name = row.fields[0];
  if (name.find('@') == std::string::npos) {
    if (arguments_.domain.empty())
      return fail(Code::kInvalidArgument, arguments_.file + ":" + std::to_string(row.line),
                  "a name without a domain; give --domain");
    name += "@" + arguments_.domain;
  }
  account.set_name(std::move(name));
  if (row.fields.size() > 1) account.set_password(row.fields[1]);
  if (row.fields.size() > 2) account.set_settings(row.fields[2]);
  batch.lines.push_back(row.line);
  return {};
}

Result<std::optional<Batch>> CsvCreation::take_batch() {
  Batch batch;
  const uint32_t page = client_.client().hello().limits().page_entries_max();
  const uint32_t rows_max = page == 0 ? kBatchRowsMax : std::min(page, kBatchRowsMax);
  bool passwords = false;
  while (batch.lines.size() < (passwords ? std::min(rows_max, kPasswordBatchRowsMax) : rows_max)) {
    CANOPY_ASSIGN(const auto row, reader_->next());
    if (!row) break;
    if (is_title(*row)) continue;
    if (!std::ranges::all_of(row->fields, is_utf8)) {
      fail_row(batch.refused, row->line, "it has bytes that are no UTF-8");
      continue;
    }
    CANOPY_TRY(add_row(batch, *row));
    passwords = passwords || (row->fields.size() > 1 && !row->fields[1].empty());
  }
  if (batch.lines.empty() && batch.refused.failed == 0) return std::nullopt;
  batch.number = next_batch_++;
  batch.after = reader_->place();
  // What the stopped run had sent but not noted down is there already.
  batch.request.set_exist_ok(arguments_.exist_ok || resumed_);
  batch.request.set_request_id(client_.client().new_request_id());
  return batch;
}

void CsvCreation::fail_row(Counts& counts, uint64_t line, std::string_view why) const {
  if (seen_.failed + ++counts.failed <= kFailuresShown) std::cerr << "line " << line << ": " << why << "\n";
}

Counts CsvCreation::count(const Batch& batch, const v1::CreateAccountsResponse& response) {
  Counts counts = batch.refused;
  for (int i = 0; i < response.results_size(); ++i) {
    const v1::CreateAccountResult& result = response.results(i);
    if (!result.has_error() || result.error().code() == 0) {
      ++(result.existed() ? counts.existed : counts.created);
      continue;
    }
    fail_row(counts, batch.lines[static_cast<size_t>(i)],
             fmt::format("{}: {} ({})", batch.request.accounts(i).name(), result.error().message(),
                         result.error().name()));
  }
  return counts;
}

Result<void> CsvCreation::save(CsvReader::Place place) {
  return state_.save({{"bytes", file_bytes_},
                      {"offset", place.offset},
                      {"line", place.line},
                      {"created", noted_.created},
                      {"existed", noted_.existed},
                      {"failed", noted_.failed}});
}

Result<void> CsvCreation::confirm(uint64_t number, Ended ended) {
  ended_[number] = ended;
  CsvReader::Place confirmed;
  bool moved = false;
  for (auto first = ended_.find(next_confirmed_); first != ended_.end();
       first = ended_.find(next_confirmed_)) {
    confirmed = first->second.after;
    noted_.add(first->second.counts);
    moved = true;
    ended_.erase(first);
    ++next_confirmed_;
  }
  if (!moved) return {};
  return save(confirmed);
}

Task<Result<void>> CsvCreation::send(Batch batch) {
  wire::CallOptions options;
  options.deadline = client_.loop().now() + kBatchTimeout;
  const wire::DirectoryStub directory(client_.client());
  v1::CreateAccountsResponse response;
  if (!batch.lines.empty()) {
    CANOPY_CO_ASSIGN(response, co_await directory.create_accounts(batch.request, options));
  }
  if (response.results_size() != batch.request.accounts_size())
    co_return fail(Code::kInternal, arguments_.file,
                   "the server gave another number of results than there were rows");
  const Counts counts = count(batch, response);
  seen_.add(counts);
  progress_.update(seen_.created + seen_.existed, seen_.failed);
  co_return confirm(batch.number, {batch.after, counts});
}

Task<void> CsvCreation::work() {
  while (!error_) {
    Result<std::optional<Batch>> batch = take_batch();
    if (!batch) {
      error_ = std::move(batch).error();
    } else if (!*batch) {
      break;
    } else {
      Result<void> sent = co_await send(std::move(**batch));
      if (!sent && !error_) error_ = std::move(sent).error();
    }
  }
  --working_;
}

Task<void> CsvCreation::run_workers() {
  working_ = kBatchesInFlight;
  for (int i = 0; i < kBatchesInFlight; ++i) client_.loop().spawn(work());
  while (working_ > 0) co_await client_.loop().sleep(2 * kMillisecond);
}

Result<void> CsvCreation::run() {
  CANOPY_ASSIGN(const CsvReader::Place start, starting_place());
  CANOPY_ASSIGN(CsvReader reader, CsvReader::open(arguments_.file, start));
  reader_ = std::move(reader);
  // Before anything is sent: a run that is killed early must know that the accounts there are its own.
  CANOPY_TRY(save(start));
  client_.run(run_workers());
  progress_.end();
  if (error_) {
    if (seen_.created + seen_.existed + seen_.failed == 0 && !resumed_) {
      state_.remove();
    } else {
      std::cerr << "stopped; the same command goes on where it was\n";
    }
    return fail(*error_);
  }
  state_.remove();
  if (seen_.failed > 0) context_.exit_with(kExitFailed);
  context_.print(
      {{"created", seen_.created}, {"existed", seen_.existed}, {"failed", seen_.failed}},
      fmt::format("{} created, {} were there, {} failed\n", seen_.created, seen_.existed, seen_.failed));
  return {};
}

Result<void> create_accounts_from_csv(Context& context, const CsvArguments& arguments) {
  CANOPY_ASSIGN(wire::BlockingClient* const client, context.client());
  CsvCreation creation(context, *client, arguments);
  return creation.run();
}

}  // namespace canopy::ctl
