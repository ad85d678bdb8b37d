#include "tests/posix/suite.h"

#include <dirent.h>
#include <grp.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace canopy::posix {
namespace {

constexpr uid_t kStranger = 54321;     // owns nothing on any machine
constexpr unsigned kCaseSeconds = 60;  // a case that hangs dies of SIGALRM

std::string errno_name(int error) {
  const char* name = strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
      out += each;
    } else {
      char code[5];
      std::snprintf(code, sizeof code, "\\x%02x", byte);
      out += code;
    }
  }
  return out;
}

void wait_for(const std::string& name, pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) std::printf("%s: died of SIG%s\n", name.c_str(), sigabbrev_np(WTERMSIG(status)));
}

}  // namespace

Case::Case(std::string_view group, std::string_view name)
    : name_(std::string(group) + "." + std::string(name)) {}

void Case::line(std::string_view what, std::string_view seen) {
  std::printf("%s %s: %s\n", name_.c_str(), std::string(what).c_str(), escaped(seen).c_str());
}

void Case::done(std::string_view what, long result) { line(what, result < 0 ? errno_name(errno) : "ok"); }

void Case::count(std::string_view what, long long result) {
  line(what, result < 0 ? errno_name(errno) : std::to_string(result));
}

void Case::text(std::string_view what, std::string_view seen) { line(what, seen); }

void Case::yes(std::string_view what, bool seen) { line(what, seen ? "yes" : "no"); }

void Case::broken(std::string_view what) {
  line(what, "broken off by " + errno_name(errno));
  std::fflush(stdout);
  _exit(0);
}

Suite::Suite(std::string top, std::string only) : top_(std::move(top)), only_(std::move(only)) {}

void Suite::run(std::string_view group, std::string_view name, void (*body)(Case&)) {
  const std::string whole = std::string(group) + "." + std::string(name);
  if (!whole.starts_with(only_)) return;
  ran_ = true;
  std::fflush(stdout);
  const std::string directory = top_ + "/" + whole;
  const pid_t child = fork();
  if (child == 0) {
    alarm(kCaseSeconds);
    umask(022);
    Case test(group, name);
    if (mkdir(directory.c_str(), 0755) != 0 || chdir(directory.c_str()) != 0) test.broken("start");
    body(test);
    std::fflush(stdout);
    _exit(0);
  }
  wait_for(whole, child);
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) std::printf("%s: not removed: %s\n", whole.c_str(), errno_name(error.value()).c_str());
}

int must_open(Case& test, const char* path, int flags, mode_t mode) {
  const int file = open(path, flags, mode);
  if (file < 0) test.broken(std::string("open ") + path);
  return file;
}

void must_write(Case& test, const char* path, std::string_view content) {
  const int file = must_open(test, path, O_WRONLY | O_CREAT | O_TRUNC);
  if (write(file, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    test.broken(std::string("write ") + path);
  must(test, "close", close(file));
}

void must(Case& test, const char* what, long result) {
  if (result < 0) test.broken(what);
}

std::string content_of(int file) {
  std::string all;
  char piece[65536];
  while (true) {
    const ssize_t got = pread(file, piece, sizeof piece, static_cast<off_t>(all.size()));
    if (got < 0) return errno_name(errno);
    if (got == 0) return all;
    all.append(piece, static_cast<size_t>(got));
  }
}

std::string content_of(const char* path) {
  const int file = open(path, O_RDONLY);
  if (file < 0) return errno_name(errno);
  std::string all = content_of(file);
  close(file);
  return all;
}

void as_stranger(Case& test, void (*body)(Case&)) {
  if (geteuid() != 0) {
    test.text("as another user", "needs root");
    return;
  }
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(kCaseSeconds);
    if (setgroups(0, nullptr) != 0 || setgid(kStranger) != 0 || setuid(kStranger) != 0) test.broken("setuid");
    body(test);
    std::fflush(stdout);
    _exit(0);
  }
  wait_for("as another user", child);
}

std::string names_in(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return errno_name(errno);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(directory);
  std::ranges::sort(names);
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ",") + name;
  return all;
}

}  // namespace canopy::posix
