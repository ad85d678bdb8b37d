// A directory that holds a file (mbox) or a directory (.eml files) for each mailbox, as `canopyctl mailbox
// export --all` writes it: one source for all of them.
#include <algorithm>
#include <filesystem>

#include "tools/mailfiles/file_reading.h"
#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {

namespace fs = std::filesystem;

static constexpr std::string_view kMboxEnding = ".mbox";

namespace {

struct FolderPart {
  std::string path;
  std::string mailbox;  // "": the root
  std::string prefix;   // of the positions, which name their file within the part only
};

// Opens one part after the other: an account may have more mailboxes than a process may open files.
class FolderSource final : public MailSource {
 public:
  using Open = Result<std::unique_ptr<MailSource>> (*)(const std::string&);
  FolderSource(std::vector<FolderPart> parts, Open open) : parts_(std::move(parts)), open_(open) {}

  std::vector<std::string> mailboxes() const override {
    std::vector<std::string> names;
    for (const FolderPart& part : parts_)
      if (!part.mailbox.empty()) names.push_back(part.mailbox);
    return names;
  }

  Result<std::optional<MailItem>> next() override {
    for (; at_ < parts_.size(); leave()) {
      CANOPY_TRY(enter());
      CANOPY_ASSIGN(std::optional<MailItem> item, source_->next());
      if (!item) continue;
      item->mailbox = parts_[at_].mailbox;
      item->position.insert(0, parts_[at_].prefix);
      return item;
    }
    return std::nullopt;
  }

  Result<bool> skip() override {
    for (; at_ < parts_.size(); leave()) {
      CANOPY_TRY(enter());
      CANOPY_ASSIGN(const bool any, source_->skip());
      if (any) return true;
    }
    return false;
  }

 private:
  Result<void> enter() {
    if (source_) return {};
    CANOPY_ASSIGN(source_, open_(parts_[at_].path));
    return {};
  }
  void leave() {
    source_.reset();
    ++at_;
  }

  std::vector<FolderPart> parts_;
  Open open_;
  std::unique_ptr<MailSource> source_;
  size_t at_ = 0;
};

}  // namespace

static Result<std::string> mailbox_of(const std::string& path, std::string_view encoded) {
  Result<std::string> name = decode_mutf7(encoded);
  if (!name) return fail(name.error().code(), path, "its name is no mailbox's: " + name.error().message());
  return *name == "INBOX" ? "" : *name;
}

static std::unexpected<Error> nothing_in(const std::string& path, std::string_view what) {
  return fail(Code::kInvalidArgument, path,
              "there is nothing to import in this directory: no " + std::string(what));
}

static bool is_mbox_of_folder(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && (path.ends_with(kMboxEnding) || begins_as_mbox(path));
}

Result<bool> holds_mboxes(const std::string& path) {
  CANOPY_ASSIGN(const std::vector<std::string> names, sorted_entries(path));
  // One .eml file tells enough; there may be a hundred thousand.
  if (std::ranges::any_of(names, is_eml_name)) return false;
  return std::ranges::any_of(names,
                             [&](const std::string& name) { return is_mbox_of_folder(path + "/" + name); });
}

Result<std::unique_ptr<MailSource>> open_mbox_folder(const std::string& path) {
  CANOPY_ASSIGN(const std::vector<std::string> names, sorted_entries(path));
  std::vector<FolderPart> parts;
  for (const std::string& name : names) {
    const std::string file = path + "/" + name;
    if (!is_mbox_of_folder(file)) continue;
    std::string_view encoded = name;
    if (encoded.ends_with(kMboxEnding)) encoded.remove_suffix(kMboxEnding.size());
    CANOPY_ASSIGN(std::string mailbox, mailbox_of(file, encoded));
    parts.push_back({file, std::move(mailbox), ""});
  }
  if (parts.empty()) return nothing_in(path, "mbox files");
  return std::make_unique<FolderSource>(std::move(parts), open_mbox);
}

// The .eml files in it are the root's, each directory in it is a mailbox.
Result<std::unique_ptr<MailSource>> open_eml_folder(const std::string& path) {
  CANOPY_ASSIGN(const std::vector<std::string> names, sorted_entries(path));
  std::vector<FolderPart> parts;
  if (holds_eml(names)) parts.push_back({path, "", ""});
  for (const std::string& name : names) {
    const std::string directory = path + "/" + name;
    std::error_code error;
    if (name.starts_with('.') || !fs::is_directory(directory, error)) continue;
    CANOPY_ASSIGN(const std::vector<std::string> inside, sorted_entries(directory));
    if (!holds_eml(inside)) return nothing_in(directory, ".eml files");
    CANOPY_ASSIGN(std::string mailbox, mailbox_of(directory, name));
    parts.push_back({directory, std::move(mailbox), name + "/"});
  }
  if (parts.empty()) return nothing_in(path, ".eml files and no folders with them");
  return std::make_unique<FolderSource>(std::move(parts), open_eml);
}

}  // namespace canopy::mailfiles
