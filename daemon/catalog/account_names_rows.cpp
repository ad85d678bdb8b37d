#include "daemon/catalog/account_names_rows.h"

#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr char kRecord = 'd', kFolders = 'f', kNames = 'n';
constexpr char kWalked = 'w', kChanged = 'o';
constexpr auto kTable = CatalogTable::kAccounts;

void put_big_endian(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

// One of the two sorted lists of names that make the domain's.
struct Layer {
  Layer(const CatalogRows& rows, const std::string& prefix, std::string_view from)
      : prefix_bytes(prefix.size()),
        at(rows.seek(kTable, prefix + std::string(from), catalog_prefix_end(prefix))) {}
  bool valid() const { return at->valid(); }
  std::string_view name() const { return at->key().substr(prefix_bytes); }
  size_t prefix_bytes;
  std::unique_ptr<CatalogRows::Cursor> at;
};

}  // namespace

std::string AccountNamesRows::key(char kind, uint64_t generation) const {
  std::string out(1, kind);
  out += domain_;
  out.push_back('\0');  // no domain's name holds it
  put_big_endian(out, generation);
  return out;
}

Result<uint64_t> AccountNamesRows::generation() const {
  CANOPY_ASSIGN(auto held, rows_.get(kTable, kRecord + domain_));
  if (!held || held->size() != sizeof(uint64_t)) return 0;
  return get_le<uint64_t>(held->data());
}

Result<void> AccountNamesRows::begin(uint64_t kept) {
  CatalogChanges changes;
  for (char kind : {kFolders, kNames}) {
    std::string all = std::string(1, kind) + domain_ + '\0';
    if (kept > 0) changes.erase_range(kTable, all, key(kind, kept));
    changes.erase_range(kTable, kept > 0 ? key(kind, kept + 1) : all, catalog_prefix_end(all));
  }
  return rows_.write(changes);
}

Result<void> AccountNamesRows::finish(uint64_t generation) {
  CatalogChanges changes;
  std::string record;
  put_le(record, generation);
  changes.put(kTable, kRecord + domain_, record);
  CANOPY_TRY(rows_.write(changes));
  return begin(generation);
}

Result<void> AccountNamesRows::forget() {
  CatalogChanges changes;
  changes.erase(kTable, kRecord + domain_);
  CANOPY_TRY(rows_.write(changes));
  return begin(0);
}

void AccountNamesRows::add_walked(CatalogChanges& changes, uint64_t generation,
                                  std::string_view account) const {
  changes.put(kTable, (key(kNames, generation) + kWalked).append(account), "");
}

void AccountNamesRows::add_change(CatalogChanges& changes, uint64_t generation, std::string_view account,
                                  bool present) const {
  changes.put(kTable, (key(kNames, generation) + kChanged).append(account), present ? "1" : "0");
}

void AccountNamesRows::add_folder(CatalogChanges& changes, uint64_t generation, std::string_view path,
                                  FolderStamp stamp) const {
  std::string value;
  put_le(value, stamp.file_id);
  put_le(value, stamp.modified.seconds);
  put_le(value, stamp.modified.nanoseconds);
  changes.put(kTable, key(kFolders, generation).append(path), value);
}

Result<NamePage> AccountNamesRows::names(uint64_t generation, std::string_view after, std::string_view prefix,
                                         size_t limit) const {
  std::string from(prefix);
  if (!after.empty() && after >= prefix) from = std::string(after) + '\0';
  Layer walked(rows_, key(kNames, generation) + kWalked, from);
  Layer changed(rows_, key(kNames, generation) + kChanged, from);
  NamePage page;
  for (;;) {
    bool from_changed = changed.valid() && (!walked.valid() || changed.name() <= walked.name());
    Layer& next = from_changed ? changed : walked;
    if (!next.valid() || !next.name().starts_with(prefix)) break;
    bool both = from_changed && walked.valid() && walked.name() == changed.name();
    bool present = !from_changed || changed.at->value() == "1";
    if (present && page.names.size() == limit) {
      page.end = false;
      break;
    }
    if (present) page.names.emplace_back(next.name());
    next.at->next();
    if (both) walked.at->next();
  }
  CANOPY_TRY(walked.at->state());
  CANOPY_TRY(changed.at->state());
  return page;
}

Result<std::vector<AccountNamesRows::Folder>> AccountNamesRows::folders(uint64_t generation,
                                                                        std::string_view after,
                                                                        size_t limit) const {
  std::string prefix = key(kFolders, generation);
  std::string end = key(kFolders, generation + 1);
  std::vector<Folder> out;
  auto at = rows_.seek(kTable, after.empty() ? prefix : prefix + std::string(after) + '\0', end);
  for (; at->valid() && out.size() < limit; at->next()) {
    Folder folder;
    folder.path = at->key().substr(prefix.size());
    ByteReader value(at->value());
    auto file_id = value.le<uint64_t>();
    auto seconds = value.le<int64_t>();
    auto nanoseconds = value.le<uint32_t>();
    if (nanoseconds) folder.stamp = FolderStamp{*file_id, {*seconds, *nanoseconds}};
    out.push_back(std::move(folder));
  }
  CANOPY_TRY(at->state());
  return out;
}

}  // namespace canopy
