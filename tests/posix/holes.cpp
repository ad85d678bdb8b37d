// truncate(2), fallocate(2) and holes.
#include <linux/falloc.h>

#include "tests/posix/suite.h"

namespace canopy::posix {
namespace {

constexpr long kPiece = 65536;

void truncating(Case& test) {
  must_write(test, "f", "0123456789");
  test.done("shorter", truncate("f", 4));
  test.text("content", content_of("f"));
  test.done("longer", truncate("f", 8));
  test.text("content then", content_of("f"));
  const int file = must_open(test, "f", O_RDWR);
  test.done("by descriptor", ftruncate(file, 2));
  test.text("content at last", content_of(file));
  test.done("below nothing", ftruncate(file, -1));
  must(test, "mkdir", mkdir("d", 0755));
  test.done("a directory", truncate("d", 0));
  // What lay beyond the end does not come back.
  must(test, "ftruncate", ftruncate(file, 0));
  test.count("write", pwrite(file, "abcdef", 6, 0));
  must(test, "ftruncate", ftruncate(file, 3));
  must(test, "ftruncate", ftruncate(file, 6));
  test.text("cut and extended", content_of(file));
  test.count("a page", pwrite(file, std::string(8192, 'p').data(), 8192, 0));
  must(test, "ftruncate", ftruncate(file, 4100));
  test.count("beyond the end", pwrite(file, "q", 1, 5000));
  const std::string all = content_of(file);
  test.text("around the cut", all.substr(4097, 6));
  test.text("at the end", all.substr(4998));
}

void reserving(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  test.done("reserve", fallocate(file, 0, 0, kPiece));
  test.count("size", lseek(file, 0, SEEK_END));
  test.done("keep size", fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 4 * kPiece));
  test.count("size then", lseek(file, 0, SEEK_END));
  struct stat found = {};
  must(test, "stat", fstat(file, &found));
  test.yes("room is reserved", found.st_blocks * 512 >= 4 * kPiece);
  test.done("posix_fallocate", -posix_fallocate(file, 0, 2 * kPiece));
  test.count("size after it", lseek(file, 0, SEEK_END));
  test.done("of no length", fallocate(file, 0, 0, 0));
  test.done("before the start", fallocate(file, 0, -1, 10));
}

void punching(Case& test) {
  must_write(test, "f", std::string(4 * kPiece, 'x'));
  const int file = must_open(test, "f", O_RDWR);
  test.done("punch", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPiece, 2 * kPiece));
  const std::string all = content_of(file);
  test.count("size", static_cast<long>(all.size()));
  test.yes("nothing is there", all.substr(kPiece, 2 * kPiece) == std::string(2 * kPiece, '\0'));
  test.yes("the rest stays", all[kPiece - 1] == 'x' && all[3 * kPiece] == 'x');
  test.count("first hole", lseek(file, 0, SEEK_HOLE));
  test.count("data behind it", lseek(file, kPiece, SEEK_DATA));
  test.count("the hole at the end", lseek(file, 3 * kPiece, SEEK_HOLE));
  test.count("data beyond the end", lseek(file, 4 * kPiece, SEEK_DATA));
  test.count("a hole beyond the end", lseek(file, 4 * kPiece, SEEK_HOLE));
  test.done("punch without keeping size", fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 4096));
  test.done("punch some bytes", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 5));
  test.text("around them", content_of(file).substr(8, 9));
}

void zeroing(Case& test) {
  must_write(test, "f", std::string(kPiece, 'x'));
  const int file = must_open(test, "f", O_RDWR);
  test.done("zero", fallocate(file, FALLOC_FL_ZERO_RANGE, 100, 50));
  test.text("before and in it", content_of(file).substr(98, 4));
  test.done("zero beyond the end", fallocate(file, FALLOC_FL_ZERO_RANGE, kPiece - 10, 20));
  test.count("size", lseek(file, 0, SEEK_END));
  test.done("zero, keeping size",
            fallocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, kPiece - 10, 100));
  test.count("size then", lseek(file, 0, SEEK_END));
  test.done("collapse", fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
  test.count("size after that", lseek(file, 0, SEEK_END));
  test.done("insert", fallocate(file, FALLOC_FL_INSERT_RANGE, 0, 4096));
  test.count("size at last", lseek(file, 0, SEEK_END));
}

void sparse(Case& test) {
  const int file = must_open(test, "f", O_RDWR | O_CREAT);
  test.count("empty", lseek(file, 0, SEEK_DATA));
  test.count("write", pwrite(file, "x", 1, 4 * kPiece));
  must(test, "fsync", fsync(file));
  test.count("data", lseek(file, 0, SEEK_DATA));
  test.count("hole", lseek(file, 0, SEEK_HOLE));
  struct stat found = {};
  must(test, "stat", fstat(file, &found));
  test.yes("few blocks", found.st_blocks * 512 < 2 * kPiece);
  test.yes("zeros", content_of(file).substr(0, kPiece) == std::string(kPiece, '\0'));
  // What is only in the kernel's cache counts too.
  test.count("another write", pwrite(file, "y", 1, kPiece));
  test.count("data then", lseek(file, 0, SEEK_DATA));
}

}  // namespace

void add_holes(Suite& suite) {
  suite.run("holes", "truncating", truncating);
  suite.run("holes", "reserving", reserving);
  suite.run("holes", "punching", punching);
  suite.run("holes", "zeroing", zeroing);
  suite.run("holes", "sparse", sparse);
}

}  // namespace canopy::posix
