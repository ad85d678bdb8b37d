#include "daemon/store/marker.h"

#include "daemon/base/bytes.h"
#include "daemon/dict/dict.h"

namespace canopy {

namespace {

constexpr std::string_view kDirectory = ".canopy";
constexpr std::string_view kUnfinishedPrefix = "store.new.";
constexpr std::string_view kRefusal = "store is not mounted, empty or wrong";
constexpr size_t kRootEntriesMax = 16;  // enough to see that a directory is not empty

bool is_store_name(std::string_view name) {
  if (name.empty() || name.size() > kStoreNameInTableBytesMax) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::string random_uuid(Loop& loop) {
  uint64_t high = (loop.random() & ~0xf000ull) | 0x4000;          // version 4
  uint64_t low = (loop.random() & ~(3ull << 62)) | (2ull << 62);  // variant 1
  std::string a = hex64(high), b = hex64(low);
  return fmt::format("{}-{}-{}-{}-{}", a.substr(0, 8), a.substr(8, 4), a.substr(12), b.substr(0, 4),
                     b.substr(4));
}

bool is_uuid(std::string_view id) {
  if (id.size() != 36) return false;
  for (size_t i = 0; i < id.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    bool digit = (id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f');
    if (dash ? id[i] != '-' : !digit) return false;
  }
  return true;
}

Task<Result<void>> check_empty(Store& store) {
  auto root = co_await list_all(store, "", kRootEntriesMax);
  if (!root && root.error().code() == Code::kTooLarge) {
    co_return fail(Code::kNotEmpty, std::string(store.name()), "the directory is not empty");
  }
  if (!root) co_return fail(root.error());
  for (const DirectoryEntry& entry : *root) {
    if (entry.name == "lost+found") continue;
    if (entry.name != kDirectory) {
      co_return fail(Code::kNotEmpty, std::string(store.name()),
                     "the directory holds '" + entry.name + "' already");
    }
    CANOPY_CO_ASSIGN(auto own, co_await list_all(store, std::string(kDirectory), 1000));
    for (const DirectoryEntry& inner : own) {
      if (inner.name.starts_with(kUnfinishedPrefix)) continue;  // of a creation that was cut off
      co_return fail(Code::kNotEmpty, std::string(store.name()),
                     "the directory holds '.canopy/" + inner.name + "' already");
    }
  }
  co_return Result<void>();
}

Task<Result<void>> write_new_file(Store& store, std::string path, std::string text) {
  CANOPY_CO_ASSIGN(auto file, co_await store.open(path, {.write = true, .create = true, .exclusive = true}));
  const std::string_view pieces[] = {text};
  CANOPY_CO_TRY(co_await file->write(0, pieces, Durable::kYes));
  co_return co_await file->sync();
}

}  // namespace

std::string print_marker(const StoreMarker& marker) {
  dict::Dict dict{
      {"Id", marker.id}, {"Name", marker.name}, {"Serves", marker.serves}, {"Version", kStoreMarkerVersion}};
  if (!marker.tree.empty()) dict.set("Tree", marker.tree);
  return dict::print(dict, dict::Style::kCompact) + "\n";
}

Result<StoreMarker> parse_marker(std::string_view text, std::string_view object) {
  auto damaged = [&](std::string_view why) {
    return fail(Code::kDamaged, std::string(object), fmt::format("{}: {}", kRefusal, why));
  };
  auto dict = dict::parse_dict(text, kStoreMarkerPath);
  if (!dict) return damaged(dict.error().to_string());
  auto version = dict->require_number("Version");
  if (!version) return damaged(version.error().to_string());
  if (*version != kStoreMarkerVersion)
    return damaged(fmt::format("the marker has Version #{}, which is not known", *version));
  StoreMarker marker;
  for (auto [key, field] :
       {std::pair{"Id", &marker.id}, std::pair{"Name", &marker.name}, std::pair{"Serves", &marker.serves}}) {
    auto value = dict->require_string(key);
    if (!value) return damaged(value.error().to_string());
    *field = std::move(*value);
  }
  if (dict->contains("Tree")) {
    auto tree = dict->require_string("Tree");
    if (!tree || !is_uuid(*tree)) return damaged("the marker's Tree is no UUID");
    marker.tree = std::move(*tree);
  }
  if (!is_uuid(marker.id)) return damaged("the marker's Id is no UUID");
  if (!is_store_name(marker.name)) return damaged("the marker's Name is no store name");
  return marker;
}

Task<Result<StoreMarker>> create_marker(Store& store, Loop& loop, std::string name, std::string serves,
                                        StoreContent content, std::string tree) {
  if (!is_store_name(name)) {
    co_return fail(Code::kInvalidArgument, name,
                   "a store's name is 1 to 128 letters, digits, '.', '_' and '-'");
  }
  StoreMarker marker{random_uuid(loop), std::move(name), std::move(serves), std::move(tree)};
  std::string text = print_marker(marker);
  if (text.size() > kStoreMarkerBytesMax)
    co_return fail(Code::kTooLarge, marker.name, "the description of what it serves is too long");
  std::string path(kStoreMarkerPath);
  auto there = co_await store.attributes(path);
  if (there)
    co_return fail(Code::kAlreadyExists, std::string(store.name()), "the directory is a store already");
  if (there.error().code() != Code::kNotFound) co_return fail(there.error());
  if (content == StoreContent::kMustBeEmpty) CANOPY_CO_TRY(co_await check_empty(store));

  CANOPY_CO_TRY(co_await make_directories(store, std::string(kDirectory), 0700, Durable::kYes));
  // Written apart and linked to its name, so that the marker is whole or absent, and the first of two wins.
  std::string unfinished = fmt::format("{}/{}{}", kDirectory, kUnfinishedPrefix, marker.id);
  auto written = co_await write_new_file(store, unfinished, std::move(text));
  Result<void> linked = written;
  if (written) linked = co_await store.link(unfinished, path, Durable::kYes);
  auto removed = co_await store.remove(unfinished, Durable::kNo);
  if (!linked && linked.error().code() == Code::kAlreadyExists) {
    co_return fail(Code::kAlreadyExists, std::string(store.name()),
                   "another made it a store at the same time");
  }
  if (!linked) co_return fail(linked.error());
  if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
  co_return marker;
}

Task<Result<void>> claim_store(Store& store, Loop& loop, std::string tree) {
  const std::string path(kStoreMarkerPath), object(store.name());
  CANOPY_CO_ASSIGN(const std::string text, co_await read_file(store, path, kStoreMarkerBytesMax));
  CANOPY_CO_ASSIGN(const StoreMarker marker, parse_marker(text, object));
  if (marker.tree == tree) co_return Result<void>();
  if (!marker.tree.empty())
    co_return fail(
        Code::kConflict, object,
        fmt::format("it belongs to another tree, that of the root store with the id {}", marker.tree));
  CANOPY_CO_ASSIGN(dict::Dict dict, dict::parse_dict(text, kStoreMarkerPath));  // with keys of later versions
  dict.set("Tree", tree);
  const std::string unfinished = fmt::format("{}/{}{}", kDirectory, kUnfinishedPrefix, random_uuid(loop));
  auto done = co_await write_new_file(store, unfinished, dict::print(dict, dict::Style::kCompact) + "\n");
  if (done) done = co_await store.rename(unfinished, path, RenameMode::kReplace, Durable::kYes);
  if (!done) (void)co_await store.remove(unfinished, Durable::kNo);
  co_return done;
}

Task<Result<StoreMarker>> check_marker(Store& store, std::string id, std::string name) {
  std::string object(store.name());
  auto text = co_await read_file(store, std::string(kStoreMarkerPath), kStoreMarkerBytesMax);
  if (!text) {
    switch (text.error().code()) {
      case Code::kNotFound:
      case Code::kNotDirectory:
        // With the system's number it is told from a store that did not answer.
        co_return std::unexpected<Error>(Error(Code::kStoreUnavailable, std::move(object),
                                               fmt::format("{}: there is no {}", kRefusal, kStoreMarkerPath),
                                               ENOENT));
      case Code::kTooLarge:
      case Code::kIsDirectory:
      case Code::kLoop:
        co_return fail(Code::kDamaged, std::move(object),
                       fmt::format("{}: {}", kRefusal, text.error().to_string()));
      default: co_return fail(text.error().code(), std::move(object), text.error().to_string());
    }
  }
  CANOPY_CO_ASSIGN(StoreMarker marker, parse_marker(*text, object));
  if (!id.empty() && marker.id != id) {
    co_return fail(Code::kConflict, std::move(object),
                   fmt::format("{}: its id is {}, expected {}", kRefusal, marker.id, id));
  }
  if (!name.empty() && marker.name != name) {
    co_return fail(Code::kConflict, std::move(object),
                   fmt::format("{}: its name is {}, expected {}", kRefusal, marker.name, name));
  }
  co_return marker;
}

std::string stage_path(uint32_t slot, uint64_t epoch) {
  return fmt::format("{}/{}/{}", kStoreStagePath, hex64(epoch), slot);
}

}  // namespace canopy
