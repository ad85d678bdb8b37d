#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tools/mailfiles/file_reading.h"
#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {

struct IndexRow {
  int64_t date = 0;
  int32_t zone_minutes = 0;
  uint32_t system_flags = 0;
  std::vector<std::string> keywords;
};

static Result<std::map<std::string, IndexRow>> read_index(const std::string& path) {
  std::map<std::string, IndexRow> rows;
  std::ifstream file(path);
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    std::string name;
    IndexRow row;
    if (!std::getline(fields, name, '\t') || !(fields >> row.date >> row.zone_minutes >> row.system_flags))
      return fail(Code::kInvalidArgument, path + ":" + std::to_string(number),
                  "not a line of a message index");
    std::string keyword;
    while (fields >> keyword) row.keywords.push_back(keyword);
    rows[name] = std::move(row);
  }
  return rows;
}

bool is_eml_name(const std::string& name) { return name.ends_with(".eml"); }

bool holds_eml(const std::vector<std::string>& names) {
  return std::ranges::any_of(names, [](const std::string& n) { return is_eml_name(n) || n == kIndexFile; });
}

// 9.eml before 10.eml: by the number that a name begins with, then as text.
static bool numbered_before(const std::string& a, const std::string& b) {
  const uint64_t a_number = std::strtoull(a.c_str(), nullptr, 10);
  const uint64_t b_number = std::strtoull(b.c_str(), nullptr, 10);
  return a_number != b_number ? a_number < b_number : a < b;
}

class EmlSource final : public MailSource {
 public:
  EmlSource(std::string directory, std::vector<std::string> names, std::map<std::string, IndexRow> index)
      : directory_(std::move(directory)), names_(std::move(names)), index_(std::move(index)) {}

  Result<std::optional<MailItem>> next() override {
    if (at_ == names_.size()) return std::nullopt;
    const std::string& name = names_[at_++];
    const std::string path = directory_ + "/" + name;
    CANOPY_ASSIGN(std::string content, read_whole_file(path));
    MailItem item;
    item.content = to_wire_lines(std::move(content));
    item.position = name;
    if (const auto row = index_.find(name); row != index_.end()) {
      item.internal_date = row->second.date;
      item.zone_minutes = row->second.zone_minutes;
      item.system_flags = row->second.system_flags;
      item.keywords = row->second.keywords;
    } else {
      CANOPY_ASSIGN(const FileStamp stamp, stat_file(path));
      item.internal_date = stamp.mtime;
    }
    return item;
  }
  Result<bool> skip() override {
    if (at_ == names_.size()) return false;
    ++at_;
    return true;
  }

 private:
  std::string directory_;
  std::vector<std::string> names_;
  std::map<std::string, IndexRow> index_;
  size_t at_ = 0;
};

Result<std::unique_ptr<MailSource>> open_eml(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    CANOPY_TRY(stat_file(path));
    const std::filesystem::path file(path);
    const std::string directory = file.has_parent_path() ? file.parent_path().string() : ".";
    return std::make_unique<EmlSource>(directory, std::vector<std::string>{file.filename().string()},
                                       std::map<std::string, IndexRow>());
  }
  CANOPY_ASSIGN(std::vector<std::string> names, sorted_entries(path));
  std::erase_if(names, [](const std::string& name) { return !is_eml_name(name); });
  std::sort(names.begin(), names.end(), numbered_before);
  CANOPY_ASSIGN(auto index, read_index(path + "/" + kIndexFile));
  return std::make_unique<EmlSource>(path, std::move(names), std::move(index));
}

class EmlSink final : public MailSink {
 public:
  explicit EmlSink(std::string path) : path_(std::move(path)) {}

  Result<void> put(const MailItem& item) override {
    const std::string name = std::to_string(++count_) + ".eml";
    CANOPY_TRY(write_new_file(path_ + "/" + name, item.content, item.internal_date));
    index_ += name + "\t" + std::to_string(item.internal_date) + "\t" + std::to_string(item.zone_minutes) +
              "\t" + std::to_string(item.system_flags) + "\t";
    for (size_t i = 0; i < item.keywords.size(); ++i) index_ += (i == 0 ? "" : " ") + item.keywords[i];
    index_ += "\n";
    return {};
  }

  Result<void> finish() override {
    CANOPY_TRY(write_new_file(
        path_ + "/" + kIndexFile,
        "# file\tdate\tzone-minutes\tflags (1 seen, 2 answered, 4 flagged, 8 deleted, 16 draft)"
        "\tkeywords\n" +
            index_,
        0));
    return sync_file_system(path_);
  }

 private:
  std::string path_;
  std::string index_;
  uint64_t count_ = 0;
};

Result<std::unique_ptr<MailSink>> create_eml(const std::string& path) {
  CANOPY_TRY(make_empty_directory(path));
  return std::make_unique<EmlSink>(path);
}

}  // namespace canopy::mailfiles
