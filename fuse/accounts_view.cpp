#include "fuse/accounts_view.h"

#include <fcntl.h>
#include <limits.h>
#include <time.h>

#include <cerrno>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/wire/client/listing.h"
#include "fuse/accounts_common.h"

namespace canopy::mount {
namespace {

constexpr size_t kLeftOutMost = 10'000;
constexpr uint64_t kVirtualInode = 1ull << 63;  // beside those of the raw tree's files

timespec now() {
  timespec out = {};
  clock_gettime(CLOCK_REALTIME, &out);
  return out;
}

timespec timespec_of(const v1::TreeTime& time) {
  return timespec{static_cast<time_t>(time.seconds()), static_cast<long>(time.nanoseconds())};
}

bool is_later(const timespec& one, const timespec& other) {
  return std::pair(one.tv_sec, one.tv_nsec) > std::pair(other.tv_sec, other.tv_nsec);
}

Place mailbox_place(const Place& account, const v1::Mailbox& mailbox) {
  Place place = inside(account, Place::Kind::kMailbox);
  place.mailbox_id = mailbox.id();
  return place;
}

}  // namespace

AccountsView::File::~File() {
  if (draft == nullptr || --draft->open_files != 0) return;
  // What nobody has filled, or what was refused, is nothing that anybody could come back to.
  if (draft->removed || (!draft->delivered() && !draft->is_temporary())) drafts->drop(draft);
}

AccountsView::AccountsView(Backend& backend, UringLoop& loop, Owner owner)
    : backend_(backend), drafts_(loop), owner_(owner), started_(now()) {}

Found AccountsView::found(const Place& place, uint64_t size) const {
  Found out;
  out.key = place.key();
  out.attributes.st_ino = XXH64(out.key.data(), out.key.size(), 0) | kVirtualInode;
  out.attributes.st_mode = place.is_directory() ? S_IFDIR | 0700 : S_IFREG | 0600;
  out.attributes.st_nlink = place.is_directory() ? 2 : 1;
  out.attributes.st_uid = owner_.uid;
  out.attributes.st_gid = owner_.gid;
  out.attributes.st_size = static_cast<off_t>(size);
  out.attributes.st_blocks = static_cast<blkcnt_t>((size + 511) / 512);
  out.attributes.st_blksize = 4096;
  out.attributes.st_atim = out.attributes.st_mtim = out.attributes.st_ctim = started_;
  return out;
}

Found AccountsView::top() const { return found(Place()); }

Found AccountsView::found_message(const Place& mailbox, uint32_t uid_validity, const v1::Message& row) const {
  Place place = mailbox;
  place.kind = Place::Kind::kMessage;
  place.uid_validity = uid_validity;
  place.uid = row.uid();
  Found out = found(place, row.size());
  out.attributes.st_mtim = timespec{static_cast<time_t>(row.internal_date()), 0};
  out.attributes.st_atim = out.attributes.st_ctim = out.attributes.st_mtim;
  out.immutable = true;
  return out;
}

Entry AccountsView::entry(std::string name, const Place& place) const {
  Entry out;
  out.name = std::move(name);
  out.type = place.is_directory() ? S_IFDIR : S_IFREG;
  // What a text file's size is shows only when somebody looks at it.
  if (place.is_directory()) out.found = std::make_unique<Found>(found(place));
  return out;
}

// A name that no file can have is left out: what stands in a listing can be looked up.
void AccountsView::add_mailbox(Page& page, const Place& folder, std::string_view level,
                               const v1::Mailbox& mailbox) {
  std::string element = element_of_level(level, folder.kind == Place::Kind::kAccount);
  const Place place = mailbox_place(folder, mailbox);
  if (element.size() <= NAME_MAX) {
    page.entries.push_back(entry(std::move(element), place));
    return;
  }
  if (left_out_.size() >= kLeftOutMost) left_out_.clear();
  if (!left_out_.insert(place.key()).second) return;
  log_event(LogLevel::kWarning, "mailbox-left-out", folder.name,
            {{"mailbox", mailbox.name()}, {"why", "as a file its name has more than 255 bytes"}});
}

// ------------------------------------------------------------------------------------------------ one name

Task<Result<Found>> AccountsView::lookup(NodeRef directory, std::string name) {
  const Place place = place_of(*directory);
  if (!place.is_directory()) co_return refuse(ENOTDIR, name, "not a directory");
  if ((place.kind == Place::Kind::kAccounts || place.kind == Place::Kind::kDomain) && !is_utf8(name))
    co_return absent(name);
  switch (place.kind) {
    case Place::Kind::kAccounts: {
      v1::DomainRequest request;
      request.set_name(name);
      auto domain = co_await backend_.directory().get_domain(request, backend_.options());
      if (!domain && domain.error().code() == Code::kInvalidArgument) co_return absent(name);
      if (!domain) co_return fail(std::move(domain).error());
      if (domain->name() != name) co_return absent(name);  // another spelling of it
      Place found_place = inside(place, Place::Kind::kDomain);
      found_place.name = std::move(name);
      co_return found(found_place);
    }
    case Place::Kind::kDomain: {
      Place account = inside(place, Place::Kind::kAccount);
      account.name = name + "@" + place.name;
      auto known = co_await backend_.directory().get_account(account_ref(account.name), backend_.options());
      if (!known &&
          (known.error().code() == Code::kInvalidArgument || known.error().code() == Code::kNoSpaceForName))
        co_return absent(name);
      if (!known) co_return fail(std::move(known).error());
      if (known->name() != name || known->domain() != place.name)
        co_return absent(name);  // an alias, or another spelling
      co_return found(account);
    }
    case Place::Kind::kAccount: co_return co_await lookup_in_account(place, std::move(name));
    case Place::Kind::kMailbox: co_return co_await lookup_in_mailbox(place, std::move(name));
    default: co_return refuse(ENOTDIR, name, "not a directory");
  }
}

Task<Result<Found>> AccountsView::lookup_in_account(Place account, std::string name) {
  for (const auto& [known, kind] : {std::pair("settings", Place::Kind::kSettings),
                                    {"info", Place::Kind::kInfo},
                                    {"location", Place::Kind::kLocation}}) {
    if (name != known) continue;
    const Place file = inside(account, kind);
    auto text = co_await text_of(file);
    if (!text) co_return fail(std::move(text).error());
    co_return co_await found_text(file, text->size());
  }
  if (name == kLastErrorName) {
    auto error = last_errors_.find(account.name);
    if (error == last_errors_.end()) co_return absent(name);
    co_return found(inside(account, Place::Kind::kLastError), error->second.size());
  }
  if (DraftRef draft = drafts_.find(account, name, backend_.loop().now())) co_return found_draft(*draft);
  co_return co_await found_mailbox(account, level_of_element(name));
}

Task<Result<Found>> AccountsView::found_mailbox(Place account, std::string name) {
  if (!is_utf8(name)) co_return absent(name);
  v1::MailboxRequest request;
  *request.mutable_account() = account_ref(account.name);
  request.set_mailbox(name);
  auto mailbox = co_await backend_.mailboxes().status(request, backend_.options());
  if (!mailbox && mailbox.error().code() == Code::kInvalidArgument) co_return absent(name);
  if (!mailbox) co_return fail(std::move(mailbox).error());
  if (mailbox->name() != name) co_return absent(name);  // inbox for INBOX
  co_return found(mailbox_place(account, *mailbox));
}

Task<Result<Found>> AccountsView::lookup_in_mailbox(Place mailbox, std::string name) {
  if (const uint32_t uid = uid_of_element(name)) {
    auto page = co_await rows(mailbox, uid - 1, 1);
    if (!page) co_return fail(std::move(page).error());
    if (!page->messages().empty() && page->messages(0).uid() == uid)
      co_return found_message(mailbox, page->uid_validity(), page->messages(0));
  }
  if (DraftRef draft = drafts_.find(mailbox, name, backend_.loop().now()))
    co_return co_await lookup_draft(std::move(draft));
  if (uid_of_element(name) != 0) co_return absent(name);
  auto above = co_await name_of_mailbox(mailbox);
  if (!above) co_return fail(std::move(above).error());
  co_return co_await found_mailbox(mailbox, *above + "/" + level_of_element(name));
}

Task<Result<std::string>> AccountsView::name_of_mailbox(const Place& mailbox) {
  v1::MailboxRequest request;
  *request.mutable_account() = account_ref(mailbox.name);
  request.set_mailbox_id(mailbox.mailbox_id);
  auto status = co_await backend_.mailboxes().status(request, backend_.options());
  if (!status) co_return fail(std::move(status).error());
  co_return std::move(*status->mutable_name());
}

Task<Result<v1::ListMessagesResponse>> AccountsView::rows(const Place& mailbox, uint32_t after_uid,
                                                          uint32_t limit) {
  v1::ListMessagesRequest request;
  *request.mutable_account() = account_ref(mailbox.name);
  request.set_mailbox_id(mailbox.mailbox_id);
  request.set_after_uid(after_uid);
  request.set_limit(limit);
  co_return co_await backend_.mailboxes().list_messages(request, backend_.options());
}

Task<Result<v1::Message>> AccountsView::row_of(Place message) {
  auto page = co_await rows(message, message.uid - 1, 1);
  if (!page) co_return fail(std::move(page).error());
  const bool same = !page->messages().empty() && page->messages(0).uid() == message.uid &&
                    page->uid_validity() == message.uid_validity;
  if (!same) co_return absent(element_of_uid(message.uid));
  co_return page->messages(0);
}

Task<Result<Found>> AccountsView::attributes(NodeRef node, OpenFileRef file) {
  if (const Place draft_place = Place::of_key(node->key); draft_place.kind == Place::Kind::kDraft) {
    DraftRef draft = file != nullptr ? static_cast<File&>(*file).draft : drafts_.find(draft_place.uid);
    if (draft == nullptr) co_return absent(node->names.empty() ? "draft" : node->names.front().name);
    co_return co_await lookup_draft(std::move(draft));
  }
  const Place place = place_of(*node);
  if (place.is_directory()) co_return found(place);
  if (place.kind == Place::Kind::kMessage) {
    auto row = co_await row_of(place);
    if (!row) co_return fail(std::move(row).error());
    co_return found_message(place, place.uid_validity, *row);
  }
  if (file != nullptr) co_return co_await found_text(place, static_cast<File&>(*file).text.size());
  auto text = co_await text_of(place);
  if (!text) co_return fail(std::move(text).error());
  co_return co_await found_text(place, text->size());
}

// ------------------------------------------------------------------------------------------------
// directories

Task<Result<Page>> AccountsView::list(NodeRef directory, std::string from, Listed, size_t) {
  const Place place = place_of(*directory);
  switch (place.kind) {
    case Place::Kind::kAccounts:
    case Place::Kind::kDomain: break;
    case Place::Kind::kAccount: co_return co_await list_account(place);
    case Place::Kind::kMailbox: co_return co_await list_mailbox(place, std::move(from));
    default: co_return refuse(ENOTDIR, place.name, "not a directory");
  }
  v1::ListRequest request;
  request.set_after(from);
  Page page;
  auto add = [&](const auto& answer, bool domains) {
    for (const std::string& name : answer.names()) {
      Place each = inside(place, domains ? Place::Kind::kDomain : Place::Kind::kAccount);
      each.name = domains ? name : name + "@" + place.name;
      page.entries.push_back(entry(name, each));
    }
    page.end = answer.end() || answer.names().empty();
    if (!answer.names().empty()) page.next = answer.names(answer.names_size() - 1);
  };
  if (place.kind == Place::Kind::kAccounts) {
    auto domains = co_await backend_.directory().list_domains(request, backend_.options());
    if (!domains) co_return fail(std::move(domains).error());
    add(*domains, true);
  } else {
    request.set_domain(place.name);
    auto accounts = co_await backend_.directory().list_accounts(request, backend_.options());
    if (!accounts) co_return fail(std::move(accounts).error());
    add(*accounts, false);
  }
  co_return page;
}

Task<Result<Page>> AccountsView::list_account(Place account) {
  auto listed =
      co_await wire::list_all_mailboxes(backend_.mailboxes(), account_ref(account.name), backend_.options());
  // The mail of a suspended account is not to be read; its settings are.
  if (!listed && listed.error().code() != Code::kSuspended) co_return fail(std::move(listed).error());
  Page page;
  page.entries.push_back(entry("settings", inside(account, Place::Kind::kSettings)));
  page.entries.push_back(entry("info", inside(account, Place::Kind::kInfo)));
  page.entries.push_back(entry("location", inside(account, Place::Kind::kLocation)));
  if (last_errors_.contains(account.name))
    page.entries.push_back(entry(std::string(kLastErrorName), inside(account, Place::Kind::kLastError)));
  page.end = true;
  if (!listed) co_return page;
  for (const v1::Mailbox& mailbox : listed->mailboxes()) {
    if (mailbox.name().find('/') != std::string::npos) continue;
    add_mailbox(page, account, mailbox.name(), mailbox);
  }
  co_return page;
}

Task<Result<Page>> AccountsView::list_mailbox(Place mailbox, std::string from) {
  Page page;
  if (from.empty()) {
    auto listed = co_await wire::list_all_mailboxes(backend_.mailboxes(), account_ref(mailbox.name),
                                                    backend_.options());
    if (!listed) co_return fail(std::move(listed).error());
    std::string above;
    for (const v1::Mailbox& each : listed->mailboxes()) {
      if (each.id() == mailbox.mailbox_id) above = each.name() + "/";
    }
    if (above.empty()) co_return absent(mailbox.name);
    for (const v1::Mailbox& each : listed->mailboxes()) {
      const std::string& name = each.name();
      if (!name.starts_with(above) || name.find('/', above.size()) != std::string::npos) continue;
      add_mailbox(page, mailbox, std::string_view(name).substr(above.size()), each);
    }
  }
  const uint32_t after = from.empty() ? 0 : static_cast<uint32_t>(std::stoul(from));
  auto listed = co_await rows(mailbox, after, 0);
  if (!listed) co_return fail(std::move(listed).error());
  for (const v1::Message& row : listed->messages()) {
    page.entries.push_back(
        Entry{element_of_uid(row.uid()), S_IFREG,
              std::make_unique<Found>(found_message(mailbox, listed->uid_validity(), row))});
  }
  page.end = listed->end() || listed->messages().empty();
  if (!listed->messages().empty())
    page.next = std::to_string(listed->messages(listed->messages_size() - 1).uid());
  co_return page;
}

// ------------------------------------------------------------------------------------------------ content

Task<Result<std::string>> AccountsView::text_of(Place file) {
  if (file.kind == Place::Kind::kLocation) co_return co_await location_of(std::move(file));
  if (file.kind == Place::Kind::kLastError) {
    auto error = last_errors_.find(file.name);
    co_return error == last_errors_.end() ? std::string() : error->second;
  }
  v1::GetInfoRequest request;
  *request.mutable_account() = account_ref(file.name);
  request.set_kind(file.kind == Place::Kind::kInfo ? v1::INFO : v1::SETTINGS);
  auto text = co_await backend_.info().get(request, backend_.options());
  if (!text) co_return fail(std::move(text).error());
  if (!text->text().ends_with('\n')) text->mutable_text()->push_back('\n');
  co_return std::move(*text->mutable_text());
}

// With the times of the files that its text comes from, so that they are the same on every mount.
Task<Result<Found>> AccountsView::found_text(Place file, size_t size) {
  Found out = found(file, size);
  if (file.kind == Place::Kind::kLastError) co_return out;
  auto where = co_await backend_.directory().locate(account_ref(file.name), backend_.options());
  if (!where) co_return fail(std::move(where).error());
  std::vector<std::string> sources;
  if (file.kind != Place::Kind::kInfo) sources.push_back(where->settings_file());
  if (file.kind != Place::Kind::kSettings) sources.push_back(where->info_file());
  if (file.kind == Place::Kind::kLocation) sources.push_back(where->account_directory());
  bool known = false;
  for (size_t i = 0; i < sources.size(); ++i) {
    v1::TreePath request;
    request.set_path(sources[i]);
    auto source = co_await backend_.tree().get_attributes(request, backend_.options());
    if (!source && source.error().code() != Code::kNotFound) co_return fail(std::move(source).error());
    // Of a file that is not there, the text is empty since the account was made.
    if (!source && !known && i + 1 == sources.size() && sources[i] != where->account_directory())
      sources.push_back(where->account_directory());
    if (!source) continue;
    const timespec modified = timespec_of(source->modified());
    if (known && is_later(out.attributes.st_mtim, modified)) continue;
    out.attributes.st_mtim = out.attributes.st_atim = modified;
    out.attributes.st_ctim = timespec_of(source->changed());
    known = true;
  }
  co_return out;
}

Task<Result<std::string>> AccountsView::location_of(Place file) {
  auto where = co_await backend_.directory().locate(account_ref(file.name), backend_.options());
  if (!where) co_return fail(std::move(where).error());
  auto account = co_await backend_.directory().get_account(account_ref(file.name), backend_.options());
  if (!account) co_return fail(std::move(account).error());
  auto limit = [](uint64_t value) { return value == 0 ? std::string("none") : std::to_string(value); };
  co_return fmt::format(
      "account {}@{}\nstate {}\nstore {}\ndirectory {}\nsettings {}\ninfo {}\nslot {}\nbackend {}\nmessages "
      "{}\nbytes "
      "{}\nquota-messages {}\nquota-bytes {}\n",
      account->name(), account->domain(), account->state(), where->store(), where->account_directory(),
      where->settings_file(), where->info_file(), where->slot(), where->backend(), account->messages(),
      account->bytes(), limit(account->quota_messages()), limit(account->quota_bytes()));
}

Task<Result<OpenFileRef>> AccountsView::open(NodeRef node, int flags) {
  const Place place = place_of(*node);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (const Place draft_place = Place::of_key(node->key); draft_place.kind == Place::Kind::kDraft) {
    DraftRef draft = drafts_.find(draft_place.uid);
    // The kernel knows a name for a while that is gone: told so, it looks the name up anew.
    if (draft == nullptr) co_return refuse(ESTALE, "draft", "it is gone");
    const bool other = draft->delivered() && writes && (flags & O_TRUNC) == 0;
    if (other) co_return refuse(EACCES, draft->name, "messages do not change");
    auto opened = co_await open_draft(draft, (flags & O_TRUNC) != 0);
    if (!opened) co_return fail(std::move(opened).error());
    (*opened)->node = node;
    co_return std::move(*opened);
  }
  const bool settable = place.kind == Place::Kind::kSettings || place.kind == Place::Kind::kInfo;
  if (writes && !settable)
    co_return refuse(EACCES, place.name,
                     place.kind == Place::Kind::kMessage ? "messages do not change" : "it can be read only");
  auto file = std::make_shared<File>();
  file->node = node;
  file->place = place;
  file->writes = writes;
  if (place.kind == Place::Kind::kMessage) {
    file->keep_cache = true;
    file->no_flush = true;
  } else {
    file->direct = true;  // what is read is what was there at the open, whatever size was known before
    if (writes && (flags & O_TRUNC) != 0) {
      file->changed = true;
      co_return file;
    }
    auto text = co_await text_of(place);
    if (!text) co_return fail(std::move(text).error());
    file->text = std::move(*text);
  }
  co_return file;
}

Task<Result<std::string>> AccountsView::read(OpenFileRef file, uint64_t offset, size_t bytes) {
  const File& open = static_cast<File&>(*file);
  if (open.draft != nullptr && !open.draft->delivered()) co_return co_await open.draft->read(offset, bytes);
  const Place place = open.draft != nullptr ? resolve(open.draft->message()) : place_of(*file->node);
  if (place.kind != Place::Kind::kMessage) {
    const std::string& text = open.text;
    co_return offset >= text.size() ? std::string() : text.substr(offset, bytes);
  }
  v1::FetchRequest request;
  *request.mutable_account() = account_ref(place.name);
  request.set_mailbox_id(place.mailbox_id);
  request.set_uid(place.uid);
  std::string out;
  while (out.size() < bytes) {
    request.set_offset(offset + out.size());
    request.set_bytes(static_cast<uint32_t>(std::min<size_t>(bytes - out.size(), kWireChunkBytesMax)));
    auto part = co_await backend_.mailboxes().fetch(request, backend_.options());
    if (!part) co_return fail(std::move(part).error());
    if (out.empty())
      out = std::move(*part->mutable_data());
    else
      out += part->data();
    if (part->end() || part->data().empty()) break;
  }
  co_return out;
}

Task<Result<std::string>> AccountsView::get_xattr(NodeRef node, std::string name) {
  const Place place = place_of(*node);
  if (place.kind != Place::Kind::kMessage || name != kFlagsAttribute)
    co_return refuse(ENODATA, node->key, "it has no such attribute");
  auto row = co_await row_of(place);
  if (!row) co_return fail(std::move(row).error());
  std::string flags;
  auto add = [&flags](std::string_view flag) {
    if (!flags.empty()) flags += ' ';
    flags += flag;
  };
  for (size_t bit = 0; bit < std::size(kSystemFlags); ++bit) {
    if ((row->system_flags() >> bit & 1) != 0) add(kSystemFlags[bit]);
  }
  for (const std::string& keyword : row->keywords()) add(keyword);
  co_return flags;
}

Task<Result<std::vector<std::string>>> AccountsView::list_xattr(NodeRef node) {
  std::vector<std::string> names;
  if (place_of(*node).kind == Place::Kind::kMessage) names.emplace_back(kFlagsAttribute);
  co_return names;
}

}  // namespace canopy::mount
