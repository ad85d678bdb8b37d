// canopyctl mailbox import: messages of an mbox, a Maildir or .eml files into an account, in their order.
#include <iostream>

#include "tools/canopyctl/account_import.h"
#include "tools/canopyctl/mailbox_transfer.h"

namespace canopy::ctl {

Result<void> import_mail(Context& context, const ImportArguments& arguments) {
  CANOPY_ASSIGN(wire::BlockingClient* const client, context.client());
  AccountImportOptions options;
  options.account = arguments.account;
  options.path = arguments.path;
  options.mailbox = arguments.mailbox;
  options.format = arguments.format;
  options.state_file = arguments.state_file.empty() ? arguments.path + ".canopy-state" : arguments.state_file;
  options.restart = arguments.restart;
  options.again = arguments.again;
  AccountImport import(client->client(), std::move(options));
  CANOPY_TRY(import.open());
  if (import.skipped() != 0)
    std::cerr << "going on after " << import.skipped() << " messages (" << import.state().path() << ")\n";
  Progress progress("messages");
  import.on_message = [&] { progress.update(import.confirmed() - import.skipped(), 0); };
  const Result<void> done = client->run(import.run());
  progress.end();
  if (!done) {
    if (import.confirmed() != 0)
      std::cerr << import.confirmed() << " messages are imported; the same command goes on after them\n";
    return done;
  }
  import.finish();
  context.print(
      {{"imported", import.imported()}, {"earlier", import.earlier()}},
      fmt::format(
          "{} messages imported{}\n", import.imported(),
          import.earlier() == 0 ? "" : fmt::format(", {} were there from an earlier run", import.earlier())));
  return {};
}

}  // namespace canopy::ctl
