// Which part may include which: the order of the parts in DESIGN.md, and what clients may know of the daemon.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace canopy {
namespace {

namespace fs = std::filesystem;

// A part may include the parts before it, and itself.
constexpr std::string_view kOrder[] = {"base",    "runtime", "tree",    "dict",     "store", "log",
                                       "account", "catalog", "cluster", "relocate", "wire"};
constexpr std::string_view kForClients[] = {"base", "runtime", "tree", "dict"};

size_t rank_of(std::string_view part) {
  for (size_t i = 0; i < std::size(kOrder); ++i) {
    if (kOrder[i] == part) return i;
  }
  return std::size(kOrder);
}

std::vector<fs::path> sources(std::string_view top) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(CANOPY_SOURCE_DIR) / top)) {
    std::string kind = entry.path().extension();
    if (kind == ".h" || kind == ".cpp") found.push_back(entry.path());
  }
  return found;
}

// Paths "daemon/…" that the file includes.
std::vector<std::string> included(const fs::path& file) {
  std::vector<std::string> found;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    constexpr std::string_view kBegin = "#include \"daemon/";
    if (line.starts_with(kBegin))
      found.push_back(line.substr(kBegin.size(), line.rfind('"') - kBegin.size()));
  }
  return found;
}

TEST(Layering, APartOfTheDaemonIncludesOnlyPartsBeforeIt) {
  size_t files = 0;
  for (const fs::path& file : sources("daemon")) {
    std::string own = fs::relative(file, fs::path(CANOPY_SOURCE_DIR) / "daemon").string();
    if (own.find('/') == std::string::npos) continue;  // main.cpp builds all parts
    ++files;
    std::string part = own.substr(0, own.find('/'));
    for (const std::string& header : included(file)) {
      EXPECT_LE(rank_of(header.substr(0, header.find('/'))), rank_of(part)) << own << " includes " << header;
    }
    bool client = own.starts_with("wire/client/");
    for (const std::string& header : included(file)) {
      bool allowed = !client || header.starts_with("wire/") || header.starts_with("base/") ||
                     header.starts_with("runtime/");
      EXPECT_TRUE(allowed) << own << " includes " << header;
    }
  }
  EXPECT_GT(files, 50u);
}

TEST(Layering, ClientsKnowOnlyTheWireClientAndThePureParts) {
  for (std::string_view top : {"proto-frontends", "tools", "fuse"}) {
    for (const fs::path& file : sources(top)) {
      for (const std::string& header : included(file)) {
        bool allowed = header.starts_with("wire/client/") || header.starts_with("wire/framing") ||
                       header.ends_with(".pb.h");
        for (std::string_view part : kForClients)
          allowed = allowed || header.starts_with(std::string(part) + "/");
        EXPECT_TRUE(allowed) << file << " includes " << header;
      }
    }
  }
}

}  // namespace
}  // namespace canopy
