// The stores of a simulated tree: their names, and what lets a process hand out one that it keeps.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/store/store.h"

namespace canopy::sim {

inline constexpr std::string_view kStoreNames[] = {"root", "one", "two"};  // the first holds Settings
inline constexpr std::string_view kStorePrefix = "cut";  // of some rows: another place on the same store

// Where the store of that number says that it is; nothing is there.
std::string store_address(size_t number);
std::optional<size_t> store_at(std::string_view address);

// Another's store, which outlives it: one that a StoreSet opens and drops as it likes.
class BorrowedStore final : public Store {
 public:
  explicit BorrowedStore(Store& of) : of_(of) {}

  std::string_view name() const override { return of_.name(); }
  bool shared() const override { return of_.shared(); }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<Result<Attributes>> attributes(std::string path) override;
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override;
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override;
  Task<Result<void>> remove_directory(std::string path, Durable durable) override;
  Task<Result<void>> remove(std::string path, Durable durable) override;
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override;
  Task<Result<void>> replace(Replacement what) override;
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override;
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override;
  Task<Result<std::string>> read_symlink(std::string path) override;
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing listing) override;
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override;
  Task<Result<void>> sync_directory(std::string path) override;
  Task<Result<void>> sync_all() override;
  Task<Result<StoreSpace>> space() override;

 private:
  Store& of_;
};

}  // namespace canopy::sim
