#include "daemon/store/store.h"

#include "daemon/store/store_path.h"

#include <cerrno>

namespace canopy {

namespace {
std::unexpected<Error> without_xattrs(std::string path) {
  return fail(Code::kUnsupported, std::move(path), "the store has no extended attributes");
}
}  // namespace

Task<Result<void>> Store::sync_all() {
  co_return fail(Code::kUnsupported, std::string(name()), "the store has no sync of everything");
}

Task<Result<void>> Store::replace(Replacement what) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  {
    CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await open(what.staged, options));
    std::string_view text = what.text;
    auto written = co_await file->write(0, std::span(&text, 1), Durable::kYes);
    if (!written) co_return fail(std::move(written).error());
  }
  co_return co_await rename(std::move(what.staged), std::move(what.path), RenameMode::kReplace,
                            Durable::kYes);
}

Task<Result<StoreSpace>> Store::space_at(std::string) { co_return co_await space(); }

Task<Result<std::string>> Store::xattr(std::string path, std::string) { co_return without_xattrs(path); }
Task<Result<std::vector<std::string>>> Store::list_xattrs(std::string path) {
  co_return without_xattrs(path);
}
Task<Result<void>> Store::set_xattr(std::string path, std::string, std::string, XattrMode, Durable) {
  co_return without_xattrs(path);
}
Task<Result<void>> Store::remove_xattr(std::string path, std::string, Durable) {
  co_return without_xattrs(path);
}

Task<Result<StoreSite>> Store::site_of(std::string path) {
  co_return StoreSite{std::string(name()), "", std::move(path)};
}
std::vector<StoreSite> Store::parts_of(std::string path) {
  return {StoreSite{std::string(name()), "", std::move(path)}};
}

namespace {

constexpr size_t kReadChunkBytes = 1u << 20;

}  // namespace

