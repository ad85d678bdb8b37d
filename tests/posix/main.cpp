// posix_suite DIR [PREFIX]: runs the cases in DIR, those alone whose names begin with PREFIX, and prints what
// they saw.
#include <cstdio>
#include <cstdlib>

#include "tests/posix/suite.h"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: posix_suite DIR [PREFIX]\n");
    return 2;
  }
  char* top = realpath(argv[1], nullptr);
  if (top == nullptr) {
    std::perror(argv[1]);
    return 1;
  }
  canopy::posix::Suite suite(top, argc == 3 ? argv[2] : "");
  std::free(top);
  for (auto add : {canopy::posix::add_names, canopy::posix::add_open, canopy::posix::add_data,
                   canopy::posix::add_holes, canopy::posix::add_mmap, canopy::posix::add_rename,
                   canopy::posix::add_links, canopy::posix::add_directories, canopy::posix::add_attributes,
                   canopy::posix::add_permissions, canopy::posix::add_removed, canopy::posix::add_xattr,
                   canopy::posix::add_locks, canopy::posix::add_special}) {
    add(suite);
  }
  if (suite.ran()) return 0;
  std::fprintf(stderr, "posix_suite: no case's name begins with %s\n", argv[2]);
  return 1;
}
