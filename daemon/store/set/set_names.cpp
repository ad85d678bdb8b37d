// Opening, renaming, linking and removing through a set.
#include "daemon/store/set/asking.h"
#include "daemon/store/set/set_file.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"

namespace canopy {
namespace {

std::unexpected<Error> cross_store(std::string from, const std::string& source, const std::string& to,
                                   const std::string& target) {
  return fail(
      Code::kCrossStore, std::move(from),
      fmt::format("it lies on store {}, and {} would lie on store {}: moving it there is a relocation",
                  source, to, target));
}

}  // namespace

Task<Result<std::unique_ptr<File>>> StoreSet::open_at(Place place, OpenOptions options) {
  SetMember& member = *place.member;
  if (!member.usable()) co_return fail(member.unavailable());
  std::shared_ptr<Store> store = member.store();
  SetMember::Timing timing(member);
  auto opened = co_await store->open(std::move(place.path), options);
  if (member.elsewhere()) co_return fail(member.unavailable());
  if (!opened) co_return fail(co_await member.named(*store, std::move(opened).error()));
  co_return std::make_unique<SetFile>(place.member, std::move(store), std::move(*opened));
}

Task<Result<std::unique_ptr<File>>> StoreSet::open(std::string path, OpenOptions options) {
  if (alone(path)) return root_->open(std::move(path), options);
  return open_among(std::move(path), options);
}
Task<Result<std::unique_ptr<File>>> StoreSet::open_among(std::string path, OpenOptions options) {
  CANOPY_CO_TRY(check_store_path(path));
  CANOPY_CO_ASSIGN(Place place, co_await resolve(path));
  auto opened = co_await open_at(place, options);
  if (opened || !options.create || opened.error().code() != Code::kNotFound) co_return opened;
  auto parents = co_await make_parents(place, std::move(path));
  if (!parents) co_return fail(std::move(parents).error());
  if (!*parents) co_return opened;
  co_return co_await open_at(std::move(place), options);
}

Task<Result<std::string>> StoreSet::read_whole(std::string path, uint64_t bytes_max) {
  if (alone(path)) return root_->read_whole(std::move(path), bytes_max);
  return ask_resolved<std::string>(std::move(path), [bytes_max](Store& store, std::string where) {
    return store.read_whole(std::move(where), bytes_max);
  });
}

Task<Result<void>> StoreSet::remove(std::string path, Durable durable) {
  if (alone(path)) return root_->remove(std::move(path), durable);
  return remove_among(std::move(path), durable);
}
Task<Result<void>> StoreSet::remove_among(std::string path, Durable durable) {
  CANOPY_CO_TRY(check_store_name(path));
  auto ask = [durable](Store& store, std::string where) { return store.remove(std::move(where), durable); };
  const std::string object = path;
  auto removed = co_await ask_resolved<void>(std::move(path), ask);
  if (removed && object_of(object) == object) forget_place(object);
  co_return removed;
}

// Where the new name goes: it lies on the store of what gets it, or nowhere.
Task<Result<StoreSet::Place>> StoreSet::target_of(Place source, std::string from, std::string to,
                                                  RenameMode mode) {
  Places places = places_of(to);
  std::optional<Place> there;
  if (!places.single() && object_of(to) == to) {
    auto parts = co_await parts_there(places, to, places.all.size() == places.own);
    if (!parts && !says_absent(parts.error())) co_return fail(std::move(parts).error());
    if (parts && mode == RenameMode::kNoReplace)
      co_return fail(Code::kAlreadyExists, std::move(to), "there is something of this name");
    if (parts && parts->size() > 1)
      co_return fail(Code::kNotEmpty, std::move(to), "a directory that lies on several stores is in the way");
    if (parts) there = std::move(parts->front().place);
  } else if (!places.single()) {
    auto located = co_await locate(places, to);
    if (!located) co_return fail(std::move(located).error());
    there = std::move(located->place);
  }
  if (there && there->member != source.member)
    co_return cross_store(std::move(from), source.member->name(), to, there->member->name());
  if (there) co_return std::move(*there);
  // An operation that began under an older table ends where it began.
  for (size_t i = 0; i < places.own; ++i)
    if (places.all[i].member == source.member) co_return std::move(places.all[i]);
  co_return cross_store(std::move(from), source.member->name(), to, places.all.front().member->name());
}

// What lies in a directory must be found under its new name: no row may lead elsewhere below it.
Result<void> StoreSet::check_rows_below(const Places& places, const std::string& from,
                                        const std::string& to) const {
  if (fixed_place_of(to) || object_of(to).ends_with(kAccountSuffix) || !mounts_->any_below(to)) return {};
  const auto before = mounts_->table().rows_below(from);
  for (const MountRow* row : mounts_->table().rows_below(to)) {
    if (std::ranges::find(before, row) != before.end()) continue;
    if (places.single() && row->store == places.all.front().member->name()) continue;
    return fail(Code::kUnsupported, from,
                fmt::format("the mount table's row {} puts a part of {} on store {}: moving it there is a "
                            "relocation",
                            row->pattern, to, row->store));
  }
  return {};
}

// The part that comes first goes last: until then the directory has its old name, and the same request goes
// on after a crash.
Task<Result<void>> StoreSet::rename_parts(std::vector<Part> parts, std::string from, std::string to,
                                          RenameMode mode, Durable durable) {
  const Places places = places_of(to);
  std::string stores;
  for (const Part& part : parts) stores += (stores.empty() ? "" : ", ") + part.place.member->name();
  std::vector<Place> targets;
  for (const Part& part : parts) {
    const auto same = std::ranges::find_if(places.all, [&](const Place& place) {
      const bool rows = place.row != nullptr && part.place.row != nullptr;
      return place.member == part.place.member && rows && place.row->prefix == part.place.row->prefix;
    });
    if (same == places.all.end() || mode == RenameMode::kExchange) {
      co_return fail(Code::kUnsupported, std::move(from),
                     fmt::format("it lies on the stores {}, and {} does not: moving it there is a relocation",
                                 stores, to));
    }
    targets.push_back(*same);
  }
  auto in_the_way = co_await parts_there({places.mounts, {targets.front()}, 1}, to, true);
  if (in_the_way) co_return fail(Code::kAlreadyExists, std::move(to), "there is something of this name");
  for (size_t i = parts.size(); i-- > 0;) {
    auto ask = [source = parts[i].place.path, target = targets[i].path, durable](Store& store) {
      return store.rename(source, target, RenameMode::kNoReplace, durable);
    };
    CANOPY_CO_TRY(co_await create<void>(targets[i], to, std::move(ask)));
  }
  co_return Result<void>();
}

Task<Result<void>> StoreSet::rename_in(std::string from, std::string to, RenameMode mode, Durable durable) {
  Places places = places_of(from);
  Place source = places.all.front();
  if (places.all.size() > places.own) {
    auto parts = co_await parts_there(places, from, true);
    if (!parts) co_return fail(std::move(parts).error());
    if (parts->front().attributes.type == FileType::kDirectory)
      CANOPY_CO_TRY(check_rows_below(places, from, to));
    if (parts->size() > 1)
      co_return co_await rename_parts(std::move(*parts), std::move(from), std::move(to), mode, durable);
    source = std::move(parts->front().place);
  } else {
    auto located = co_await locate(places, from);
    if (!located) co_return fail(std::move(located).error());
    source = std::move(located->place);
    if (auto below = check_rows_below(places, from, to); !below) {
      auto found = co_await attributes_at(source);
      if (!found) co_return fail(std::move(found).error());
      if (found->type == FileType::kDirectory) co_return below;
    }
  }
  auto target = co_await target_of(source, from, to, mode);
  if (!target) co_return fail(std::move(target).error());
  auto ask = [was = source.path, will = target->path, mode, durable](Store& store) {
    return store.rename(was, will, mode, durable);
  };
  co_return co_await create<void>(std::move(*target), std::move(to), std::move(ask));
}

Task<Result<void>> StoreSet::rename(std::string from, std::string to, RenameMode mode, Durable durable) {
  if (alone(from) && alone(to)) return root_->rename(std::move(from), std::move(to), mode, durable);
  return rename_among(std::move(from), std::move(to), mode, durable);
}
Task<Result<void>> StoreSet::rename_among(std::string from, std::string to, RenameMode mode,
                                          Durable durable) {
  CANOPY_CO_TRY(check_store_name(from));
  CANOPY_CO_TRY(check_store_name(to));
  auto renamed = co_await rename_in(from, to, mode, durable);
  forget_place(from);
  forget_place(to);
  co_return renamed;
}

Task<Result<void>> StoreSet::replace(Replacement what) {
  if (alone(what.staged) && alone(what.path)) return root_->replace(std::move(what));
  return replace_among(std::move(what));
}
Task<Result<void>> StoreSet::replace_among(Replacement what) {
  CANOPY_CO_TRY(check_store_name(what.staged));
  CANOPY_CO_TRY(check_store_name(what.path));
  CANOPY_CO_ASSIGN(Place source, co_await resolve(what.staged));
  CANOPY_CO_ASSIGN(Place target, co_await target_of(source, what.staged, what.path, RenameMode::kReplace));
  auto replaced = co_await SetMember::ask<void>(target.member, [&](Store& store) {
    return store.replace({source.path, target.path, std::move(what.text), what.in_place});
  });
  if (!replaced && replaced.error().code() == Code::kNotFound) {
    // What was staged is durable already when only the directories above the target were missing.
    CANOPY_CO_ASSIGN(const bool made, co_await make_parents(target, what.path));
    if (made)
      replaced = co_await SetMember::ask<void>(target.member, [&](Store& store) {
        return store.rename(source.path, target.path, RenameMode::kReplace, Durable::kYes);
      });
  }
  forget_place(what.path);
  co_return replaced;
}

Task<Result<void>> StoreSet::link(std::string from, std::string to, Durable durable) {
  if (alone(from) && alone(to)) return root_->link(std::move(from), std::move(to), durable);
  return link_among(std::move(from), std::move(to), durable);
}
Task<Result<void>> StoreSet::link_among(std::string from, std::string to, Durable durable) {
  CANOPY_CO_TRY(check_store_name(from));
  CANOPY_CO_TRY(check_store_name(to));
  CANOPY_CO_ASSIGN(Place source, co_await resolve(from));
  auto target = co_await target_of(source, from, to, RenameMode::kNoReplace);
  if (!target) co_return fail(std::move(target).error());
  auto ask = [was = source.path, will = target->path, durable](Store& store) {
    return store.link(was, will, durable);
  };
  co_return co_await create<void>(std::move(*target), std::move(to), std::move(ask));
}

Task<Result<void>> StoreSet::make_symlink(std::string target, std::string path, Durable durable) {
  if (alone(path)) return root_->make_symlink(std::move(target), std::move(path), durable);
  return make_symlink_among(std::move(target), std::move(path), durable);
}
Task<Result<void>> StoreSet::make_symlink_among(std::string target, std::string path, Durable durable) {
  CANOPY_CO_TRY(check_store_name(path));
  CANOPY_CO_ASSIGN(Place place, co_await resolve(path));
  auto ask = [says = std::move(target), where = place.path, durable](Store& store) {
    return store.make_symlink(says, where, durable);
  };
  co_return co_await create<void>(std::move(place), std::move(path), std::move(ask));
}

Task<Result<std::string>> StoreSet::read_symlink(std::string path) {
  if (alone(path)) return root_->read_symlink(std::move(path));
  return ask_resolved<std::string>(
      std::move(path), [](Store& store, std::string where) { return store.read_symlink(std::move(where)); });
}

Task<Result<std::string>> StoreSet::xattr(std::string path, std::string name) {
  if (alone(path)) return root_->xattr(std::move(path), std::move(name));
  return ask_resolved<std::string>(std::move(path),
                                   [name = std::move(name)](Store& store, std::string where) {
                                     return store.xattr(std::move(where), name);
                                   });
}

Task<Result<std::vector<std::string>>> StoreSet::list_xattrs(std::string path) {
  if (alone(path)) return root_->list_xattrs(std::move(path));
  return ask_resolved<std::vector<std::string>>(
      std::move(path), [](Store& store, std::string where) { return store.list_xattrs(std::move(where)); });
}

Task<Result<void>> StoreSet::set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                                       Durable durable) {
  if (alone(path)) return root_->set_xattr(std::move(path), std::move(name), std::move(value), mode, durable);
  return ask_resolved<void>(std::move(path), [name = std::move(name), value = std::move(value), mode,
                                              durable](Store& store, std::string where) {
    return store.set_xattr(std::move(where), name, value, mode, durable);
  });
}

Task<Result<void>> StoreSet::remove_xattr(std::string path, std::string name, Durable durable) {
  if (alone(path)) return root_->remove_xattr(std::move(path), std::move(name), durable);
  return ask_resolved<void>(std::move(path),
                            [name = std::move(name), durable](Store& store, std::string where) {
                              return store.remove_xattr(std::move(where), name, durable);
                            });
}

}  // namespace canopy
