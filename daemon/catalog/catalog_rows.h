// CatalogRows: the catalog's tables on this node's disk, in RocksDB (docs/formats/catalog.md). All calls
// block: they are for worker threads, of which any number may call at once. Memory is bounded by
// CatalogOptions::memory_bytes, whatever the tables hold. Nothing here is a truth: rows are not synced, and
// what cannot be read is dropped and made anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy {

struct CatalogOptions {
  std::string directory;              // made when it is not there; what lies in it belongs to the catalog
  std::string tree_id;                // of the root store: rows of another tree do not count
  uint64_t memory_bytes = 64u << 20;  // caches and write buffers together
  uint64_t summary_bytes_max = 1024ull << 20;  // on disk; beyond it the oldest summaries go
  uint32_t threads = 2;                        // workers that use it; 0: the calling loop itself
  int64_t renew_seconds = 10;                  // at least, between two attempts to make it anew after a fault
};

enum class CatalogTable : uint8_t {
  kAccounts,   // names of accounts by domain
  kSummaries,  // of messages; bounded, the oldest go
};
inline constexpr size_t kCatalogTables = 2;

// Changes that are made together.
class CatalogChanges {
 public:
  void put(CatalogTable table, std::string key, std::string value) {
    rows_.push_back({Kind::kPut, table, std::move(key), std::move(value)});
  }
  void erase(CatalogTable table, std::string key) {
    rows_.push_back({Kind::kErase, table, std::move(key), {}});
  }
  // All keys with from <= key < until.
  void erase_range(CatalogTable table, std::string from, std::string until) {
    rows_.push_back({Kind::kEraseRange, table, std::move(from), std::move(until)});
  }
  bool empty() const { return rows_.empty(); }

 private:
  friend class CatalogRows;
  enum class Kind : uint8_t { kPut, kErase, kEraseRange };
  struct Row {
    Kind kind;
    CatalogTable table;
    std::string key, value;
  };
  std::vector<Row> rows_;
};

class CatalogRows {
 public:
  // Opens the tables; makes them anew when they are another tree's, of another version, or cannot be read.
  static Result<std::unique_ptr<CatalogRows>> open(const CatalogOptions& options);
  ~CatalogRows();
  CatalogRows(const CatalogRows&) = delete;
  CatalogRows& operator=(const CatalogRows&) = delete;

  Result<std::optional<std::string>> get(CatalogTable table, std::string_view key) const;
  // In the order of the keys.
  Result<std::vector<std::optional<std::string>>> get_many(CatalogTable table,
                                                           const std::vector<std::string>& keys) const;
  Result<void> write(const CatalogChanges& changes);

  // Rows in byte order of their keys. Views hold until the next call.
  class Cursor {
   public:
    ~Cursor();
    bool valid() const;
    std::string_view key() const;
    std::string_view value() const;
    void next();
    Result<void> state() const;  // after valid() turned false: the end, or an error

   private:
    friend class CatalogRows;
    struct Inner;
    explicit Cursor(std::unique_ptr<Inner> inner);
    std::unique_ptr<Inner> inner_;
  };
  std::unique_ptr<Cursor> seek(CatalogTable table, std::string_view from, std::string_view until) const;

  uint64_t memory_bytes() const;  // caches, write buffers and table readers

 private:
  struct Inner;
  explicit CatalogRows(std::unique_ptr<Inner> inner);
  std::unique_ptr<Inner> inner_;
};

// The smallest string above all that begin with `prefix`, whose last byte is not 0xff.
std::string catalog_prefix_end(std::string prefix);

}  // namespace canopy
