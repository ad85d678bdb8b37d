#include "daemon/store/journal/replay.h"

#include <algorithm>
#include <map>

#include "daemon/base/bytes.h"
#include "daemon/runtime/sync.h"
#include "daemon/store/store_path.h"

namespace canopy::journal {

namespace {

struct Bringing {  // what is shared by those that bring files to their place
  Store& store;
  Semaphore at_once;
  const bool force, durable;
  Replayed done = {};
  std::optional<Error> failed = {};
  std::vector<uint32_t> free_names = {};  // of staged files: one for each that is under way
};

Task<Result<void>> write_staged_file(Store& store, std::string path, std::string_view text, Durable durable) {
  OpenOptions options;
  options.write = options.create = options.truncate = true;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await store.open(std::move(path), options));
  auto written = co_await file->write(0, std::span(&text, 1), durable);
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

// What the record was about is not there any more.
bool is_elsewhere(Code code) {
  return code == Code::kNotFound || code == Code::kNotDirectory || code == Code::kIsDirectory ||
         code == Code::kLoop || code == Code::kUnsupported;
}

Task<Result<void>> bring(Bringing& all, const Record& record, uint32_t name) {
  const std::string path(record.path);
  auto is = co_await all.store.read_whole(path, kContentBytesMax);
  if (!is && is.error().code() == Code::kNotFound) {
    auto above = co_await all.store.attributes(std::string(store_parent_of(path)));
    if (!above && !is_elsewhere(above.error().code())) co_return fail(std::move(above).error());
    if (!above) {
      ++all.done.without_directory;
      co_return Result<void>();
    }
  } else if (!is && is_elsewhere(is.error().code())) {
    ++all.done.without_directory;
    co_return Result<void>();
  } else if (!is && is.error().code() != Code::kTooLarge) {
    co_return fail(std::move(is).error());
  }
  const bool same = is && *is == record.content;
  if (same && !all.force) {
    ++all.done.current;
    co_return Result<void>();
  }
  const Durable durable = all.durable ? Durable::kYes : Durable::kNo;
  const std::string staged = fmt::format("{}/replay.{}", kDirectory, name);
  CANOPY_CO_TRY(co_await write_staged_file(all.store, staged, record.content, durable));
  CANOPY_CO_TRY(co_await all.store.rename(staged, path, RenameMode::kReplace, durable));
  ++all.done.replaced;
  co_return Result<void>();
}

Task<void> bring_one(Bringing& all, const Record& record, Semaphore::Permit permit) {
  const uint32_t name = all.free_names.back();
  all.free_names.pop_back();
  auto done = co_await bring(all, record, name);
  all.free_names.push_back(name);
  if (!done && !all.failed) all.failed = std::move(done).error();
  permit.release();
}

Task<Result<Replayed>> bring_all(Store& store, Loop& loop, const std::vector<Record>& last, bool force,
                                 bool durable) {
  Bringing all{store, Semaphore(loop, kReplayedAtOnceMax), force, durable};
  for (uint32_t name = 0; name < kReplayedAtOnceMax; ++name) all.free_names.push_back(name);
  TaskGroup group(loop);
  for (const Record& record : last) {
    auto permit = co_await all.at_once.acquire();
    if (all.failed) break;
    group.spawn(bring_one(all, record, std::move(permit)));
  }
  co_await group.join();
  if (all.failed) co_return fail(std::move(*all.failed));
  co_return all.done;
}

}  // namespace

bool Contents::rewrite() const {
  return std::ranges::any_of(parts, [](const Part& part) { return part.header && part.header->rewrite; });
}

uint64_t Contents::records() const { return parts[0].found.records.size() + parts[1].found.records.size(); }

uint64_t Contents::missing() const {
  uint64_t missing = missing_records({parts[0].found, parts[1].found});
  for (const Part& part : parts) missing += part.there && !part.header ? 1 : 0;
  return missing;
}

std::vector<uint32_t> Contents::by_age() const {
  std::vector<uint32_t> files;
  for (uint32_t file = 0; file < kFiles; ++file)
    if (parts[file].there) files.push_back(file);
  std::ranges::sort(files, {}, [&](uint32_t file) {
    const auto& records = parts[file].found.records;
    return records.empty() ? 0 : records.front().sequence;
  });
  return files;
}

Task<Result<std::unique_ptr<Contents>>> read_contents(Store& store) {
  auto contents = std::make_unique<Contents>();
  for (uint32_t file = 0; file < kFiles; ++file) {
    Part& part = contents->parts[file];
    auto bytes = co_await read_file(store, file_path(file), kFileBytesMax);
    if (!bytes && bytes.error().code() == Code::kNotFound) continue;
    if (!bytes) co_return fail(std::move(bytes).error());
    part.there = true;
    part.bytes = std::move(*bytes);
    part.header = newest_header(part.bytes);
    if (part.header) part.found = scan(part.bytes, part.header->secret);
  }
  co_return contents;
}

Task<Result<Replayed>> replay(Store& store, Loop& loop, const Contents& contents, bool force) {
  std::vector<Record> records;
  for (const Part& part : contents.parts)
    records.insert(records.end(), part.found.records.begin(), part.found.records.end());
  std::ranges::sort(records, {}, &Record::sequence);
  std::map<std::string_view, Record> by_path;
  for (const Record& record : records) {
    if (record.kind == Kind::kSettled)
      by_path.erase(record.path);
    else
      by_path.insert_or_assign(record.path, record);
  }
  std::vector<Record> last;
  for (const auto& [path, record] : by_path) last.push_back(record);
  Replayed done;
  if (!last.empty()) {
    auto brought = co_await bring_all(store, loop, last, force, force);
    if (!brought) co_return fail(std::move(brought).error());
    done = *brought;
    // All at once, where that can be trusted; what an earlier sync may have lost is written again, each on
    // its own.
    if (!force && !co_await store.sync_all()) {
      CANOPY_CO_ASSIGN(done, co_await bring_all(store, loop, last, true, true));
    }
  }
  done.records = records.size();
  co_return done;
}

Task<Result<void>> write_header(File& file, const Header& header) {
  const std::string block = print_header(header);
  std::string_view piece = block;
  auto written = co_await file.write(header_offset(header), std::span(&piece, 1), Durable::kYes);
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

Task<Result<void>> make_empty(File& file, Header& header, Loop& loop) {
  ++header.written;
  header.secret = loop.random();
  header.rewrite = false;
  return write_header(file, header);
}

Task<Result<void>> make_empty(Store& store, Loop& loop, const Contents& contents, bool aside) {
  for (uint32_t index : contents.by_age()) {
    const Part& part = contents.parts[index];
    if (!part.header || aside) {
      const std::string to = fmt::format("{}/damaged.{}", kDirectory, hex64(loop.random()));
      CANOPY_CO_TRY(co_await store.rename(file_path(index), to, RenameMode::kNoReplace, Durable::kYes));
      continue;
    }
    if (part.found.records.empty() && !part.header->rewrite) continue;
    OpenOptions options;
    options.write = true;
    CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await store.open(file_path(index), options));
    Header header = *part.header;
    CANOPY_CO_TRY(co_await make_empty(*file, header, loop));
  }
  co_return Result<void>();
}

}  // namespace canopy::journal
