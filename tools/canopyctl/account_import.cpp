#include "tools/canopyctl/account_import.h"

#include <openssl/evp.h>

#include <filesystem>

#include "daemon/base/bytes.h"

namespace canopy::ctl {

// Messages on their way at once; they share syncs on the server. Their bytes together are bounded too.
static constexpr size_t kAppendsInFlight = 16;

AccountImport::AccountImport(wire::Client& client, AccountImportOptions options)
    : client_(client), options_(std::move(options)), state_(options_.state_file), mailboxes_(client) {}

// The same file into the same mailbox gives the same ids, so that what was on its way when a run was killed
// is not there twice when the next run sends it again.
std::string AccountImport::request_id_for(const mailfiles::MailItem& item) const {
  std::string_view place = item.position;  // mbox names the file, which a resumed run may call otherwise
  if (place.starts_with(options_.path)) place.remove_prefix(options_.path.size());
  std::string hashed = "canopyctl import\n" + salt_ + fingerprint() + "\n" + source_path_ + "\n";
  ((hashed += place) += "\n") += item.content;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(hashed.data(), hashed.size(), digest, &size, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest), kRequestIdBytes};
}

Result<uint64_t> AccountImport::already_imported() {
  if (options_.restart) return 0;
  CANOPY_ASSIGN(const Json state, state_.load());
  if (state.is_null()) return 0;
  if (state.value("target", std::string()) != fingerprint())
    return fail(Code::kConflict, state_.path(),
                "a stopped import of this file had another target; finish that one or give --restart");
  salt_ = state.value("salt", std::string());
  const uint64_t done = state.value("done", uint64_t{0});
  return done;
}

Result<void> AccountImport::confirm(uint64_t number) {
  ended_.insert(number);
  while (!ended_.empty() && *ended_.begin() == confirmed_ + 1) {
    ended_.erase(ended_.begin());
    ++confirmed_;
  }
  on_message();
  // Often enough that little is sent twice, seldom enough to cost nothing.
  if (confirmed_ % 64 != 0) return {};
  return save();
}

Task<Result<void>> AccountImport::make_mailbox(const std::string& name) {
  if (name == known_mailbox_) co_return Result<void>();
  v1::MailboxRequest status;
  status.mutable_account()->set_name(options_.account);
  status.set_mailbox(name);
  const auto found = co_await mailboxes_.status(status);
  if (found) {
    known_uid_next_ = found->uid_next();
  } else {
    if (found.error().code() != Code::kNotFound) co_return fail(found.error());
    v1::CreateMailboxRequest create;
    create.mutable_account()->set_name(options_.account);
    create.set_name(name);
    create.set_request_id(client_.new_request_id());
    // A name that is not there may still be the account that is not there; the answer says which.
    CANOPY_CO_TRY(co_await mailboxes_.create(create));
    known_uid_next_ = 1;
  }
  known_mailbox_ = name;
  co_return Result<void>();
}

Task<void> AccountImport::append(v1::AppendRequest request, uint64_t number, std::string position,
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

Task<Result<void>> AccountImport::append_large(v1::AppendRequest request, const mailfiles::MailItem& item) {
  const uint32_t announced = client_.hello().limits().chunk_bytes_max();
  const size_t chunk = announced == 0 ? kWireChunkBytesMax : announced;
  v1::OpenUploadRequest open;
  open.mutable_account()->set_name(options_.account);
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

Task<Result<void>> AccountImport::drained(size_t in_flight_max) {
  while (in_flight_ > in_flight_max && !error_) co_await client_.loop().sleep(kMillisecond / 4);
  if (error_) co_return fail(*error_);
  co_return Result<void>();
}

Task<Result<void>> AccountImport::import_one(mailfiles::MailItem item) {
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
  request.mutable_account()->set_name(options_.account);
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
  CANOPY_CO_TRY(
      co_await drained(bytes_in_flight_ + bytes > options_.bytes_in_flight_max ? 0 : kAppendsInFlight - 1));
  request.set_content(std::move(item.content));
  ++in_flight_;
  bytes_in_flight_ += bytes;
  client_.loop().spawn(append(std::move(request), taken_, std::move(item.position), bytes));
  // The first change of an account takes it over, and a new keyword is written before the message that bears
  // it: what comes meanwhile could be done before.
  if (first || brings_keyword) co_return co_await drained(0);
  co_return Result<void>();
}

Task<Result<void>> AccountImport::import_all() {
  for (const std::string& mailbox : source_->mailboxes()) CANOPY_CO_TRY(co_await make_mailbox(mailbox));
  Result<void> done;
  while (done) {
    if (options_.stop != nullptr && *options_.stop) {
      done = fail(Code::kCancelled, options_.account, "interrupted");
      break;
    }
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

Result<void> AccountImport::save() const {
  return state_.save({{"target", fingerprint()}, {"done", confirmed_}, {"salt", salt_}});
}

Result<void> AccountImport::open() {
  mailfiles::Format format;
  if (options_.format.empty()) {
    CANOPY_ASSIGN(format, mailfiles::detect_format(options_.path));
  } else {
    CANOPY_ASSIGN(format, mailfiles::parse_format(options_.format));
  }
  std::error_code error;
  source_path_ = std::filesystem::canonical(options_.path, error).string();
  if (error) return fail_errno(error.value(), options_.path, "open");
  if (options_.again) salt_ = to_hex(client_.new_request_id());
  CANOPY_ASSIGN(skipped_, already_imported());
  CANOPY_ASSIGN(source_, mailfiles::open_source(options_.path, format));
  return {};
}

Task<Result<void>> AccountImport::run() {
  while (taken_ < skipped_) {
    CANOPY_CO_ASSIGN(const bool any, source_->skip());
    if (!any)
      co_return fail(Code::kConflict, options_.path,
                     "it holds fewer messages than a stopped import has taken; give --restart");
    ++taken_;
  }
  confirmed_ = taken_;
  Result<void> done = co_await import_all();
  if (!done && confirmed_ != 0) CANOPY_CO_TRY(save());
  co_return done;
}

}  // namespace canopy::ctl
