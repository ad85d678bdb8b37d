// canopyctl mailbox import: messages of an mbox, a Maildir or .eml files into an account, in their order.
#include <openssl/evp.h>

#include <filesystem>
#include <iostream>
#include <set>

#include "daemon/base/bytes.h"
#include "tools/canopyctl/mailbox_transfer.h"
#include "tools/canopyctl/progress.h"

namespace canopy::ctl {

// Messages on their way at once; they share syncs on the server. Their bytes together are bounded too.
static constexpr size_t kAppendsInFlight = 16;
static constexpr uint64_t kBytesInFlightMax = 32u << 20;

namespace {

class MailImport {
 public:
  MailImport(Context& context, wire::BlockingClient& client, const ImportArguments& arguments)
      : context_(context),
        client_(client),
        arguments_(arguments),
        state_(arguments.state_file.empty() ? arguments.path + ".canopy-state" : arguments.state_file),
        mailboxes_(client.client()) {}

  Result<void> run();

 private:
  Result<uint64_t> already_imported();
  Task<Result<void>> import_all();
  Task<Result<void>> import_one(mailfiles::MailItem item);
  Task<void> append(v1::AppendRequest request, uint64_t number, std::string position, size_t bytes);
  Task<Result<void>> append_large(v1::AppendRequest request, const mailfiles::MailItem& item);
  Task<Result<void>> drained(size_t in_flight_max);
  Task<Result<void>> make_mailbox(const std::string& name);
  Result<void> confirm(uint64_t number);
  std::string request_id_for(const mailfiles::MailItem& item) const;
  std::string target_of(const mailfiles::MailItem& item) const {
    return item.mailbox.empty() ? arguments_.mailbox : item.mailbox;
  }
  std::string fingerprint() const { return arguments_.account + "\n" + arguments_.mailbox; }

  Context& context_;
  wire::BlockingClient& client_;
  const ImportArguments& arguments_;
  StateFile state_;
  wire::MailboxesStub mailboxes_;
  std::unique_ptr<mailfiles::MailSource> source_;
  std::string source_path_;  // canonical
  Progress progress_{"messages"};
  std::string salt_;                // of this run, with --again
  std::set<std::string> keywords_;  // that messages have borne so far
  std::string last_target_;         // where the message before went
  std::string known_mailbox_;       // the last one that was made sure of
  uint32_t known_uid_next_ = 0;     // its next UID at that time: an answer below it is of an earlier run
  uint64_t skipped_ = 0;
  uint64_t were_there_ = 0;  // sent again and found to be there
  uint64_t taken_ = 0;       // read from the source, skipped ones included
  uint64_t confirmed_ = 0;   // all up to here are in the account
  std::set<uint64_t> ended_;
  size_t in_flight_ = 0;
  uint64_t bytes_in_flight_ = 0;
  std::optional<Error> error_;
};

}  // namespace

// The same file into the same mailbox gives the same ids, so that what was on its way when a run was killed
// is not there twice when the next run sends it again.
std::string MailImport::request_id_for(const mailfiles::MailItem& item) const {
  std::string_view place = item.position;  // mbox names the file, which a resumed run may call otherwise
  if (place.starts_with(arguments_.path)) place.remove_prefix(arguments_.path.size());
  std::string hashed = "canopyctl import\n" + salt_ + fingerprint() + "\n" + source_path_ + "\n";
  ((hashed += place) += "\n") += item.content;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(hashed.data(), hashed.size(), digest, &size, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest), kRequestIdBytes};
}

Result<uint64_t> MailImport::already_imported() {
  if (arguments_.restart) return 0;
  CANOPY_ASSIGN(const Json state, state_.load());
  if (state.is_null()) return 0;
  if (state.value("target", std::string()) != fingerprint())
    return fail(Code::kConflict, state_.path(),
                "a stopped import of this file had another target; finish that one or give --restart");
  salt_ = state.value("salt", std::string());
  const uint64_t done = state.value("done", uint64_t{0});
  std::cerr << "going on after " << done << " messages (" << state_.path() << ")\n";
  return done;
}