Result<void> check_store_path(std::string_view path) {
  if (path.empty()) return {};
  if (path.size() > kStorePathBytesMax) {
    return fail(Code::kNoSpaceForName, std::string(path.substr(0, 64)) + "...",
                fmt::format("a path has at most {} bytes", kStorePathBytesMax));
  }
  if (path.find('\0') != std::string_view::npos) {
    return fail(Code::kInvalidArgument, std::string(path), "a path holds no NUL byte");
  }
  std::string_view rest = path;
  while (true) {
    size_t slash = rest.find('/');
    std::string_view name = rest.substr(0, slash);
    if (name.empty()) {
      return fail(Code::kInvalidArgument, std::string(path),
                  "a path has no leading, trailing or doubled '/'");
    }
    if (name == "." || name == "..") {
      return fail(Code::kInvalidArgument, std::string(path), "'.' and '..' are not names in a store");
    }
    if (name.size() > kStoreNameBytesMax) {
      return fail(Code::kNoSpaceForName, std::string(path),
                  fmt::format("a name has at most {} bytes", kStoreNameBytesMax));
    }
    if (slash == std::string_view::npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

Result<void> check_xattr_name(std::string_view name) {
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size() ||
      name.find('\0') != std::string_view::npos)
    return fail(Code::kInvalidArgument, std::string(name), "an attribute is called NAMESPACE.NAME");
  if (name.size() > kStoreXattrNameBytesMax) {
    return std::unexpected<Error>(
        Error(Code::kNoSpaceForName, std::string(name),
              fmt::format("an attribute's name has at most {} bytes", kStoreXattrNameBytesMax), ERANGE));
  }
  return {};
}

Result<void> check_store_name(std::string_view path) {
  if (path.empty()) {
    return fail(Code::kInvalidArgument, "/",
                "the root of a store cannot be made, removed, renamed or linked");
  }
  return check_store_path(path);
}

std::string_view store_parent_of(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view store_leaf_of(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// kNotFound: somebody has removed one of them meanwhile, as it was empty.
static Task<Result<void>> try_make_directories(Store& store, const std::string& path, uint32_t mode,
                                               Durable durable) {
  // Most often only the last name is missing: try it first and go up only as far as needed.
  size_t end = path.size();
  while (true) {
    auto made = co_await store.make_directory(path.substr(0, end), mode, durable);
    if (made) break;
    if (made.error().code() == Code::kAlreadyExists) {
      CANOPY_CO_ASSIGN(Attributes found, co_await store.attributes(path.substr(0, end)));
      if (found.type != FileType::kDirectory) {
        co_return fail(Code::kNotDirectory, path.substr(0, end), "is in the way of a directory of this name");
      }
      if (durable == Durable::kYes) {
        // Whoever made it may not have synced its name yet, and our answer promises the whole path.
        CANOPY_CO_TRY(co_await store.sync_directory(std::string(store_parent_of(path.substr(0, end)))));
      }
      break;
    }
    if (made.error().code() != Code::kNotFound) co_return fail(made.error());
    size_t slash = path.rfind('/', end - 1);
    if (slash == std::string::npos) co_return fail(made.error());
    end = slash;
  }
  while (end < path.size()) {
    size_t slash = path.find('/', end + 1);
    end = slash == std::string::npos ? path.size() : slash;
    auto made = co_await store.make_directory(path.substr(0, end), mode, durable);
    // Another process may make the same path at the same time.
    if (!made && made.error().code() != Code::kAlreadyExists) co_return fail(made.error());
    if (!made && durable == Durable::kYes) {
      CANOPY_CO_TRY(co_await store.sync_directory(std::string(store_parent_of(path.substr(0, end)))));
    }
  }
  co_return Result<void>();
}

Task<Result<void>> make_directories(Store& store, std::string path, uint32_t mode, Durable durable) {
  constexpr int kTries = 8;
  CANOPY_CO_TRY(check_store_path(path));
  if (path.empty()) co_return Result<void>();
  for (int i = 1;; ++i) {
    auto made = co_await try_make_directories(store, path, mode, durable);
    if (made || made.error().code() != Code::kNotFound || i == kTries) co_return made;
  }
}

Task<Result<std::string>> read_file(Store& store, std::string path, uint64_t bytes_max) {
  co_return co_await store.read_whole(std::move(path), bytes_max);
}

Task<Result<std::string>> Store::read_whole(std::string path, uint64_t bytes_max) {
  OpenOptions options;
  options.keep_access_time = true;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await open(path, options));
  CANOPY_CO_ASSIGN(Attributes found, co_await file->attributes());
  std::string bytes;
  // The size is only a first guess: the file may grow or shrink under the read. Usually it is right, and one
  // read does it.
  size_t chunk = std::min(found.size, bytes_max) + 1;
  while (true) {
    size_t had = bytes.size();
    // Not cleared: what is not read is cut off.
    bytes.resize_and_overwrite(had + chunk, [](char*, size_t size) { return size; });
    CANOPY_CO_ASSIGN(size_t got, co_await file->read(had, std::span<char>(bytes.data() + had, chunk)));
    bytes.resize(had + got);
    if (bytes.size() > bytes_max) {
      co_return fail(Code::kTooLarge, path, fmt::format("the file is larger than {} bytes", bytes_max));
    }
    if (got < chunk) co_return bytes;
    chunk = kReadChunkBytes;
  }
}

Task<Result<DirectoryPage>> Store::list_few(std::string path, uint64_t cookie, size_t) {
  return list(std::move(path), cookie, Listing::kAttributes);
}

Task<Result<std::vector<DirectoryEntry>>> list_all(Store& store, std::string path, size_t entries_max) {
  std::vector<DirectoryEntry> entries;
  uint64_t cookie = 0;
  while (true) {
    CANOPY_CO_ASSIGN(DirectoryPage page, co_await store.list(path, cookie));
    if (entries.size() + page.entries.size() > entries_max) {
      co_return fail(Code::kTooLarge, path,
                     fmt::format("the directory has more than {} entries", entries_max));
    }
    entries.insert(entries.end(), std::make_move_iterator(page.entries.begin()),
                   std::make_move_iterator(page.entries.end()));
    if (page.end) co_return entries;
    if (page.entries.empty() && page.next_cookie == cookie) {
      co_return fail(Code::kInternal, path,
                     "the store answered an empty page that does not end the directory");
    }
    cookie = page.next_cookie;
  }
}

}  // namespace canopy
