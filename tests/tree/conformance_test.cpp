// Every row of tests/conformance/paths.tsv: the names, the settings and where the files must lie.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/tree/layout.h"

namespace canopy {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

const std::filesystem::path kPathsTable =
    std::filesystem::path(CANOPY_SOURCE_DIR) / "tests/conformance/paths.tsv";

struct Row {
  size_t line;
  std::vector<std::string> columns;
};

std::vector<Row> read_rows() {
  std::vector<Row> rows;
  std::stringstream text(read_file(kPathsTable));
  std::string line;
  for (size_t number = 1; std::getline(text, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    Row row{number, {}};
    std::stringstream columns(line);
    for (std::string column; std::getline(columns, column, '\t');) row.columns.push_back(column);
    rows.push_back(row);
  }
  return rows;
}

struct Places {
  std::string directory, settings, info;
};

Result<Places> places_of(const Row& row) {
  CANOPY_ASSIGN(std::string domain, prepare_domain(row.columns[0]));
  CANOPY_ASSIGN(std::string account, prepare_account(row.columns[1]));
  CANOPY_ASSIGN(TreeLayout layout, TreeLayout::parse(row.columns[2], row.columns[3], row.columns[4]));
  AccountAddress address{account, domain};
  return Places{layout.account_directory(address), layout.settings_file(address), layout.info_file(address)};
}

TEST(Conformance, EveryRowOfTheTableLiesWhereItSays) {
  std::vector<Row> rows = read_rows();
  ASSERT_GE(rows.size(), 35u);
  for (const Row& row : rows) {
    ASSERT_EQ(row.columns.size(), 7u) << "line " << row.line;
    Result<Places> places = places_of(row);
    if (row.columns[5] == "-") {
      EXPECT_FALSE(places.has_value()) << "line " << row.line;
      if (!places) EXPECT_FALSE(places.error().message().empty());
      continue;
    }
    ASSERT_TRUE(places.has_value()) << "line " << row.line << ": " << places.error().to_string();
    EXPECT_EQ(places->directory, row.columns[5]) << "line " << row.line;
    EXPECT_EQ(places->settings, row.columns[6]) << "line " << row.line;
    std::string info = row.columns[6].substr(0, row.columns[6].size() - kSettingsSuffix.size()) + ".info";
    EXPECT_EQ(places->info, info) << "line " << row.line;
  }
}

}  // namespace
}  // namespace canopy
