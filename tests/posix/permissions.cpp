// What a user may not do who owns nothing, and what belongs to whom.
#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

void of_others(Case& test) {
  must_write(test, "secret", "x");
  must(test, "chmod", chmod("secret", 0600));
  must_write(test, "public", "public");
  must(test, "mkdir", mkdir("closed", 0700));
  must_write(test, "closed/f", "");
  must(test, "mkdir", mkdir("listed", 0744));
  must_write(test, "listed/f", "");
  as_stranger(test, [](Case& as) {
    struct stat found = {};
    as.done("open", open("secret", O_RDONLY));
    as.text("read what is public", content_of("public"));
    as.done("write to it", open("public", O_WRONLY));
    as.done("create", open("new", O_WRONLY | O_CREAT, 0644));
    as.done("mkdir", mkdir("new", 0755));
    as.done("symlink", symlink("x", "new"));
    as.done("unlink", unlink("public"));
    as.done("rename", rename("public", "other"));
    as.done("chmod", chmod("public", 0777));
    as.done("chown", chown("public", getuid(), getgid()));
    as.done("truncate", truncate("public", 0));
    as.done("utimens to now", utimensat(AT_FDCWD, "public", nullptr, 0));
    const timespec given[2] = {};
    as.done("utimens", utimensat(AT_FDCWD, "public", given, 0));
    as.done("stat within a closed directory", stat("closed/f", &found));
    as.text("list a closed directory", names_in("closed"));
    as.text("list without x", names_in("listed"));
    as.done("stat without x", stat("listed/f", &found));
    as.done("access", access("public", R_OK));
    as.done("access for writing", access("public", W_OK));
    as.done("rmdir", rmdir("closed"));
  });
}

void of_ones_own(Case& test) {
  must(test, "mkdir", mkdir("open", 0777));
  must(test, "chmod", chmod("open", 0777));
  as_stranger(test, [](Case& as) {
    must(as, "chdir", chdir("open"));
    umask(022);
    must_write(as, "f", "mine");
    struct stat found = {};
    must(as, "stat", stat("f", &found));
    as.count("user", found.st_uid);
    as.count("group", found.st_gid);
    as.done("chmod", chmod("f", 0200));
    as.done("read without r", open("f", O_RDONLY));
    as.done("write", open("f", O_WRONLY));
    as.done("mkdir", mkdir("d", 0755));
    must(as, "stat", stat("d", &found));
    as.count("the directory's user", found.st_uid);
    as.done("symlink", symlink("f", "s"));
    must(as, "lstat", lstat("s", &found));
    as.count("the link's user", found.st_uid);
    as.done("chown to another", chown("f", 0, 0));
    as.done("unlink", unlink("f"));
    const int file = must_open(as, "g", O_RDWR | O_CREAT, 0);
    as.count("write with mode 0", write(file, "x", 1));
    as.text("read by the descriptor", content_of(file));
  });
}

void sticky_directories(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  must(test, "chmod", chmod("d", 01777));
  must_write(test, "d/f", "");
  must(test, "chmod", chmod("d/f", 0666));
  as_stranger(test, [](Case& as) {
    as.done("write another's", open("d/f", O_WRONLY));
    as.done("unlink another's", unlink("d/f"));
    as.done("rename another's", rename("d/f", "d/g"));
    must_write(as, "d/own", "");
    as.done("unlink one's own", unlink("d/own"));
  });
}

void set_group(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  if (geteuid() != 0) {
    test.text("chown", "needs root");
    return;
  }
  must(test, "chown", chown("d", 0, 4321));
  must(test, "chmod", chmod("d", 02755));
  must_write(test, "d/f", "");
  must(test, "mkdir", mkdir("d/e", 0755));
  struct stat found = {};
  must(test, "stat", stat("d/f", &found));
  test.count("a file's group", found.st_gid);
  must(test, "stat", stat("d/e", &found));
  test.count("a directory's group", found.st_gid);
  test.count("its mode", found.st_mode);
}

void set_group_of_others(Case& test) {
  must(test, "mkdir", mkdir("d", 0755));
  must(test, "chmod", chmod("d", 02777));
  as_stranger(test, [](Case& as) {
    must_write(as, "d/f", "");
    must(as, "mkdir", mkdir("d/e", 0755));
    must(as, "symlink", symlink("f", "d/s"));
    struct stat found = {};
    for (const char* name : {"d/f", "d/e", "d/s"}) {
      must(as, "lstat", lstat(name, &found));
      as.count(std::string("user of ") + name, found.st_uid);
      as.count(std::string("group of ") + name, found.st_gid);
      as.count(std::string("mode of ") + name, found.st_mode);
    }
  });
}

void set_id_from_the_start(Case& test) {
  must(test, "chmod", chmod(".", 0777));
  as_stranger(test, [](Case& as) {
    must_open(as, "f", O_WRONLY | O_CREAT, 06755);
    struct stat found = {};
    must(as, "stat", stat("f", &found));
    as.count("mode", found.st_mode);
    as.count("user", found.st_uid);
  });
}

void set_id_is_lost_by_writing(Case& test) {
  must_write(test, "f", "");
  must(test, "chmod", chmod("f", 06777));
  as_stranger(test, [](Case& as) {
    const int file = must_open(as, "f", O_WRONLY);
    as.count("write", write(file, "x", 1));
  });
  struct stat found = {};
  must(test, "stat", stat("f", &found));
  test.count("mode", found.st_mode);
  must(test, "chmod", chmod("f", 06777));
  as_stranger(test, [](Case& as) { as.done("truncate", truncate("f", 0)); });
  must(test, "stat", stat("f", &found));
  test.count("mode then", found.st_mode);
}

}  // namespace

void add_permissions(Suite& suite) {
  suite.run("permissions", "of_others", of_others);
  suite.run("permissions", "of_ones_own", of_ones_own);
  suite.run("permissions", "sticky_directories", sticky_directories);
  suite.run("permissions", "set_group", set_group);
  suite.run("permissions", "set_group_of_others", set_group_of_others);
  suite.run("permissions", "set_id_from_the_start", set_id_from_the_start);
  suite.run("permissions", "set_id_is_lost_by_writing", set_id_is_lost_by_writing);
}

}  // namespace canopy::posix
