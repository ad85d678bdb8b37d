#include "daemon/store/store_check.h"

#include <set>

#include "daemon/base/bytes.h"
#include "daemon/runtime/sync.h"

namespace canopy {
namespace {

constexpr int kWriters = 32, kFilesOfWriter = 8;
constexpr int kSmallFiles = 512;
constexpr int kManyEntries = 10'240;  // in one directory; the white paper asks for more than 10,000
constexpr int kLinksAtOnce = 64;
constexpr size_t kLongPathBytes = 1500;
constexpr int64_t kClockSecondsMax = 2;

using Found = Result<std::string>;  // what was seen, or what was refused

std::unexpected<Error> bad(std::string path, std::string why) {
  return fail(Code::kDamaged, std::move(path), std::move(why));
}

Task<Result<void>> put(Store& store, std::string path, std::string text) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(auto file, co_await store.open(path, options));
  const std::string_view piece = text;
  CANOPY_CO_TRY(co_await file->write(0, std::span(&piece, 1), Durable::kYes));
  co_return Result<void>();
}

Task<Result<void>> expect(Store& store, std::string path, std::string text) {
  auto read = co_await read_file(store, path, text.size() + 1);
  if (!read) co_return fail(std::move(read).error());
  if (*read != text) co_return bad(path, "what was read is not what was written");
  co_return Result<void>();
}

Task<void> write_some(Store& store, std::string directory, int writer, int files, Result<void>& result) {
  for (int i = 0; i < files && result; ++i) {
    const std::string path = fmt::format("{}/{}-{}", directory, writer, i);
    auto done = co_await put(store, path, path);
    if (!done) result = std::move(done);
  }
}

Task<Found> many_writers(Store& store, Loop& loop, std::string in) {
  Result<void> result;
  TaskGroup writers(loop);
  for (int i = 0; i < kWriters; ++i) writers.spawn(write_some(store, in, i, kFilesOfWriter, result));
  co_await writers.join();
  CANOPY_CO_TRY(std::move(result));
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store, in, kWriters * kFilesOfWriter + 10));
  if (entries.size() != kWriters * kFilesOfWriter) co_return bad(in, "not every file is in the directory");
  co_return fmt::format("{} writers made {} files at the same time", kWriters, entries.size());
}

Task<Found> small_files(Store& store, Loop& loop, std::string in) {
  const Nanos begun = loop.now();
  Result<void> result;
  TaskGroup writers(loop);
  for (int i = 0; i < 16; ++i) writers.spawn(write_some(store, in, i, kSmallFiles / 16, result));
  co_await writers.join();
  CANOPY_CO_TRY(std::move(result));
  const double seconds = static_cast<double>(loop.now() - begun) / kSecond;
  CANOPY_CO_ASSIGN(StoreSpace space, co_await store.space());
  if (space.files_total != 0 && space.files_free < 1'000'000)
    co_return bad(in, fmt::format("it has room for {} more files only", space.files_free));
  co_return fmt::format("{} durable files in {:.2f} s{}", kSmallFiles, seconds,
                        space.files_total == 0 ? "" : fmt::format(", room for {} more", space.files_free));
}

Task<void> link_some(Store& store, std::string in, std::string to, int from, int step, Result<void>& result) {
  for (int i = from; i < kManyEntries && result; i += step) {
    auto made = co_await store.make_symlink(to, fmt::format("{}/entry-{}", in, i), Durable::kNo);
    if (!made) result = std::move(made);
  }
}

Task<Found> large_directory(Store& store, Loop& loop, std::string in) {
  Result<void> result;
  TaskGroup makers(loop);
  for (int i = 0; i < kLinksAtOnce; ++i) makers.spawn(link_some(store, in, "x", i, kLinksAtOnce, result));
  co_await makers.join();
  CANOPY_CO_TRY(std::move(result));
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store, in, 2 * kManyEntries));
  std::set<std::string> unique;
  for (const DirectoryEntry& entry : entries) unique.insert(entry.name);
  if (unique.size() != kManyEntries || entries.size() != kManyEntries)
    co_return bad(in, fmt::format("of {} entries {} were listed, {} of them once", kManyEntries,
                                  entries.size(), unique.size()));
  co_return fmt::format("{} entries, each listed once", kManyEntries);
}

