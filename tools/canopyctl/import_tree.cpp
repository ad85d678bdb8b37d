#include "tools/canopyctl/import_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "tools/mailfiles/file_reading.h"

namespace canopy::ctl {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMboxEnding = ".mbox";
constexpr const char* kDoneFile = "/.done";  // no domain's name

void add_account(const std::string& directory, const std::string& name, const std::string& domain,
                 bool maildir, std::vector<SourceAccount>& into) {
  std::string account = name, path = directory + "/" + name;
  if (!maildir && account.size() > kMboxEnding.size() && account.ends_with(kMboxEnding))
    account.resize(account.size() - kMboxEnding.size());
  std::error_code error;
  if (maildir && !fs::is_directory(path + "/cur", error) && fs::is_directory(path + "/Maildir/cur", error))
    path += "/Maildir";
  into.push_back({account.find('@') == std::string::npos ? account + "@" + domain : account, path});
}

}  // namespace

Result<std::vector<SourceAccount>> list_source_accounts(const std::string& tree, const std::string& format,
                                                        const std::string& domain) {
  const bool maildir = format == "maildir";
  std::error_code error;
  if (maildir && fs::is_directory(tree + "/cur", error))
    return fail(Code::kInvalidArgument, tree,
                "this is one Maildir, not a directory of them; canopyctl mailbox import takes it");
  std::vector<SourceAccount> accounts;
  CANOPY_ASSIGN(const std::vector<std::string> names, mailfiles::sorted_entries(tree));
  for (const std::string& name : names) {
    if (name.starts_with('.')) continue;
    const bool directory = fs::is_directory(tree + "/" + name, error);
    if (maildir && !directory) continue;
    if (!domain.empty() || name.find('@') != std::string::npos) {
      add_account(tree, name, domain, maildir, accounts);
    } else if (directory) {
      CANOPY_ASSIGN(const std::vector<std::string> inner, mailfiles::sorted_entries(tree + "/" + name));
      for (const std::string& account : inner) {
        if (account.starts_with('.')) continue;
        if (maildir && !fs::is_directory(tree + "/" + name + "/" + account, error)) continue;
        add_account(tree + "/" + name, account, name, maildir, accounts);
      }
    } else {
      return fail(Code::kInvalidArgument, tree + "/" + name,
                  "its name says no domain; give --domain, or lay accounts out as DOMAIN/ACCOUNT");
    }
  }
  if (accounts.empty()) return fail(Code::kInvalidArgument, tree, "there are no accounts in this directory");
  std::ranges::sort(accounts, {}, &SourceAccount::address);
  for (size_t i = 1; i < accounts.size(); ++i)
    if (accounts[i].address == accounts[i - 1].address)
      return fail(
          Code::kInvalidArgument, accounts[i].path,
          fmt::format("it is the second one of {}, beside {}", accounts[i].address, accounts[i - 1].path));
  return accounts;
}

Result<void> ImportState::open(const std::string& kind, bool restart) {
  if (restart) remove();
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) return fail_errno(error.value(), directory_, "make the directory");
  std::ifstream file(directory_ + kDoneFile);
  std::string line;
  if (!file || !std::getline(file, line)) return append(kind + "\n");
  if (line != kind)
    return fail(
        Code::kConflict, directory_,
        "a stopped import with other options has left its state here; finish that one or give --restart");
  bool whole = true;
  while (std::getline(file, line)) {
    const size_t tab = line.find('\t');
    uint64_t messages = 0;
    whole = !file.eof();
    if (tab == std::string::npos || !whole) continue;  // cut off
    std::from_chars(line.data() + tab + 1, line.data() + line.size(), messages);
    done_[line.substr(0, tab)] = messages;
  }
  if (!whole) return append("\n");
  return {};
}

uint64_t ImportState::messages_done() const {
  uint64_t sum = 0;
  for (const auto& [address, messages] : done_) sum += messages;
  return sum;
}

Result<void> ImportState::append(const std::string& line) const {
  const std::string path = directory_ + kDoneFile;
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(errno, path, "open");
  const ssize_t written = ::write(fd, line.data(), line.size());
  const int problem = errno;
  ::close(fd);
  if (written == static_cast<ssize_t>(line.size())) return {};
  return fail_errno(written < 0 ? problem : ENOSPC, path, "write to");
}

Result<void> ImportState::set_done(const std::string& address, uint64_t messages) {
  CANOPY_TRY(append(fmt::format("{}\t{}\n", address, messages)));
  done_[address] = messages;
  return {};
}

Result<std::string> ImportState::file_of(const std::string& address) const {
  const size_t at = address.rfind('@');
  const std::string directory = directory_ + "/" + address.substr(at + 1);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail_errno(error.value(), directory, "make the directory");
  return directory + "/" + address.substr(0, at) + ".state";
}

// Nothing but what it has made.
void ImportState::remove() {
  done_.clear();
  std::error_code error;
  for (const auto& domain : fs::directory_iterator(directory_, error)) {
    if (!domain.is_directory(error)) continue;
    for (const auto& file : fs::directory_iterator(domain.path(), error)) {
      const std::string name = file.path().filename().string();
      if (name.ends_with(".state") || name.ends_with(".state.new")) fs::remove(file.path(), error);
    }
    fs::remove(domain.path(), error);  // when it is empty
  }
  fs::remove(directory_ + kDoneFile, error);
  fs::remove(directory_, error);
}

}  // namespace canopy::ctl
