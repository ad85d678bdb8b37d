// Cases of POSIX' file system calls that say what they saw, for two file systems to be compared line by line.
//
// Each case runs in a process of its own, in a fresh directory that is its working directory and that is
// removed after it; so paths are relative, and a case that dies is a line of its own. A line is `group.case
// what: outcome`, where the outcome is `ok`, an errno's name, a number or a text. Nothing in it may depend on
// the machine: no inode numbers, times of now or sizes of blocks. One thread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace canopy::posix {

class Case {
 public:
  Case(std::string_view group, std::string_view name);

  // `ok` when the call's result is not negative, else the name of errno, which is taken at once.
  void done(std::string_view what, long result);
  // The number itself when it is not negative, else the name of errno.
  void count(std::string_view what, long long result);
  void text(std::string_view what, std::string_view seen);
  void yes(std::string_view what, bool seen);
  // What a condition of the case is about did not come to pass; the case ends here. For calls that the case
  // needs, but is not about.
  [[noreturn]] void broken(std::string_view what);

 private:
  void line(std::string_view what, std::string_view seen);
  std::string name_;
};

class Suite {
 public:
  // `top` exists and is empty; `only` is a prefix of the names to run, empty for all.
  Suite(std::string top, std::string only);
  void run(std::string_view group, std::string_view name, void (*body)(Case&));
  bool ran() const { return ran_; }

 private:
  std::string top_, only_;
  bool ran_ = false;
};

// What a case needs but is not about: each ends the case with a line when it fails.
int must_open(Case& test, const char* path, int flags, mode_t mode = 0644);
void must_write(Case& test, const char* path, std::string_view content);
void must(Case& test, const char* what, long result);
// The whole content, or the name of errno.
std::string content_of(const char* path);
std::string content_of(int file);
// Runs `body` in a child as a user that owns nothing, or says that root is needed for it.
void as_stranger(Case& test, void (*body)(Case&));
// Sorted names of a directory without `.` and `..`, comma-separated.
std::string names_in(const char* path);

void add_names(Suite&);
void add_open(Suite&);
void add_data(Suite&);
void add_holes(Suite&);
void add_mmap(Suite&);
void add_rename(Suite&);
void add_links(Suite&);
void add_directories(Suite&);
void add_attributes(Suite&);
void add_permissions(Suite&);
void add_removed(Suite&);
void add_xattr(Suite&);
void add_locks(Suite&);
void add_special(Suite&);

}  // namespace canopy::posix