Result<void> MailImport::confirm(uint64_t number) {
  ended_.insert(number);
  while (!ended_.empty() && *ended_.begin() == confirmed_ + 1) {
    ended_.erase(ended_.begin());
    ++confirmed_;
  }
  progress_.update(confirmed_ - skipped_, 0);
  // Often enough that little is sent twice, seldom enough to cost nothing.
  if (confirmed_ % 64 != 0) return {};
  return state_.save({{"target", fingerprint()}, {"done", confirmed_}, {"salt", salt_}});
}

Task<Result<void>> MailImport::make_mailbox(const std::string& name) {
  if (name == known_mailbox_) co_return Result<void>();
  v1::MailboxRequest status;
  status.mutable_account()->set_name(arguments_.account);
  status.set_mailbox(name);
  const auto found = co_await mailboxes_.status(status);
  if (found) {
    known_uid_next_ = found->uid_next();
  } else {
    if (found.error().code() != Code::kNotFound) co_return fail(found.error());
    v1::CreateMailboxRequest create;
    create.mutable_account()->set_name(arguments_.account);
    create.set_name(name);
    create.set_request_id(client_.client().new_request_id());
    // A name that is not there may still be the account that is not there; the answer says which.
    CANOPY_CO_TRY(co_await mailboxes_.create(create));
    known_uid_next_ = 1;
  }
  known_mailbox_ = name;
  co_return Result<void>();
}

Task<void> MailImport::append(v1::AppendRequest request, uint64_t number, std::string position,
                              size_t bytes) {
  const uint32_t uid_next = known_uid_next_;
  const auto appended = co_await mailboxes_.append(request);
  if (!appended && !error_) error_ = appended.error().about(position);
  if (appended) {
    if (appended->uid() < uid_next) ++were_there_;
    Result<void> noted = confirm(number);
    if (!noted && !error_) error_ = std::move(noted).error();
  }
  --in_flight_;
  bytes_in_flight_ -= bytes;
}

Task<Result<void>> MailImport::append_large(v1::AppendRequest request, const mailfiles::MailItem& item) {
  const uint32_t announced = client_.client().hello().limits().chunk_bytes_max();
  const size_t chunk = announced == 0 ? kWireChunkBytesMax : announced;
  v1::OpenUploadRequest open;
  open.mutable_account()->set_name(arguments_.account);
  open.set_bytes(item.content.size());
  CANOPY_CO_ASSIGN(const v1::OpenUploadResponse opened, co_await mailboxes_.open_upload(open));
  v1::UploadRequest part;
  part.set_upload_id(opened.upload_id());
  for (size_t at = 0; at < item.content.size(); at += chunk) {
    part.set_offset(at);
    part.set_data(item.content.substr(at, chunk));
    CANOPY_CO_TRY(co_await mailboxes_.upload(part));
  }
  request.set_upload_id(opened.upload_id());
  CANOPY_CO_ASSIGN(const v1::AppendResponse appended, co_await mailboxes_.append(request));
  if (appended.uid() < known_uid_next_) ++were_there_;
  co_return Result<void>();
}

Task<Result<void>> MailImport::drained(size_t in_flight_max) {
  while (in_flight_ > in_flight_max && !error_) co_await client_.loop().sleep(kMillisecond / 4);
  if (error_) co_return fail(*error_);
  co_return Result<void>();
}

