// The files of a store's journal of replaced infos (docs/formats/journal.md): two headers by turns, then
// batches of records. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace canopy::journal {

inline constexpr std::string_view kDirectory = ".canopy/journal";
inline constexpr uint32_t kFiles = 2;
inline constexpr uint64_t kBlockBytes = 4096;  // of a header; a batch begins at a multiple
inline constexpr uint64_t kBatchesAt = kFiles * kBlockBytes;
inline constexpr uint64_t kFileBytes = 32u << 20;
inline constexpr uint64_t kFileBytesMax = 256u << 20;  // that is read
inline constexpr size_t kInPlaceBytesMax = 4096;       // one page: overwritten whole or not at all
inline constexpr size_t kContentBytesMax = 8192;       // larger files are replaced without it
inline constexpr size_t kRecordHeadBytes = 40;

// Whether a path may be in a journal: an info, and not among Canopy's own files.
bool takes(std::string_view path);
std::string file_path(uint32_t file);  // ".canopy/journal/0"

struct Header {
  uint64_t written = 0;  // how often a header of this file was written; its parity says where
  uint64_t secret = 0;   // of the records that count; a new one makes the file empty
  bool rewrite = false;  // a sync has failed: what seems to be in place already is written anew all the same
};
std::string print_header(const Header& header);  // kBlockBytes
uint64_t header_offset(const Header& header);
// Of the file's first kBatchesAt bytes, the newest that is whole; none: no journal, or both are damaged.
std::optional<Header> newest_header(std::string_view bytes);

enum class Kind : uint8_t { kReplaced = 1, kSettled = 2 };

struct Record {
  uint64_t sequence = 0;  // rises by one from record to record, over both files
  uint64_t batch = 0;     // the sequence of the first record in its batch: all before it were durable
  Kind kind = Kind::kReplaced;
  std::string_view path;
  std::string_view content;  // of kSettled: empty
};
size_t record_bytes(std::string_view path, std::string_view content);
void append_record(std::string& batch, uint64_t secret, const Record& record);
void end_batch(std::string& batch);  // zeros up to the next multiple of kBlockBytes

struct Scan {
  std::vector<Record> records;  // those that are whole, in the file's order; they refer to its bytes
  bool begins_whole = true;     // the first of them is at kBatchesAt, or there is none
};
// Of a whole file.
Scan scan(std::string_view bytes, uint64_t secret);

// How many records are missing that were durable once, below what is known to be so; at least. Those that are
// torn off the end are not.
uint64_t missing_records(const std::array<Scan, kFiles>& files);

}  // namespace canopy::journal
