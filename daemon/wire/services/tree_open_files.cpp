#include "daemon/wire/services/tree_open_files.h"

#include <charconv>

namespace canopy::wire {

std::string unlinked_path(const FileIdentity& file) {
  return fmt::format("{}/{}.{}.{}", kTreeUnlinkedPath, file.file_id, file.born.seconds,
                     file.born.nanoseconds);
}

std::optional<FileIdentity> parse_unlinked(std::string_view element) {
  FileIdentity file;
  const char* at = element.data();
  const char* end = at + element.size();
  auto take = [&](auto& number, bool last) {
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc() || (last ? stop != end : stop == end || *stop != '.')) return false;
    at = stop + 1;
    return true;
  };
  if (!take(file.file_id, false) || !take(file.born.seconds, false) || !take(file.born.nanoseconds, true))
    return std::nullopt;
  return file;
}

void TreeOpenFiles::opened(const FileIdentity& file) {
  std::lock_guard lock(gate_);
  ++rows_[file].open;
}

void TreeOpenFiles::gone(const FileIdentity& file, bool closed, Nanos now) {
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  if (--found->second.open != 0) return;
  if (found->second.kept)
    found->second.until = closed ? now : now + kTreeUnlinkedKept;
  else
    erase(found);
}

TreeOpenFiles::Rows::iterator TreeOpenFiles::erase(Rows::iterator row) {
  if (!row->second.account_path.empty()) --of_accounts_;
  return rows_.erase(row);
}

void TreeOpenFiles::belongs_to(const FileIdentity& file, const std::string& path) {
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  if (found == rows_.end() || found->second.open == 0) return;
  if (found->second.account_path.empty()) ++of_accounts_;
  found->second.account_path = path;
}

std::optional<std::string> TreeOpenFiles::account_path(const FileIdentity& file) const {
  if (of_accounts_ == 0) return std::nullopt;  // nearly always
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  if (found == rows_.end() || found->second.account_path.empty()) return std::nullopt;
  return found->second.account_path;
}

bool TreeOpenFiles::is_open(const FileIdentity& file) const {
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  return found != rows_.end() && found->second.open != 0;
}

bool TreeOpenFiles::any_open() const {
  std::lock_guard lock(gate_);
  return !rows_.empty();
}

void TreeOpenFiles::keep(const FileIdentity& file, Nanos now) {
  std::lock_guard lock(gate_);
  Row& row = rows_[file];
  if (!row.kept) ++kept_;
  row.kept = true;
  row.until = now + kTreeUnlinkedKept;
}

void TreeOpenFiles::drop(const FileIdentity& file) {
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  if (found == rows_.end() || !found->second.kept) return;
  found->second.kept = false;
  --kept_;
  if (found->second.open == 0) erase(found);
}

bool TreeOpenFiles::is_kept(const FileIdentity& file) const {
  if (kept_ == 0) return false;  // nearly always
  std::lock_guard lock(gate_);
  auto found = rows_.find(file);
  return found != rows_.end() && found->second.kept;
}

std::vector<FileIdentity> TreeOpenFiles::take_due(Nanos now) {
  std::vector<FileIdentity> due;
  if (kept_ == 0) return due;
  std::lock_guard lock(gate_);
  for (auto row = rows_.begin(); row != rows_.end();) {
    if (!row->second.kept || row->second.open != 0 || row->second.until > now) {
      ++row;
      continue;
    }
    due.push_back(row->first);
    --kept_;
    row = erase(row);
  }
  return due;
}

}  // namespace canopy::wire
