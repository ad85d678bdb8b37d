#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>

#include "tools/mailfiles/file_reading.h"
#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {

// Letters a to z stand for the first 26 keywords of a folder; the format has no room for more.
static constexpr size_t kKeywordLetters = 26;
static constexpr const char* kKeywordsFile = "dovecot-keywords";

struct FlagLetter {
  char letter;
  uint32_t flag;
};
// In the order of the alphabet, as the format wants them written. 'P' (passed) is the keyword $Forwarded.
static constexpr FlagLetter kFlagLetters[] = {
    {'D', kDraft}, {'F', kFlagged}, {'R', kAnswered}, {'S', kSeen}, {'T', kDeleted}};

// ------------------------------------------------------------------------------------------------------
// reading
struct MaildirEntry {
  std::string path;
  std::string name;  // in new/ or cur/, without the flags
  std::string flags;
  std::string folder;  // mailbox name, "" for the root
  std::string folder_path;
};

// "INBOX" at the root, ".Lists.canopy" below it is "Lists/canopy".
static Result<std::string> folder_name(std::string_view directory) {
  std::string name;
  directory.remove_prefix(1);
  for (size_t at = 0; at <= directory.size();) {
    const size_t end = std::min(directory.find('.', at), directory.size());
    CANOPY_ASSIGN(const std::string level, decode_mutf7(directory.substr(at, end - at)));
    if (!name.empty()) name += '/';
    name += level;
    at = end + 1;
  }
  return name;
}

class MaildirSource final : public MailSource {
 public:
  MaildirSource(std::vector<MaildirEntry> entries, std::vector<std::string> folders)
      : entries_(std::move(entries)), folders_(std::move(folders)) {}

  std::vector<std::string> mailboxes() const override { return folders_; }

  Result<std::optional<MailItem>> next() override {
    while (at_ < entries_.size()) {
      const MaildirEntry& entry = entries_[at_++];
      MailItem item;
      Result<std::string> content = read_whole_file(entry.path);
      if (!content) return fail(std::move(content).error());
      CANOPY_ASSIGN(const FileStamp stamp, stat_file(entry.path));
      item.content = to_wire_lines(std::move(*content));
      item.internal_date = stamp.mtime;
      item.mailbox = entry.folder;
      item.position = entry.folder + "/" + entry.name;
      read_flags(item, entry);
      return item;
    }
    return std::nullopt;
  }
  Result<bool> skip() override {
    if (at_ >= entries_.size()) return false;
    ++at_;
    return true;
  }

 private:
  void read_flags(MailItem& item, const MaildirEntry& entry) {
    for (const char letter : entry.flags) {
      for (const FlagLetter& row : kFlagLetters)
        if (row.letter == letter) item.system_flags |= row.flag;
      if (letter == 'P') item.keywords.emplace_back("$Forwarded");
      if (letter >= 'a' && letter <= 'z') {
        const auto& names = keywords_of(entry.folder_path);
        const auto found = names.find(letter - 'a');
        if (found != names.end()) item.keywords.push_back(found->second);
      }
    }
  }

  const std::map<int, std::string>& keywords_of(const std::string& folder_path) {
    auto [found, inserted] = keywords_.try_emplace(folder_path);
    if (!inserted) return found->second;
    std::ifstream file(folder_path + "/" + kKeywordsFile);
    int number = 0;
    std::string name;
    while (file >> number >> name) found->second[number] = name;
    return found->second;
  }

  std::vector<MaildirEntry> entries_;
  std::vector<std::string> folders_;
  size_t at_ = 0;
  std::map<std::string, std::map<int, std::string>> keywords_;
};

// Names begin with a number of seconds; after that they sort as text, which is what makes an order of
// delivery.
static bool delivered_before(const MaildirEntry& a, const MaildirEntry& b) {
  const auto seconds = [](const std::string& name) { return std::strtoull(name.c_str(), nullptr, 10); };
  const uint64_t a_seconds = seconds(a.name);
  const uint64_t b_seconds = seconds(b.name);
  return a_seconds != b_seconds ? a_seconds < b_seconds : a.name < b.name;
}

static Result<void> list_folder(const std::string& path, const std::string& folder,
                                std::vector<MaildirEntry>& into) {
  std::vector<MaildirEntry> here;
  for (const char* part : {"cur", "new"}) {
    std::error_code error;
    const std::string directory = path + "/" + part;
    if (!std::filesystem::is_directory(directory, error)) continue;
    CANOPY_ASSIGN(const auto names, sorted_entries(directory));
    for (const std::string& name : names) {
      if (name.starts_with('.')) continue;
      const size_t colon = name.find(":2,");
      here.push_back({directory + "/" + name, name.substr(0, colon),
                      colon == std::string::npos ? "" : name.substr(colon + 3), folder, path});
    }
  }
  std::sort(here.begin(), here.end(), delivered_before);
  std::move(here.begin(), here.end(), std::back_inserter(into));
  return {};
}

