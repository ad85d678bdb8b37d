// Directories of a set, which may lie on several stores.
#include <xxhash.h>

#include "daemon/store/set/asking.h"
#include "daemon/store/set/store_set.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"

namespace canopy {

Task<Result<std::vector<StoreSet::Part>>> StoreSet::parts_there(Places places, std::string path,
                                                                bool all_must_answer) {
  std::vector<Task<Result<Attributes>>> questions;
  questions.reserve(places.all.size());
  for (const Place& place : places.all) questions.push_back(attributes_at(place));
  auto answers = co_await join_all(loop_, std::move(questions));
  co_return parts_among(places, std::move(path), std::move(answers), all_must_answer);
}

Result<std::vector<StoreSet::Part>> StoreSet::parts_among(const Places& places, std::string path,
                                                          std::vector<Result<Attributes>> answers,
                                                          bool all_must_answer) {
  std::vector<Part> parts;
  std::optional<Error> unanswered, in_the_way;  // in_the_way: of a path below a file
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) {
      const Code code = answers[i].error().code();
      if (!says_absent(answers[i].error()))
        unanswered = std::move(answers[i]).error();
      else if (code == Code::kNotDirectory)
        in_the_way = std::move(answers[i]).error();
      continue;
    }
    const bool directory = answers[i]->type == FileType::kDirectory;
    if (!directory && (i >= places.own || !parts.empty())) continue;  // the table leads elsewhere
    parts.push_back({places.all[i], *answers[i]});
    if (!directory) return parts;
  }
  if (unanswered && (parts.empty() || all_must_answer)) return fail(std::move(*unanswered));
  if (parts.empty() && in_the_way) return fail(std::move(*in_the_way));
  if (parts.empty()) return fail(Code::kNotFound, std::move(path), "there is no such file or directory");
  return parts;
}

struct StoreSet::Asked {
  Asked(Loop& loop, size_t count) : answers(count), changed(loop) {}
  std::vector<std::optional<Result<Attributes>>> answers;
  size_t left = 0;
  Event changed;
};

Task<void> StoreSet::ask_part(std::shared_ptr<Asked> of, size_t number, Place place) {
  of->answers[number] = co_await attributes_at(std::move(place));
  --of->left;
  of->changed.set();
}

Task<Result<std::vector<StoreSet::Part>>> StoreSet::parts_soon(Places places, std::string path) {
  size_t root = 0;
  while (root < places.all.size() && !places.all[root].member->is_root()) ++root;
  if (root == places.all.size()) co_return co_await parts_there(std::move(places), std::move(path), false);
  auto asked = std::make_shared<Asked>(loop_, places.all.size());
  const Nanos until = loop_.now() + kStoreSlow;
  bool all = true;
  for (size_t i = 0; i < places.all.size(); ++i) {
    if (i != root && places.all[i].member->silent()) {
      all = false;
      continue;
    }
    ++asked->left;
    asked_.spawn(ask_part(asked, i, places.all[i]));
  }
  auto is_there = [&] { return asked->answers[root] && asked->answers[root]->has_value(); };
  while (asked->left > 0) {
    asked->changed.reset();
    if (!is_there())
      co_await asked->changed.wait();
    else if (!co_await asked->changed.wait_until(until))
      break;
  }
  if (!all && !is_there()) co_return co_await parts_there(std::move(places), std::move(path), false);
  std::vector<Result<Attributes>> answers;
  for (size_t i = 0; i < places.all.size(); ++i) {
    if (asked->answers[i])
      answers.push_back(*asked->answers[i]);
    else
      answers.emplace_back(fail(Code::kStoreUnavailable, places.all[i].member->name(), "it does not answer"));
  }
  co_return parts_among(places, std::move(path), std::move(answers), false);
}

