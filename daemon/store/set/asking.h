// What StoreSet's own sources share: how it asks the store of one path, and makes something on it. Nobody
// else includes it.
#pragma once

#include "daemon/store/set/store_set.h"

namespace canopy {

inline constexpr std::string_view kUnlinkedDirectory = ".canopy/unlinked";  // of the mount's open files

inline bool says_absent(const Error& error) {
  return error.code() == Code::kNotFound || error.code() == Code::kNotDirectory;
}

// Asks the store where `path` lies: question(store, path there).
template <class T, class Question>
Task<Result<T>> StoreSet::ask_resolved(std::string path, Question question) {
  CANOPY_CO_ASSIGN(Place place, co_await resolve(std::move(path)));
  auto ask = [&](Store& store) { return question(store, place.path); };
  co_return co_await SetMember::ask<T>(place.member, ask);
}

// Asks for something new at `place`, once more when only the directories above it were missing there.
template <class T, class Question>
Task<Result<T>> StoreSet::create(Place place, std::string path, Question question) {
  auto made = co_await SetMember::ask<T>(place.member, question);
  if (made || made.error().code() != Code::kNotFound) co_return made;
  auto parents = co_await make_parents(place, std::move(path));
  if (!parents) co_return fail(std::move(parents).error());
  if (!*parents) co_return made;
  co_return co_await SetMember::ask<T>(place.member, question);
}

}  // namespace canopy
