// canopyctl mailbox: list, create, rename, delete, cat; import and export are in mailbox_import.cpp and
// mailbox_export.cpp.
#include <unistd.h>

#include <iostream>

#include "daemon/wire/client/listing.h"
#include "tools/canopyctl/command.h"

namespace canopy::ctl {

namespace {
struct MailboxArguments {
  std::string account, mailbox, to;
  std::vector<uint32_t> uids;
};
}  // namespace

static Json mailbox_json(const v1::Mailbox& mailbox) {
  return {{"name", mailbox.name()},
          {"id", mailbox.id()},
          {"uid_validity", mailbox.uid_validity()},
          {"uid_next", mailbox.uid_next()},
          {"highest_modseq", mailbox.highest_modseq()},
          {"messages", mailbox.messages()},
          {"unseen", mailbox.unseen()},
          {"bytes", mailbox.bytes()},
          {"subscribed", mailbox.subscribed()}};
}

static Result<void> list(Context& context, const MailboxArguments& arguments) {
  v1::AccountRef request;
  request.set_name(arguments.account);
  CANOPY_ASSIGN(wire::BlockingClient* const connected, context.client());
  CANOPY_ASSIGN(const v1::ListMailboxesResponse response,
                connected->run(wire::list_all_mailboxes(wire::MailboxesStub(connected->client()), request)));
  ListPrinter printer(context);
  for (const v1::Mailbox& mailbox : response.mailboxes())
    printer.row(mailbox_json(mailbox),
                fmt::format("{:<30} {:>9} messages {:>9} unseen {:>12}", mailbox.name(), mailbox.messages(),
                            mailbox.unseen(), human_bytes(mailbox.bytes())));
  printer.end();
  return {};
}

static Result<void> create(Context& context, const MailboxArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::CreateMailboxRequest request;
  request.mutable_account()->set_name(arguments.account);
  request.set_name(arguments.mailbox);
  request.set_request_id(context.new_request_id());
  CANOPY_ASSIGN(const v1::Mailbox mailbox, context.call(&wire::MailboxesStub::create, request));
  context.print(mailbox_json(mailbox), "");
  return {};
}

static Result<void> rename(Context& context, const MailboxArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::RenameMailboxRequest request;
  request.mutable_account()->set_name(arguments.account);
  request.set_from(arguments.mailbox);
  request.set_to(arguments.to);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::MailboxesStub::rename, request));
  context.print({{"from", arguments.mailbox}, {"to", arguments.to}}, "");
  return {};
}

static Result<void> remove(Context& context, const MailboxArguments& arguments) {
  CANOPY_TRY(context.client());
  v1::DeleteMailboxRequest request;
  request.mutable_account()->set_name(arguments.account);
  request.set_name(arguments.mailbox);
  request.set_request_id(context.new_request_id());
  CANOPY_TRY(context.call(&wire::MailboxesStub::remove, request));
  context.print({{"deleted", arguments.mailbox}}, "");
  return {};
}

// The message's bytes as they are; with --json one object a message (bytes that are no UTF-8 are replaced
// there).
static Result<void> cat_one(Context& context, const MailboxArguments& arguments, uint32_t uid,
                            std::string& content) {
  v1::FetchRequest request;
  request.mutable_account()->set_name(arguments.account);
  request.set_mailbox(arguments.mailbox);
  request.set_uid(uid);
  for (bool end = false; !end;) {
    CANOPY_ASSIGN(const v1::FetchResponse part, context.call(&wire::MailboxesStub::fetch, request));
    request.set_offset(request.offset() + part.data().size());
    end = part.end();
    if (part.data().empty() && !end)
      return fail(Code::kInternal, arguments.mailbox + "/" + std::to_string(uid),
                  "the server sent an empty part");
    if (context.json()) {
      content += part.data();
    } else {
      std::cout.write(part.data().data(), static_cast<std::streamsize>(part.data().size()));
    }
  }
  return {};
}

static Result<void> cat(Context& context, const MailboxArguments& arguments) {
  ListPrinter printer(context);
  for (const uint32_t uid : arguments.uids) {
    std::string content;
    CANOPY_TRY(cat_one(context, arguments, uid, content));
    if (context.json()) printer.row({{"uid", uid}, {"bytes", content.size()}, {"content", content}}, "");
  }
  printer.end();
  return {};
}

static void add_names(const Command<MailboxArguments>& command, bool with_mailbox) {
  command.app->add_option("account", command.arguments->account, "account, as jsmith@company.com")
      ->required()
      ->type_name("ACCOUNT");
  if (with_mailbox)
    command.app->add_option("mailbox", command.arguments->mailbox, "mailbox, levels separated by /")
        ->required()
        ->type_name("MAILBOX");
}

void add_mailbox_commands(CLI::App& app, Commands& commands) {
  CLI::App& group = *add_group(app, "mailbox", "mailboxes and messages of an account");
  add_names(commands.add(group, "list", "mailboxes with their figures", list), false);
  add_names(commands.add(group, "create", "make a mailbox", create), true);
  const auto rename_command = commands.add(group, "rename", "give a mailbox another name", rename);
  add_names(rename_command, true);
  rename_command.app->add_option("to", rename_command.arguments->to, "the new name")
      ->required()
      ->type_name("NEW");
  add_names(commands.add(group, "delete", "delete a mailbox and its messages", remove), true);
  const auto cat_command = commands.add(group, "cat", "print messages as they are stored", cat);
  add_names(cat_command, true);
  cat_command.app->add_option("uid", cat_command.arguments->uids, "UIDs of messages")
      ->required()
      ->type_name("UID");
  add_mailbox_transfer_commands(group, commands);
}

}  // namespace canopy::ctl