Result<std::unique_ptr<MailSource>> open_maildir(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path + "/cur", error))
    return fail(Code::kInvalidArgument, path, "not a Maildir: it has no directory cur");
  std::vector<MaildirEntry> entries;
  std::vector<std::string> folders;
  CANOPY_TRY(list_folder(path, "", entries));
  CANOPY_ASSIGN(const auto names, sorted_entries(path));
  for (const std::string& name : names) {
    if (name.size() < 2 || name[0] != '.' ||
        !std::filesystem::is_directory(path + "/" + name + "/cur", error))
      continue;
    CANOPY_ASSIGN(const std::string folder, folder_name(name));
    CANOPY_TRY(list_folder(path + "/" + name, folder, entries));
    folders.push_back(folder);
  }
  return std::make_unique<MaildirSource>(std::move(entries), std::move(folders));
}

// ------------------------------------------------------------------------------------------------------
// writing
class MaildirSink final : public MailSink {
 public:
  explicit MaildirSink(std::string path) : path_(std::move(path)), started_(::time(nullptr)) {}

  Result<void> put(const MailItem& item) override {
    CANOPY_ASSIGN(const std::string folder, folder_of(item.mailbox));
    CANOPY_ASSIGN(const std::string flags, flags_of(item, folder));
    const std::string body = to_file_lines(item.content);
    // The counter keeps the order of the messages when the names are sorted.
    char counter[24];
    std::snprintf(counter, sizeof(counter), "Q%010llu", static_cast<unsigned long long>(++count_));
    const std::string name =
        std::to_string(started_) + "." + counter + ".canopy,S=" + std::to_string(body.size());
    const std::string staged = folder + "/tmp/" + name;
    CANOPY_TRY(write_new_file(staged, body, item.internal_date));
    const std::string final_name = folder + "/cur/" + name + ":2," + flags;
    if (::rename(staged.c_str(), final_name.c_str()) != 0) return fail_errno(errno, final_name, "rename");
    return {};
  }

  Result<void> add_mailbox(const std::string& mailbox) override {
    CANOPY_TRY(folder_of(mailbox));
    return {};
  }

  Result<void> finish() override {
    for (const auto& [folder, keywords] : keywords_) {
      std::string text;
      for (size_t i = 0; i < keywords.size(); ++i) text += std::to_string(i) + " " + keywords[i] + "\n";
      if (!text.empty()) CANOPY_TRY(write_new_file(folder + "/" + kKeywordsFile, text, 0));
    }
    return sync_file_system(path_);
  }

 private:
  Result<std::string> folder_of(const std::string& mailbox) {
    std::string folder = path_;
    if (!mailbox.empty()) {
      folder += "/";
      for (size_t at = 0; at <= mailbox.size();) {
        const size_t end = std::min(mailbox.find('/', at), mailbox.size());
        folder += "." + encode_mutf7(mailbox.substr(at, end - at), true);
        at = end + 1;
      }
    }
    if (keywords_.contains(folder)) return folder;
    for (const char* part : {"/cur", "/new", "/tmp"}) {
      std::error_code error;
      std::filesystem::create_directories(folder + part, error);
      if (error) return fail_errno(error.value(), folder + part, "create the directory");
    }
    if (folder != path_) CANOPY_TRY(write_new_file(folder + "/maildirfolder", "", 0));
    keywords_[folder];
    return folder;
  }

  Result<std::string> flags_of(const MailItem& item, const std::string& folder) {
    std::string flags;
    for (const FlagLetter& row : kFlagLetters)
      if (item.system_flags & row.flag) flags += row.letter;
    for (const std::string& keyword : item.keywords) {
      if (keyword == "$Forwarded") {
        flags += 'P';
        continue;
      }
      std::vector<std::string>& known = keywords_[folder];
      auto found = std::find(known.begin(), known.end(), keyword);
      if (found == known.end()) {
        if (known.size() == kKeywordLetters)
          return fail(Code::kTooLarge, folder,
                      "a Maildir folder holds 26 keywords at most; export to mbox or eml instead");
        found = known.insert(known.end(), keyword);
      }
      flags += static_cast<char>('a' + (found - known.begin()));
    }
    std::sort(flags.begin(), flags.end());
    return flags;
  }

  std::string path_;
  int64_t started_;
  uint64_t count_ = 0;
  std::map<std::string, std::vector<std::string>> keywords_;  // by folder path; every folder made is in it
};

Result<std::unique_ptr<MailSink>> create_maildir(const std::string& path) {
  CANOPY_TRY(make_empty_directory(path));
  for (const char* part : {"/cur", "/new", "/tmp"}) {
    std::error_code error;
    std::filesystem::create_directories(path + part, error);
    if (error) return fail_errno(error.value(), path + part, "create the directory");
  }
  return std::make_unique<MaildirSink>(path);
}

}  // namespace canopy::mailfiles