Task<Found> long_paths(Store& store, Loop&, std::string in) {
  std::string path = in;
  while (path.size() < kLongPathBytes) path += "/" + std::string(200, 'p');
  CANOPY_CO_TRY(co_await make_directories(store, path, 0700, Durable::kNo));
  path += "/" + std::string(255, 'n');
  CANOPY_CO_TRY(co_await put(store, path, "deep"));
  CANOPY_CO_TRY(co_await expect(store, path, "deep"));
  co_return fmt::format("a path of {} bytes, a name of 255", path.size());
}

Task<Found> multibyte_names(Store& store, Loop&, std::string in) {
  // Composed and decomposed forms of one name are two names.
  const std::vector<std::string> names = {"J\u00f6rg", "Jo\u0308rg", "\u043f\u043e\u0447\u0442\u0430",
                                          "\u90f5\u4fbf", "\U0001F4EC"};
  for (const std::string& name : names) CANOPY_CO_TRY(co_await put(store, in + "/" + name, name));
  for (const std::string& name : names) CANOPY_CO_TRY(co_await expect(store, in + "/" + name, name));
  CANOPY_CO_ASSIGN(auto entries, co_await list_all(store, in, 100));
  std::set<std::string> listed;
  for (const DirectoryEntry& entry : entries) listed.insert(entry.name);
  if (listed != std::set<std::string>(names.begin(), names.end()))
    co_return bad(in, "names come back in other bytes than they were made with");
  CANOPY_CO_TRY(co_await put(store, in + "/case", "lower"));
  CANOPY_CO_TRY(co_await put(store, in + "/CASE", "upper"));
  co_return "names keep their bytes, and upper case is not lower case";
}

Task<Found> durable_writes(Store& store, Loop&, std::string in) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(auto file, co_await store.open(in + "/log", options));
  const std::string_view pieces[] = {"first ", "second"};
  CANOPY_CO_ASSIGN(WriteOutcome one, co_await file->write(0, pieces, Durable::kYes));
  if (one.written != 12 || one.after.size != 12) co_return bad(in, "a write was not answered with its size");
  CANOPY_CO_TRY(co_await store.set_attributes(in + "/log", {.mode = 0400}, Durable::kYes));
  CANOPY_CO_ASSIGN(WriteOutcome two, co_await file->write(12, pieces, Durable::kYes));
  if ((two.after.mode & 0200) != 0)
    co_return bad(in,
                  "a write is not answered with the mode that another has set: sealing would not be seen");
  CANOPY_CO_TRY(co_await file->sync());
  CANOPY_CO_TRY(co_await store.sync_directory(in));
  co_return "writes are durable when answered, and show who sealed the file";
}

Task<Found> renames(Store& store, Loop&, std::string in) {
  CANOPY_CO_TRY(co_await put(store, in + "/a", "a"));
  CANOPY_CO_TRY(co_await put(store, in + "/b", "b"));
  CANOPY_CO_TRY(co_await store.rename(in + "/a", in + "/b", RenameMode::kReplace, Durable::kYes));
  CANOPY_CO_TRY(co_await expect(store, in + "/b", "a"));
  CANOPY_CO_TRY(co_await put(store, in + "/c", "c"));
  auto refused = co_await store.rename(in + "/c", in + "/b", RenameMode::kNoReplace, Durable::kYes);
  if (refused || refused.error().code() != Code::kAlreadyExists)
    co_return bad(in, "a rename that must not replace did, or was refused otherwise");
  CANOPY_CO_TRY(co_await store.link(in + "/c", in + "/d", Durable::kYes));
  CANOPY_CO_TRY(co_await expect(store, in + "/d", "c"));
  co_return "renames replace at once, or not at all; links work";
}

Task<Found> exclusive_create(Store& store, Loop& loop, std::string in) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  std::vector<Task<Result<std::unique_ptr<File>>>> claims;
  claims.reserve(kWriters);
  for (int i = 0; i < kWriters; ++i) claims.push_back(store.open(in + "/claim", options));
  auto answers = co_await join_all(loop, std::move(claims));
  int won = 0;
  for (auto& answer : answers) {
    if (answer) ++won;
    if (!answer && answer.error().code() != Code::kAlreadyExists) co_return fail(std::move(answer).error());
  }
  if (won != 1) co_return bad(in, fmt::format("{} of {} made the same name", won, kWriters));
  co_return fmt::format("one of {} at the same time gets a name", kWriters);
}

