// A prepared name is a fixed point; a pattern and a path never break the mount table.
#include "daemon/base/check.h"
#include "daemon/tree/layout.h"
#include "daemon/tree/mount_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canopy;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto account = prepare_account(text)) {
    auto again = prepare_account(*account);
    CANOPY_CHECK(again && *again == *account);
  }
  if (auto domain = prepare_domain(text)) {
    auto again = prepare_domain(*domain);
    CANOPY_CHECK(again && *again == *domain);
  }
  describe_path(text);
  if (auto table = MountTable::parse(text)) {
    auto again = MountTable::parse(table->to_string());
    CANOPY_CHECK(again && *again == *table);
    table->row_for(text);
    unnamed_folders(*table);
  }
  return 0;
}
