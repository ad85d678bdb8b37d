#include "daemon/catalog/catalog_rows.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_buffer_manager.h>

#include <array>
#include <filesystem>

#include "daemon/base/bytes.h"
#include "daemon/base/check.h"
#include "daemon/base/log.h"

namespace canopy {
namespace {

constexpr std::string_view kIdentityKey = "catalog";
constexpr std::string_view kIdentityVersion = "1 ";  // of the layout of all rows
constexpr uint64_t kLogBytesMax = 32u << 20;         // RocksDB's write-ahead log

Error error_of(const rocksdb::Status& status, const std::string& directory) {
  Code code = status.IsCorruption() ? Code::kDamaged : Code::kIo;
  return Error(code, directory, status.ToString());
}

rocksdb::Slice slice_of(std::string_view bytes) { return rocksdb::Slice(bytes.data(), bytes.size()); }
std::string_view view_of(const rocksdb::Slice& slice) { return std::string_view(slice.data(), slice.size()); }

}  // namespace

struct CatalogRows::Inner {
  std::string directory;
  std::shared_ptr<rocksdb::Cache> cache;
  std::unique_ptr<rocksdb::DB> db;
  std::array<rocksdb::ColumnFamilyHandle*, kCatalogTables> tables{};

  ~Inner() {
    if (!db) return;
    for (rocksdb::ColumnFamilyHandle* table : tables) {
      if (table != nullptr) db->DestroyColumnFamilyHandle(table);
    }
    rocksdb::CancelAllBackgroundWork(db.get(), true);
    db->Close();
  }
  rocksdb::ColumnFamilyHandle* of(CatalogTable table) const { return tables[static_cast<size_t>(table)]; }
  rocksdb::Status open(const CatalogOptions& options);
};

// A quarter of the memory is for the write buffers of both tables, the rest for blocks, indexes and filters;
// both are charged to one cache, so that their sum is bounded.
rocksdb::Status CatalogRows::Inner::open(const CatalogOptions& options) {
  directory = options.directory;
  cache = rocksdb::NewLRUCache(options.memory_bytes, 4);
  rocksdb::DBOptions database;
  database.create_if_missing = true;
  database.create_missing_column_families = true;
  database.max_open_files = -1;  // as FIFO needs it; what a table keeps in memory is charged to the cache
  database.max_background_jobs = 2;
  database.max_total_wal_size = kLogBytesMax;
  database.keep_log_file_num = 2;
  database.max_log_file_size = 1u << 20;
  database.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  database.stats_dump_period_sec = 0;
  database.write_buffer_manager =
      std::make_shared<rocksdb::WriteBufferManager>(options.memory_bytes / 4, cache);

  rocksdb::BlockBasedTableOptions blocks;
  blocks.block_cache = cache;
  blocks.cache_index_and_filter_blocks = true;
  blocks.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  rocksdb::ColumnFamilyOptions accounts;
  accounts.table_factory.reset(rocksdb::NewBlockBasedTableFactory(blocks));
  accounts.write_buffer_size = options.memory_bytes / 8;
  accounts.compression = rocksdb::kLZ4Compression;
  rocksdb::ColumnFamilyOptions summaries = accounts;
  summaries.compaction_style = rocksdb::kCompactionStyleFIFO;
  summaries.compaction_options_fifo.max_table_files_size = options.summary_bytes_max;
  summaries.compaction_options_fifo.allow_compaction = true;  // or small files would pile up

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(
      database, directory, {{rocksdb::kDefaultColumnFamilyName, accounts}, {"summaries", summaries}},
      &handles, &opened);
  db.reset(opened);
  std::copy(handles.begin(), handles.end(), tables.begin());
  return status;
}

CatalogRows::CatalogRows(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
CatalogRows::~CatalogRows() = default;

namespace {

// RocksDB ends the process where the disk is full while a database is opened: it writes a manifest, and out
// what its log held.
Result<void> check_catalog_space(const CatalogOptions& options) {
  constexpr uint64_t kFilesBytes = 2u << 20;
  const uint64_t needed = options.memory_bytes / 4 + kFilesBytes;
  std::error_code error;
  const auto space = std::filesystem::space(options.directory, error);
  if (error || space.available >= needed) return {};
  return fail(Code::kStoreFull, options.directory,
              fmt::format("{} bytes are free there, a catalog of this size needs {} to be opened",
                          space.available, needed));
}

}  // namespace

Result<std::unique_ptr<CatalogRows>> CatalogRows::open(const CatalogOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  if (error) return fail(Code::kIo, options.directory, "making the catalog's directory: " + error.message());
  std::filesystem::permissions(options.directory, std::filesystem::perms::owner_all, error);
  CANOPY_TRY(check_catalog_space(options));
  std::string identity = std::string(kIdentityVersion) + options.tree_id;
  for (int attempt = 0;; ++attempt) {
    auto inner = std::make_unique<Inner>();
    rocksdb::Status status = inner->open(options);
    if (status.ok()) {
      auto rows = std::unique_ptr<CatalogRows>(new CatalogRows(std::move(inner)));
      auto held = rows->get(CatalogTable::kAccounts, kIdentityKey);
      if (held && *held && **held == identity) return rows;
      auto any = rows->seek(CatalogTable::kAccounts, "", "");
      if (held && !*held && !any->valid()) {
        any.reset();
        CatalogChanges changes;
        changes.put(CatalogTable::kAccounts, std::string(kIdentityKey), identity);
        CANOPY_TRY(rows->write(changes));
        return rows;
      }
    } else if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
      return fail(Code::kBusy, options.directory, "another process uses this catalog: " + status.ToString());
    }
    if (attempt > 0) return fail(error_of(status, options.directory));
    log_event(LogLevel::kWarning, "catalog-made-anew", options.directory,
              {{"reason", status.ok() ? "it is another tree's or another version's" : status.ToString()}});
    inner.reset();
    for (const auto& entry : std::filesystem::directory_iterator(options.directory, error)) {
      std::filesystem::remove_all(entry.path(), error);
    }
  }
}

Result<std::optional<std::string>> CatalogRows::get(CatalogTable table, std::string_view key) const {
  std::string value;
  rocksdb::Status status = inner_->db->Get(rocksdb::ReadOptions(), inner_->of(table), slice_of(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return fail(error_of(status, inner_->directory));
  return std::optional<std::string>(std::move(value));
}

Result<std::vector<std::optional<std::string>>> CatalogRows::get_many(
    CatalogTable table, const std::vector<std::string>& keys) const {
  std::vector<rocksdb::Slice> wanted(keys.begin(), keys.end());
  std::vector<rocksdb::PinnableSlice> values(keys.size());
  std::vector<rocksdb::Status> states(keys.size());
  inner_->db->MultiGet(rocksdb::ReadOptions(), inner_->of(table), keys.size(), wanted.data(), values.data(),
                       states.data());
  std::vector<std::optional<std::string>> found(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (states[i].IsNotFound()) continue;
    if (!states[i].ok()) return fail(error_of(states[i], inner_->directory));
    found[i] = values[i].ToString();
  }
  return found;
}

Result<void> CatalogRows::write(const CatalogChanges& changes) {
  rocksdb::WriteBatch batch;
  for (const CatalogChanges::Row& row : changes.rows_) {
    rocksdb::ColumnFamilyHandle* table = inner_->of(row.table);
    rocksdb::Status status;
    switch (row.kind) {
      case CatalogChanges::Kind::kPut: status = batch.Put(table, row.key, row.value); break;
      case CatalogChanges::Kind::kErase: status = batch.Delete(table, row.key); break;
      case CatalogChanges::Kind::kEraseRange: status = batch.DeleteRange(table, row.key, row.value); break;
    }
    if (!status.ok()) return fail(error_of(status, inner_->directory));
  }
  rocksdb::Status status = inner_->db->Write(rocksdb::WriteOptions(), &batch);
  if (!status.ok()) return fail(error_of(status, inner_->directory));
  return {};
}

struct CatalogRows::Cursor::Inner {
  std::string until, directory;
  rocksdb::Slice bound;
  std::unique_ptr<rocksdb::Iterator> at;
};

CatalogRows::Cursor::Cursor(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
CatalogRows::Cursor::~Cursor() = default;
bool CatalogRows::Cursor::valid() const { return inner_->at->Valid(); }
std::string_view CatalogRows::Cursor::key() const { return view_of(inner_->at->key()); }
std::string_view CatalogRows::Cursor::value() const { return view_of(inner_->at->value()); }
void CatalogRows::Cursor::next() { inner_->at->Next(); }
Result<void> CatalogRows::Cursor::state() const {
  if (rocksdb::Status status = inner_->at->status(); !status.ok())
    return fail(error_of(status, inner_->directory));
  return {};
}

std::unique_ptr<CatalogRows::Cursor> CatalogRows::seek(CatalogTable table, std::string_view from,
                                                       std::string_view until) const {
  auto inner = std::make_unique<Cursor::Inner>();
  inner->directory = inner_->directory;
  inner->until = until;
  inner->bound = inner->until;
  rocksdb::ReadOptions options;
  if (!until.empty()) options.iterate_upper_bound = &inner->bound;
  inner->at.reset(inner_->db->NewIterator(options, inner_->of(table)));
  inner->at->Seek(slice_of(from));
  return std::unique_ptr<Cursor>(new Cursor(std::move(inner)));
}

uint64_t CatalogRows::memory_bytes() const {
  uint64_t readers = 0;
  inner_->db->GetAggregatedIntProperty(rocksdb::DB::Properties::kEstimateTableReadersMem, &readers);
  return inner_->cache->GetUsage() + readers;  // write buffers are charged to the cache
}

std::string catalog_prefix_end(std::string prefix) {
  CANOPY_CHECK(!prefix.empty() && prefix.back() != '\xff');
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

}  // namespace canopy