Task<Result<void>> MailImport::import_one(mailfiles::MailItem item) {
  const std::string target = target_of(item);
  if (!is_utf8(target) || !std::ranges::all_of(item.keywords, is_utf8))
    co_return fail(Code::kInvalidArgument, item.position, "its mailbox or a keyword of it is no UTF-8");
  const bool first = target != last_target_;
  if (first) {
    CANOPY_CO_TRY(co_await drained(0));
    CANOPY_CO_TRY(co_await make_mailbox(target));
    last_target_ = target;
  }
  v1::AppendRequest request;
  request.mutable_account()->set_name(arguments_.account);
  request.set_mailbox(target);
  request.mutable_flags()->set_system(item.system_flags);
  bool brings_keyword = false;
  for (const std::string& keyword : item.keywords) {
    request.mutable_flags()->add_keywords(keyword);
    if (keywords_.insert(keyword).second) brings_keyword = true;
  }
  request.set_internal_date(item.internal_date);
  request.set_zone_minutes(item.zone_minutes);
  request.set_request_id(request_id_for(item));
  const size_t bytes = item.content.size();
  if (bytes > kWireChunkBytesMax) {
    // Alone, so that the order of the messages stays theirs.
    CANOPY_CO_TRY(co_await drained(0));
    CANOPY_CO_TRY(co_await append_large(std::move(request), item));
    co_return confirm(taken_);
  }
  CANOPY_CO_TRY(co_await drained(bytes_in_flight_ + bytes > kBytesInFlightMax ? 0 : kAppendsInFlight - 1));
  request.set_content(std::move(item.content));
  ++in_flight_;
  bytes_in_flight_ += bytes;
  client_.loop().spawn(append(std::move(request), taken_, std::move(item.position), bytes));
  // The first change of an account takes it over, and a new keyword is written before the message that bears
  // it: what comes meanwhile could be done before.
  if (first || brings_keyword) co_return co_await drained(0);
  co_return Result<void>();
}

Task<Result<void>> MailImport::import_all() {
  for (const std::string& mailbox : source_->mailboxes()) CANOPY_CO_TRY(co_await make_mailbox(mailbox));
  Result<void> done;
  while (done) {
    Result<std::optional<mailfiles::MailItem>> item = source_->next();
    if (!item) {
      done = fail(std::move(item).error());
      break;
    }
    if (!*item) break;
    ++taken_;
    done = co_await import_one(std::move(**item));
  }
  // Whatever happened, nothing may be under way when this object goes.
  while (in_flight_ > 0) co_await client_.loop().sleep(kMillisecond / 4);
  if (done && error_) co_return fail(*error_);
  co_return done;
}

Result<void> MailImport::run() {
  mailfiles::Format format;
  if (arguments_.format.empty()) {
    CANOPY_ASSIGN(format, mailfiles::detect_format(arguments_.path));
  } else {
    CANOPY_ASSIGN(format, mailfiles::parse_format(arguments_.format));
  }
  std::error_code error;
  source_path_ = std::filesystem::canonical(arguments_.path, error).string();
  if (error) return fail_errno(error.value(), arguments_.path, "open");
  if (arguments_.again) salt_ = to_hex(client_.client().new_request_id());
  CANOPY_ASSIGN(skipped_, already_imported());
  CANOPY_ASSIGN(source_, mailfiles::open_source(arguments_.path, format));
  while (taken_ < skipped_) {
    CANOPY_ASSIGN(const bool any, source_->skip());
    if (!any)
      return fail(Code::kConflict, arguments_.path,
                  "it holds fewer messages than a stopped import has taken; give --restart");
    ++taken_;
  }
  confirmed_ = taken_;
  const Result<void> done = client_.run(import_all());
  progress_.end();
  if (!done) {
    if (confirmed_ == 0) return done;
    CANOPY_TRY(state_.save({{"target", fingerprint()}, {"done", confirmed_}, {"salt", salt_}}));
    std::cerr << confirmed_ << " messages are imported; the same command goes on after them\n";
    return done;
  }
  state_.remove();
  const uint64_t imported = confirmed_ - skipped_ - were_there_;
  const uint64_t earlier = skipped_ + were_there_;
  context_.print(
      {{"imported", imported}, {"earlier", earlier}},
      fmt::format("{} messages imported{}\n", imported,
                  earlier == 0 ? "" : fmt::format(", {} were there from an earlier run", earlier)));
  return {};
}

Result<void> import_mail(Context& context, const ImportArguments& arguments) {
  CANOPY_ASSIGN(wire::BlockingClient* const client, context.client());
  MailImport import(context, *client, arguments);
  return import.run();
}

}  // namespace canopy::ctl
