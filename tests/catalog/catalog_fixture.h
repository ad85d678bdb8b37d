// What the tests of the catalog share: a directory for it, and a domain on a store in memory, on virtual
// time. The catalog's work runs on the loop itself (no worker threads), so that a run repeats.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "daemon/catalog/account_names.h"
#include "daemon/runtime/sim_loop.h"
#include "daemon/store/memory/memory_store.h"

namespace canopy {

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "canopy_catalog_XXXXXX";
    directory = mkdtemp(pattern.data());
  }
  ~CatalogTest() override { std::filesystem::remove_all(directory); }

  CatalogOptions options(std::string tree = "tree-1") {
    CatalogOptions out;
    out.directory = directory + "/catalog";
    out.tree_id = std::move(tree);
    out.memory_bytes = 8u << 20;
    out.threads = 0;
    return out;
  }

  template <class T>
  T run(Task<T> task) {
    auto done = world.run_until_done(loop, std::move(task));
    CANOPY_CHECK(done.has_value());
    return std::move(*done);
  }
  void run(Task<void> task) { CANOPY_CHECK(world.run_until_done(loop, std::move(task))); }

  SimWorld world{1};
  SimLoop& loop = world.add_loop("node");
  std::string directory;
};

}  // namespace canopy
