// canopyctl mailbox export: one mailbox or all of an account into an mbox, a Maildir or .eml files.
#include <filesystem>
#include <unordered_map>

#include "daemon/wire/client/listing.h"
#include "tools/canopyctl/mailbox_transfer.h"
#include "tools/canopyctl/progress.h"

namespace canopy::ctl {

// Messages asked for in one FetchMany; the server answers as many of them as fit into a chunk.
static constexpr int kFetchedTogether = 64;

namespace {

class MailExport {
 public:
  MailExport(Context& context, const ExportArguments& arguments) : context_(context), arguments_(arguments) {}
  Result<void> run();

 private:
  Result<void> export_mailbox(const std::string& mailbox, const std::string& folder,
                              mailfiles::MailSink& sink);
  Result<void> export_page(const v1::ListMessagesResponse& page, const std::string& mailbox,
                           const std::string& folder, mailfiles::MailSink& sink);
  Result<std::string> fetch_whole(const std::string& mailbox, uint32_t uid);
  Result<void> export_all(mailfiles::Format format);
  Result<void> export_single(const std::string& mailbox, const std::string& path, mailfiles::Format format);

  Context& context_;
  const ExportArguments& arguments_;
  Progress progress_{"messages"};
  uint64_t messages_ = 0;
  uint64_t mailboxes_ = 0;
};

}  // namespace

Result<std::string> MailExport::fetch_whole(const std::string& mailbox, uint32_t uid) {
  std::string content;
  v1::FetchRequest request;
  request.mutable_account()->set_name(arguments_.account);
  request.set_mailbox(mailbox);
  request.set_uid(uid);
  for (bool end = false; !end;) {
    request.set_offset(content.size());
    CANOPY_ASSIGN(const v1::FetchResponse part, context_.call(&wire::MailboxesStub::fetch, request));
    content += part.data();
    end = part.end();
    if (part.data().empty() && !end)
      return fail(Code::kInternal, mailbox + "/" + std::to_string(uid), "the server sent an empty part");
  }
  return content;
}

Result<void> MailExport::export_page(const v1::ListMessagesResponse& page, const std::string& mailbox,
                                     const std::string& folder, mailfiles::MailSink& sink) {
  for (int at = 0; at < page.messages_size();) {
    v1::FetchManyRequest request;
    request.mutable_account()->set_name(arguments_.account);
    request.set_mailbox(mailbox);
    const int end = std::min(at + kFetchedTogether, page.messages_size());
    for (int i = at; i < end; ++i) request.add_uids(page.messages(i).uid());
    CANOPY_ASSIGN(v1::FetchManyResponse response, context_.call(&wire::MailboxesStub::fetch_many, request));
    if (response.messages_size() == 0) {  // all of these were expunged since they were listed
      at = end;
      continue;
    }
    for (v1::FetchedMessage& fetched : *response.mutable_messages()) {
      // What was expunged since it was listed is left out of the answer.
      while (at < end && page.messages(at).uid() != fetched.uid()) ++at;
      if (at == end) break;
      const v1::Message& row = page.messages(at++);
      mailfiles::MailItem item;
      if (fetched.has_error() && fetched.error().code() != 0)
        return fail(static_cast<Code>(fetched.error().code()), mailbox + "/" + std::to_string(row.uid()),
                    fetched.error().message());
      if (fetched.too_large()) {
        CANOPY_ASSIGN(item.content, fetch_whole(mailbox, row.uid()));
      } else {
        item.content = std::move(*fetched.mutable_content());
      }
      item.internal_date = row.internal_date();
      item.zone_minutes = row.zone_minutes();
      item.system_flags = row.system_flags();
      item.keywords.assign(row.keywords().begin(), row.keywords().end());
      item.mailbox = folder;
      CANOPY_TRY(sink.put(item));
      progress_.update(++messages_, 0);
    }
  }
  return {};
}

Result<void> MailExport::export_mailbox(const std::string& mailbox, const std::string& folder,
                                        mailfiles::MailSink& sink) {
  v1::ListMessagesRequest request;
  request.mutable_account()->set_name(arguments_.account);
  request.set_mailbox(mailbox);
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::ListMessagesResponse page,
                  context_.call(&wire::MailboxesStub::list_messages, request));
    CANOPY_TRY(export_page(page, mailbox, folder, sink));
    end = page.end() || page.messages().empty();
    if (!end) request.set_after_uid(page.messages(page.messages_size() - 1).uid());
  }
  ++mailboxes_;
  return {};
}