Task<Found> clock_agrees(Store& store, Loop& loop, std::string in) {
  CANOPY_CO_TRY(co_await put(store, in + "/now", "x"));
  CANOPY_CO_ASSIGN(Attributes of, co_await store.attributes(in + "/now"));
  const int64_t apart = of.modified.seconds - loop.wall_clock_ns() / kSecond;
  if (std::abs(apart) > kClockSecondsMax) co_return bad(in, fmt::format("its clock is {} s off ours", apart));
  co_return "its clock agrees with this machine's";
}

Task<Found> stable_ids(Store& store, Loop&, std::string in) {
  std::set<uint64_t> ids;
  for (int i = 0; i < 16; ++i) {
    const std::string path = fmt::format("{}/{}", in, i);
    CANOPY_CO_TRY(co_await put(store, path, "x"));
    CANOPY_CO_ASSIGN(Attributes before, co_await store.attributes(path));
    CANOPY_CO_TRY(co_await store.rename(path, path + ".moved", RenameMode::kReplace, Durable::kNo));
    CANOPY_CO_ASSIGN(Attributes after, co_await store.attributes(path + ".moved"));
    if (before.file_id != after.file_id) co_return bad(in, "a file has another number after a rename");
    ids.insert(after.file_id);
  }
  if (ids.size() != 16) co_return bad(in, "two files have one number");
  if (*ids.rbegin() >= 1ull << 40)
    co_return bad(in, fmt::format("file number {} is over 2^40: the mount may show two files with one number",
                                  *ids.rbegin()));
  co_return "files keep numbers of their own, below 2^40";
}

struct Requirement {
  std::string_view what;
  Task<Found> (*trial)(Store& store, Loop& loop, std::string in);
  std::string_view advice;
};

constexpr Requirement kRequirements[] = {
    {"many writers in one directory", many_writers,
     "the server must let many clients write into one directory"},
    {"millions of small files", small_files, "make the file system with more inodes, or use another one"},
    {"more than 10,000 entries in a directory", large_directory,
     "use a file system with indexed directories (ext4 dir_index, XFS)"},
    {"paths far over 255 bytes", long_paths,
     "the file system must take names of 255 and paths of 4,000 bytes"},
    {"multi-byte names", multibyte_names,
     "mount or export it without case folding and without Unicode normalisation"},
    {"durable writes", durable_writes,
     "export it `sync`; a cache in front of it must not answer for the disk"},
    {"rename and link", renames, "the file system must rename and link as POSIX says"},
    {"exclusive create", exclusive_create, "NFS version 3 or later, and no client between that caches names"},
    {"clock", clock_agrees, "run a time service (chrony, ntpd) on the server and here"},
    {"file numbers", stable_ids, "use a file system with inode numbers, exported with 64-bit file ids"},
};

// Whatever it was: nothing of the trial stays.
Task<void> remove_all(Store& store, std::string path) {
  for (;;) {
    auto page = co_await store.list(path, 0);
    if (!page) co_return;
    bool any = false;
    for (const DirectoryEntry& entry : page->entries) {
      const std::string inside = path + "/" + entry.name;
      if (entry.type == FileType::kDirectory) {
        co_await remove_all(store, inside);
        any = true;
      } else {
        any |= (co_await store.remove(inside, Durable::kNo)).has_value();
      }
    }
    if (page->end || !any) break;
  }
  (void)co_await store.remove_directory(path, Durable::kNo);
}

}  // namespace

Task<Result<std::string>> make_trial_directory(Store& store, Loop& loop, std::string name) {
  std::string path = fmt::format(".canopy/{}.{}", name, hex64(loop.random()));
  CANOPY_CO_TRY(co_await make_directories(store, path, 0700, Durable::kNo));
  co_return path;
}

Task<std::vector<StoreFinding>> check_store(Store& store, Loop& loop) {
  std::vector<StoreFinding> findings;
  for (const Requirement& requirement : kRequirements) {
    StoreFinding finding;
    finding.requirement = requirement.what;
    auto directory = co_await make_trial_directory(store, loop, "check");
    Found found = directory ? Found() : Found(fail(directory.error()));
    if (directory) {
      found = co_await requirement.trial(store, loop, *directory);
      co_await remove_all(store, *directory);
    }
    finding.good = found.has_value();
    finding.found = found ? std::move(*found) : found.error().to_string();
    if (!found) finding.advice = requirement.advice;
    findings.push_back(std::move(finding));
  }
  co_return findings;
}

}  // namespace canopy