Attributes StoreSet::merge(const std::vector<Part>& parts) {
  if (parts.size() == 1) return parts.front().attributes;
  // The root store's part stands for all, where there is one: its id stays whatever the table says.
  size_t best = 0;
  for (size_t i = 0; i < parts.size(); ++i)
    if (parts[i].place.member->is_root()) best = i;
  Attributes merged = parts[best].attributes;
  merged.size = merged.allocated = 0;
  merged.links = 1;  // not known, as other file systems say it, too
  uint64_t hash = 0;
  for (const Part& part : parts) {
    const Attributes& of = part.attributes;
    merged.size += of.size;
    merged.allocated += of.allocated;
    merged.modified = std::max(merged.modified, of.modified);
    merged.changed = std::max(merged.changed, of.changed);
    const uint64_t words[] = {hash, of.file_id, static_cast<uint64_t>(of.changed.seconds),
                              of.changed.nanoseconds};
    hash = XXH64(words, sizeof words, 0);
  }
  // A change of any part changes it, also where the clocks of the servers differ.
  merged.changed.nanoseconds = static_cast<uint32_t>(hash % 1'000'000'000);
  return merged;
}

Task<Result<Attributes>> StoreSet::attributes(std::string path) {
  if (alone(path)) return root_->attributes(std::move(path));
  return attributes_among(std::move(path));
}
Task<Result<Attributes>> StoreSet::attributes_among(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  if (places.single()) co_return co_await attributes_at(std::move(places.all.front()));
  if (object_of(path).ends_with(kAccountSuffix)) {
    auto located = co_await locate(std::move(places), path);
    if (!located) co_return fail(std::move(located).error());
    co_return co_await attributes_at(std::move(located->place));
  }
  auto parts = co_await parts_soon(std::move(places), std::move(path));
  if (!parts) co_return fail(std::move(parts).error());
  co_return merge(*parts);
}

Task<Result<void>> StoreSet::set_attributes(std::string path, SetAttributes change, Durable durable) {
  if (alone(path)) return root_->set_attributes(std::move(path), change, durable);
  return set_attributes_among(std::move(path), change, durable);
}
Task<Result<void>> StoreSet::set_attributes_among(std::string path, SetAttributes change, Durable durable) {
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  std::vector<Place> at;
  if (places.all.size() > places.own) {
    auto parts = co_await parts_there(std::move(places), path, true);
    if (!parts) co_return fail(std::move(parts).error());
    for (Part& part : *parts) at.push_back(std::move(part.place));
  } else {
    auto located = co_await locate(std::move(places), path);
    if (!located) co_return fail(std::move(located).error());
    at.push_back(std::move(located->place));
  }
  for (const Place& place : at) {
    auto ask = [where = place.path, change, durable](Store& store) {
      return store.set_attributes(where, change, durable);
    };
    CANOPY_CO_TRY(co_await SetMember::ask<void>(place.member, ask));
  }
  co_return Result<void>();
}

Task<Result<bool>> StoreSet::make_parents(Place place, std::string path) {
  const std::string parent(store_parent_of(path));
  if (parent.empty()) co_return false;
  // An account's directory is at one place: when it is not at this one, it has moved, or is no more.
  if (object_of(parent).ends_with(kAccountSuffix)) co_return false;
  uint32_t mode = 0700;
  std::string there(store_parent_of(place.path));
  if (place.row != nullptr) {
    auto merged = co_await attributes(parent);
    if (!merged && !says_absent(merged.error())) co_return fail(std::move(merged).error());
    if (!merged || merged->type != FileType::kDirectory) co_return false;
    mode = merged->mode;
  } else if (parent != kUnlinkedDirectory) {
    co_return false;
  }
  auto exists = co_await attributes_at({place.member, nullptr, there});
  if (exists) co_return true;  // another request has made them meanwhile, or something else is missing
  if (!says_absent(exists.error())) co_return fail(std::move(exists).error());
  const std::shared_ptr<Store> store = place.member->store();
  CANOPY_CO_TRY(co_await make_directories(*store, there, mode, Durable::kYes));
  co_return true;
}

Task<Result<void>> StoreSet::make_directory(std::string path, uint32_t mode, Durable durable) {
  if (alone(path)) return root_->make_directory(std::move(path), mode, durable);
  return make_directory_among(std::move(path), mode, durable);
}
Task<Result<void>> StoreSet::make_directory_among(std::string path, uint32_t mode, Durable durable) {
  if (path.empty()) co_return fail(Code::kAlreadyExists, "/", "the root of a store is always there");
  CANOPY_CO_TRY(check_store_name(path));
  Places places = places_of(path);
  Place place = places.all.front();
  if (!places.single()) {
    if (object_of(path) != path) {
      auto located = co_await locate(places, path);
      if (!located) co_return fail(std::move(located).error());
      place = std::move(located->place);
    } else {
      // The places that could hold anything of this name must answer; the others when they do.
      Places own = places;
      own.all.resize(own.own);
      auto there = co_await parts_there(own, path, false);
      if (!there && says_absent(there.error()) && places.all.size() > places.own) {
        auto below = co_await parts_there(places, path, false);
        if (below) there = std::move(below);
      }
      if (there) co_return fail(Code::kAlreadyExists, std::move(path), "there is something of this name");
      if (!says_absent(there.error())) co_return fail(std::move(there).error());
    }
  }
  auto ask = [where = place.path, mode, durable](Store& store) {
    return store.make_directory(where, mode, durable);
  };
  co_return co_await create<void>(std::move(place), std::move(path), std::move(ask));
}

// All parts must be empty before the first one goes.
Task<Result<void>> StoreSet::remove_directory_parts(Places places, std::string path, Durable durable) {
  auto parts = co_await parts_there(std::move(places), path, true);
  if (!parts) co_return fail(std::move(parts).error());
  if (parts->size() > 1) {
    for (const Part& part : *parts) {
      auto page = co_await list_at(part.place, 0, Listing::kNames);
      if (!page) co_return fail(std::move(page).error());
      if (page->entries.empty()) continue;
      co_return fail(Code::kNotEmpty, std::move(path),
                     fmt::format("the directory is not empty on store {}", part.place.member->name()));
    }
  }
  for (size_t i = parts->size(); i-- > 0;) {
    const Part& part = (*parts)[i];
    auto ask = [where = part.place.path, durable](Store& store) {
      return store.remove_directory(where, durable);
    };
    CANOPY_CO_TRY(co_await SetMember::ask<void>(part.place.member, ask));
  }
  co_return Result<void>();
}

Task<Result<void>> StoreSet::remove_directory(std::string path, Durable durable) {
  if (alone(path)) return root_->remove_directory(std::move(path), durable);
  return remove_directory_among(std::move(path), durable);
}
Task<Result<void>> StoreSet::remove_directory_among(std::string path, Durable durable) {
  CANOPY_CO_TRY(check_store_name(path));
  Places places = places_of(path);
  if (places.all.size() > places.own) co_return co_await remove_directory_parts(places, path, durable);
  forget_place(path);
  auto ask = [durable](Store& store, std::string where) {
    return store.remove_directory(std::move(where), durable);
  };
  if (places.own > 1 && object_of(path) == path)
    co_return co_await remove_directory_parts(std::move(places), std::move(path), durable);
  co_return co_await ask_resolved<void>(std::move(path), ask);
}

Task<Result<void>> StoreSet::sync_directory(std::string path) {
  if (alone(path)) return root_->sync_directory(std::move(path));
  return sync_directory_among(std::move(path));
}
Task<Result<void>> StoreSet::sync_directory_among(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  if (places.single() || object_of(path).ends_with(kAccountSuffix)) {
    auto ask = [](Store& store, std::string where) { return store.sync_directory(std::move(where)); };
    co_return co_await ask_resolved<void>(std::move(path), ask);
  }
  auto parts = co_await parts_there(std::move(places), std::move(path), true);
  if (!parts) co_return fail(std::move(parts).error());
  for (const Part& part : *parts) {
    auto ask = [where = part.place.path](Store& store) { return store.sync_directory(where); };
    CANOPY_CO_TRY(co_await SetMember::ask<void>(part.place.member, ask));
  }
  co_return Result<void>();
}

}  // namespace canopy