Result<void> MailExport::export_single(const std::string& mailbox, const std::string& path,
                                       mailfiles::Format format) {
  // Before anything is created: a mailbox that is not there leaves no file.
  v1::MailboxRequest source;
  source.mutable_account()->set_name(arguments_.account);
  source.set_mailbox(mailbox);
  CANOPY_TRY(context_.call(&wire::MailboxesStub::status, source));
  CANOPY_ASSIGN(auto sink, mailfiles::create_sink(path, format));
  CANOPY_TRY(export_mailbox(mailbox, "", *sink));
  return sink->finish();
}

// A Maildir holds all mailboxes as folders; of the other formats each mailbox gets its own file or directory.
Result<void> MailExport::export_all(mailfiles::Format format) {
  v1::AccountRef request;
  request.set_name(arguments_.account);
  CANOPY_ASSIGN(wire::BlockingClient* const connected, context_.client());
  CANOPY_ASSIGN(const v1::ListMailboxesResponse response,
                connected->run(wire::list_all_mailboxes(wire::MailboxesStub(connected->client()), request)));
  if (format == mailfiles::Format::kMaildir) {
    CANOPY_ASSIGN(auto sink, mailfiles::create_sink(arguments_.path, format));
    for (const v1::Mailbox& mailbox : response.mailboxes()) {
      const std::string folder = mailbox.name() == "INBOX" ? "" : mailbox.name();
      CANOPY_TRY(sink->add_mailbox(folder));
      CANOPY_TRY(export_mailbox(mailbox.name(), folder, *sink));
    }
    return sink->finish();
  }
  std::error_code error;
  std::filesystem::create_directories(arguments_.path, error);
  if (error) return fail_errno(error.value(), arguments_.path, "create the directory");
  for (const v1::Mailbox& mailbox : response.mailboxes()) {
    const std::string name = mailfiles::encode_mutf7(mailbox.name(), true);
    CANOPY_TRY(export_single(
        mailbox.name(), arguments_.path + "/" + name + (format == mailfiles::Format::kMbox ? ".mbox" : ""),
        format));
  }
  return {};
}

Result<void> MailExport::run() {
  CANOPY_ASSIGN(const mailfiles::Format format, mailfiles::parse_format(arguments_.format));
  const Result<void> done =
      arguments_.all ? export_all(format) : export_single(arguments_.mailbox, arguments_.path, format);
  progress_.end();
  if (!done) return done;
  context_.print(
      {{"messages", messages_}, {"mailboxes", mailboxes_}, {"path", arguments_.path}},
      fmt::format("{} messages of {} mailboxes are in {}\n", messages_, mailboxes_, arguments_.path));
  return {};
}

Result<void> export_mail(Context& context, const ExportArguments& arguments) {
  MailExport run(context, arguments);
  return run.run();
}

void add_mailbox_transfer_commands(CLI::App& mailbox, Commands& commands) {
  const auto add_account = [](CLI::App* app, std::string& account) {
    app->add_option("account", account, "account, as jsmith@company.com")->required()->type_name("ACCOUNT");
  };
  const auto [import_app, in] =
      commands.add(mailbox, "import", "bring messages in from mbox, Maildir or .eml files", import_mail);
  add_account(import_app, in->account);
  import_app->add_option("path", in->path, "the file or directory; export --all's too")
      ->required()
      ->type_name("PATH");
  import_app
      ->add_option(
          "--mailbox", in->mailbox,
          "the target (default: INBOX), made when absent; where there are several mailboxes, INBOX's")
      ->type_name("MAILBOX");
  import_app->add_option("--format", in->format, "mbox, maildir or eml (default: by what lies there)")
      ->type_name("FORMAT");
  import_app
      ->add_option("--state-file", in->state_file,
                   "where a stopped run is noted (default: PATH.canopy-state)")
      ->type_name("FILE");
  import_app->add_flag("--restart", in->restart, "begin anew instead of going on after a stopped run");
  import_app->add_flag("--again", in->again,
                       "import what was imported within the last hour once more, as further messages");

  const auto [export_app, out] =
      commands.add(mailbox, "export", "write messages to mbox, Maildir or .eml files", export_mail);
  add_account(export_app, out->account);
  export_app->add_option("path", out->path, "a file (mbox) or directory that does not exist yet")
      ->required()
      ->type_name("PATH");
  export_app->add_option("--mailbox", out->mailbox, "the source (default: INBOX)")->type_name("MAILBOX");
  export_app->add_flag("--all", out->all, "all mailboxes");
  export_app->add_option("--format", out->format, "mbox, maildir or eml (default: mbox)")
      ->type_name("FORMAT");
}

}  // namespace canopy::ctl
