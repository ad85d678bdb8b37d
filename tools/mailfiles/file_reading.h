// Small file operations that answer Result, shared by the formats.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy::mailfiles {

struct FileStamp {
  uint64_t bytes = 0;
  int64_t mtime = 0;  // seconds
};

Result<FileStamp> stat_file(const std::string& path);
// kTooLarge over kMailBytesMax.
Result<std::string> read_whole_file(const std::string& path);
// Creates exclusively, writes, sets mtime when not 0. Durable after sync_file_system() only.
Result<void> write_new_file(const std::string& path, std::string_view bytes, int64_t mtime);
// Names of entries, sorted; without "." and "..".
Result<std::vector<std::string>> sorted_entries(const std::string& directory);
// kAlreadyExists when there is something in it.
Result<void> make_empty_directory(const std::string& path);
// Everything written to the file system that `directory` lies on: for thousands of small files one such call
// takes a fraction of the time that as many fsyncs do.
Result<void> sync_file_system(const std::string& directory);

}  // namespace canopy::mailfiles
