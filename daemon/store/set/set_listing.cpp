// Listing a directory of a set. One that lies on several stores has pages in the order of its names' hashes,
// so that a cookie means the same whatever the parts are; the names are kept for a moment between two pages.
#include <xxhash.h>

#include "daemon/store/set/asking.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"

namespace canopy {
namespace {

constexpr size_t kMergedKeptMax = 4;
constexpr size_t kAttributesAtOnce = 64;

uint64_t cookie_of(std::string_view name) {
  return std::max<uint64_t>(XXH64(name.data(), name.size(), 0), 1);
}

}  // namespace

Task<Result<DirectoryPage>> StoreSet::list_at(Place place, uint64_t cookie, Listing listing, size_t most) {
  const bool few = listing == Listing::kAttributes && most < kStoreDirectoryPageEntries;
  auto ask = [where = place.path, cookie, listing, few, most](Store& store) {
    return few ? store.list_few(where, cookie, most) : store.list(where, cookie, listing);
  };
  auto page = co_await SetMember::ask<DirectoryPage>(place.member, ask);
  if (!page) co_return page;
  const bool tree_root = place.path.empty() && place.member == root_member_;
  if (tree_root)
    std::erase_if(page->entries, [](const DirectoryEntry& entry) { return entry.name == kStoresElement; });
  for (DirectoryEntry& entry : page->entries) entry.file_id = place.member->mix(entry.file_id);
  for (Attributes& of : page->attributes) of = place.member->mixed(of);
  co_return page;
}

// The names of one part that the table leads to.
Task<Result<void>> StoreSet::merge_part(Places places, size_t index, std::string path, NameMap& names) {
  const Place part = places.all[index];
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await list_at(part, cookie, Listing::kNames);
    if (!page) co_return fail(std::move(page).error());
    end = page->end;
    cookie = page->next_cookie;
    for (DirectoryEntry& entry : page->entries) {
      const std::string child = path + "/" + entry.name;
      const Places of_child = places_of(child);
      const std::string there = part.path + "/" + entry.name;
      size_t at = 0;
      while (at < of_child.all.size() && !of_child.all[at].same_as({part.member, nullptr, there})) ++at;
      const bool directory = entry.type == FileType::kDirectory;
      if (at == of_child.all.size() || (!directory && at >= of_child.own)) continue;
      if (names.size() >= kMergedEntriesMax)
        co_return fail(Code::kTooLarge, path,
                       fmt::format("more than {} entries on several stores", kMergedEntriesMax));
      auto [known, fresh] = names.try_emplace(entry.name, entry);
      if (!fresh && part.member->is_root()) known->second = std::move(entry);
    }
  }
  co_return Result<void>();
}

Task<Result<std::shared_ptr<StoreSet::Merged>>> StoreSet::merge_names(Places places, std::string path) {
  const bool of_open_files = path == kUnlinkedDirectory;  // of stores that answer, at each start
  auto parts = co_await parts_there(places, path, !of_open_files);
  if (!parts) co_return fail(std::move(parts).error());
  const FileType type = parts->front().attributes.type;
  if (type == FileType::kSymlink)
    co_return fail(Code::kLoop, std::move(path), "a symbolic link, and none is followed");
  if (type != FileType::kDirectory)
    co_return fail(Code::kNotDirectory, std::move(path), "it is no directory");
  NameMap names;
  for (size_t i = 0; i < places.all.size(); ++i) {
    const auto is_it = [&](const Part& part) { return part.place.same_as(places.all[i]); };
    if (std::ranges::none_of(*parts, is_it)) continue;
    auto merged = co_await merge_part(places, i, path, names);
    if (!merged && !says_absent(merged.error()) && !of_open_files) co_return fail(std::move(merged).error());
  }
  auto out = std::make_shared<Merged>();
  out->path = std::move(path);
  out->names.reserve(names.size());
  for (auto& [name, entry] : names) out->names.push_back({cookie_of(name), std::move(entry)});
  std::ranges::sort(out->names, {}, &Merged::Name::hash);
  co_return out;
}

Task<void> StoreSet::add_attributes(std::string path, DirectoryPage& page) {
  std::vector<DirectoryEntry> there;
  for (size_t begin = 0; begin < page.entries.size(); begin += kAttributesAtOnce) {
    std::vector<Task<Result<Attributes>>> questions;
    const size_t end = std::min(begin + kAttributesAtOnce, page.entries.size());
    for (size_t i = begin; i < end; ++i) questions.push_back(attributes(path + "/" + page.entries[i].name));
    auto answers = co_await join_all(loop_, std::move(questions));
    for (size_t i = begin; i < end; ++i) {
      if (!answers[i - begin]) continue;  // gone meanwhile
      there.push_back(std::move(page.entries[i]));
      page.attributes.push_back(*answers[i - begin]);
    }
  }
  page.entries = std::move(there);
}

Task<Result<DirectoryPage>> StoreSet::list(std::string path, uint64_t cookie, Listing listing) {
  if (alone(path)) return root_->list(std::move(path), cookie, listing);
  return list_among(std::move(path), cookie, listing, kStoreDirectoryPageEntries);
}
Task<Result<DirectoryPage>> StoreSet::list_few(std::string path, uint64_t cookie, size_t most) {
  if (alone(path)) return root_->list_few(std::move(path), cookie, most);
  return list_among(std::move(path), cookie, Listing::kAttributes,
                    std::clamp<size_t>(most, 1, kStoreDirectoryPageEntries));
}
Task<Result<DirectoryPage>> StoreSet::list_among(std::string path, uint64_t cookie, Listing listing,
                                                 size_t most) {
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  if (places.single() || object_of(path).ends_with(kAccountSuffix)) {
    CANOPY_CO_ASSIGN(Place place, co_await resolve(std::move(path)));
    co_return co_await list_at(std::move(place), cookie, listing, most);
  }
  std::erase_if(merged_, [&](const auto& held) { return loop_.now() - held->used > kMergedKept; });
  auto held = std::ranges::find_if(merged_, [&](const auto& other) { return other->path == path; });
  std::shared_ptr<Merged> merged;
  if (cookie != 0 && held != merged_.end()) {
    merged = *held;
  } else {
    if (held != merged_.end()) merged_.erase(held);
    auto made = co_await merge_names(std::move(places), path);
    if (!made) co_return fail(std::move(made).error());
    merged = std::move(*made);
  }
  DirectoryPage page;
  auto at = std::ranges::upper_bound(merged->names, cookie, {}, &Merged::Name::hash);
  for (; at != merged->names.end(); ++at) {
    const bool same = !page.entries.empty() && at->hash == page.next_cookie;
    if (page.entries.size() >= most && !same) break;
    page.entries.push_back(at->entry);
    page.entries.back().cookie = at->hash;
    if (same) page.entries[page.entries.size() - 2].cookie = 0;  // behind both of them only
    page.next_cookie = at->hash;
  }
  page.end = at == merged->names.end();
  if (!page.end) {  // the next page is asked for at once, as a rule
    merged->used = loop_.now();
    std::erase(merged_, merged);
    merged_.push_front(merged);
    if (merged_.size() > kMergedKeptMax) merged_.pop_back();
  } else {
    std::erase(merged_, merged);
  }
  if (listing == Listing::kAttributes) co_await add_attributes(std::move(path), page);
  co_return page;
}

}  // namespace canopy
