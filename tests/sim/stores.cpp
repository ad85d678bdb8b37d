#include "tests/sim/stores.h"

#include <fmt/format.h>

namespace canopy::sim {

std::string store_address(size_t number) { return fmt::format("dir:/sim/{}", kStoreNames[number]); }

std::optional<size_t> store_at(std::string_view address) {
  for (size_t i = 0; i < std::size(kStoreNames); ++i)
    if (address == store_address(i)) return i;
  return std::nullopt;
}

Task<Result<std::unique_ptr<File>>> BorrowedStore::open(std::string path, OpenOptions options) {
  return of_.open(std::move(path), options);
}
Task<Result<Attributes>> BorrowedStore::attributes(std::string path) {
  return of_.attributes(std::move(path));
}
Task<Result<void>> BorrowedStore::set_attributes(std::string path, SetAttributes change, Durable durable) {
  return of_.set_attributes(std::move(path), change, durable);
}
Task<Result<void>> BorrowedStore::make_directory(std::string path, uint32_t mode, Durable durable) {
  return of_.make_directory(std::move(path), mode, durable);
}
Task<Result<void>> BorrowedStore::remove_directory(std::string path, Durable durable) {
  return of_.remove_directory(std::move(path), durable);
}
Task<Result<void>> BorrowedStore::remove(std::string path, Durable durable) {
  return of_.remove(std::move(path), durable);
}
Task<Result<void>> BorrowedStore::rename(std::string from, std::string to, RenameMode mode, Durable durable) {
  return of_.rename(std::move(from), std::move(to), mode, durable);
}
Task<Result<void>> BorrowedStore::replace(Replacement what) { return of_.replace(std::move(what)); }
Task<Result<void>> BorrowedStore::link(std::string from, std::string to, Durable durable) {
  return of_.link(std::move(from), std::move(to), durable);
}
Task<Result<void>> BorrowedStore::make_symlink(std::string target, std::string path, Durable durable) {
  return of_.make_symlink(std::move(target), std::move(path), durable);
}
Task<Result<std::string>> BorrowedStore::read_symlink(std::string path) {
  return of_.read_symlink(std::move(path));
}
Task<Result<DirectoryPage>> BorrowedStore::list(std::string path, uint64_t cookie, Listing listing) {
  return of_.list(std::move(path), cookie, listing);
}
Task<Result<DirectoryPage>> BorrowedStore::list_few(std::string path, uint64_t cookie, size_t most) {
  return of_.list_few(std::move(path), cookie, most);
}
Task<Result<void>> BorrowedStore::sync_directory(std::string path) {
  return of_.sync_directory(std::move(path));
}
Task<Result<void>> BorrowedStore::sync_all() { return of_.sync_all(); }
Task<Result<StoreSpace>> BorrowedStore::space() { return of_.space(); }

}  // namespace canopy::sim
