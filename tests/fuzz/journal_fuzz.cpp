// An input is the head and the batches of one file of a store's journal: u16 length of the head, head,
// batches.
//
// Any file is read without a fault; what it is said to hold lies in it, in order; and it is replayed into an
// empty store, twice, with the same outcome.
#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/journal/replay.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {
namespace {

std::string file_of(std::string_view input) {
  ByteReader in(input);
  const uint64_t length = in.le<uint16_t>().value_or(0);
  std::string file(*in.take(std::min<uint64_t>(length, in.rest().size())));
  file.resize(journal::kBatchesAt, '\0');
  return file.append(in.rest());
}

void check_scan(std::string_view file, const journal::Scan& found) {
  uint64_t before = 0;
  for (const journal::Record& record : found.records) {
    CANOPY_CHECK(record.sequence > before || before == 0);
    CANOPY_CHECK(record.path.data() >= file.data() + journal::kBatchesAt);
    CANOPY_CHECK(record.content.data() + record.content.size() <= file.data() + file.size());
    CANOPY_CHECK(record.content.size() <= journal::kContentBytesMax && !record.path.empty());
    before = record.sequence;
  }
}

Task<void> replay_twice(Store& store, Loop& loop, const std::string& file) {
  for (const char* path : {".canopy", ".canopy/journal", "a"})
    CANOPY_CHECK(co_await store.make_directory(path, 0700, Durable::kYes));
  {
    OpenOptions options;
    options.write = options.create = true;
    auto made = co_await store.open(journal::file_path(0), options);
    std::string_view piece = file;
    CANOPY_CHECK(co_await (*made)->write(0, std::span(&piece, 1), Durable::kYes));
  }
  auto contents = co_await journal::read_contents(store);
  CANOPY_CHECK(contents);
  auto first = co_await journal::replay(store, loop, **contents, false);
  CANOPY_CHECK(first);
  auto again = co_await journal::replay(store, loop, **contents, false);
  CANOPY_CHECK(again && again->records == first->records);
  CANOPY_CHECK(co_await journal::make_empty(store, loop, **contents, false));
  contents = co_await journal::read_contents(store);
  CANOPY_CHECK(contents && (*contents)->records() == 0);
}

}  // namespace
}  // namespace canopy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy;
  const std::string file = file_of(std::string_view(reinterpret_cast<const char*>(data), size));
  auto header = journal::newest_header(file);
  if (!header) return 0;
  const journal::Scan found = journal::scan(file, header->secret);
  check_scan(file, found);
  (void)journal::missing_records({found, journal::Scan()});
  SimWorld world(1);
  SimLoop& loop = world.add_loop("process");
  MemoryStore store(&loop);
  CANOPY_CHECK(world.run_until_done(loop, replay_twice(store, loop, file)));
  return 0;
}
