#include "daemon/store/journal/journaled_store.h"

#include "daemon/store/store_path.h"

namespace canopy {

namespace {

bool is_canopys_own(std::string_view path) { return path == ".canopy" || path.starts_with(".canopy/"); }

}  // namespace

Task<Result<void>> JournaledStore::begin() {
  co_await journal_->loop().switch_to();
  auto begun = co_await journal_->begin();
  co_await loop_.switch_to();
  co_return begun;
}

// Most paths have nothing in the journal, and its loop need not be asked.
template <class T>
Task<Result<T>> JournaledStore::held(std::vector<std::string> paths,
                                     std::move_only_function<Task<Result<T>>()> ask) {
  std::optional<ReplaceJournal::Hold> hold = journal_->hold_at_once(paths);
  if (!hold) {
    co_await journal_->loop().switch_to();
    auto waited_for = co_await journal_->hold(std::move(paths));
    co_await loop_.switch_to();
    if (!waited_for) co_return fail(std::move(waited_for).error());
    hold.emplace(std::move(*waited_for));
  }
  co_return co_await ask();
}

Task<Result<std::unique_ptr<File>>> JournaledStore::open(std::string path, OpenOptions options) {
  if (!options.write || !holds(path)) return inner_->open(std::move(path), options);
  std::vector<std::string> paths{path};
  return held<std::unique_ptr<File>>(
      std::move(paths), [this, path = std::move(path), options] { return inner_->open(path, options); });
}

Task<Result<void>> JournaledStore::set_attributes(std::string path, SetAttributes change, Durable durable) {
  if (!holds(path)) return inner_->set_attributes(std::move(path), change, durable);
  std::vector<std::string> paths{path};
  return held<void>(std::move(paths), [this, path = std::move(path), change, durable] {
    return inner_->set_attributes(path, change, durable);
  });
}

Task<Result<void>> JournaledStore::make_directory(std::string path, uint32_t mode, Durable durable) {
  if (durable == Durable::kYes || !journal_->is_on() || is_canopys_own(path))
    return inner_->make_directory(std::move(path), mode, durable);
  return make_directory_noted(std::move(path), mode);
}
Task<Result<void>> JournaledStore::make_directory_noted(std::string path, uint32_t mode) {
  CANOPY_CO_TRY(co_await inner_->make_directory(path, mode, Durable::kNo));
  co_return co_await note_undurable("", std::move(path));
}

Task<Result<void>> JournaledStore::note_undurable(std::string from, std::string to) {
  if (journal_->note_undurable(std::move(from), std::move(to))) co_return Result<void>();
  co_await journal_->loop().switch_to();
  auto durable = co_await journal_->make_names_durable();
  co_await loop_.switch_to();
  co_return durable;
}

Task<Result<void>> JournaledStore::remove(std::string path, Durable durable) {
  if (!holds(path)) return inner_->remove(std::move(path), durable);
  std::vector<std::string> paths{path};
  return held<void>(std::move(paths),
                    [this, path = std::move(path), durable] { return inner_->remove(path, durable); });
}

// What is renamed may be a directory. Canopy's own have nothing in them that the journal takes.
Task<Result<void>> JournaledStore::rename(std::string from, std::string to, RenameMode mode,
                                          Durable durable) {
  std::vector<std::string> paths;
  if (journal_->is_on()) {
    if (!is_canopys_own(from)) paths.push_back(from);
    const bool may_hold = mode == RenameMode::kExchange || !is_canopys_own(from) || holds(to);
    if (!is_canopys_own(to) && may_hold) paths.push_back(to);
  }
  const bool noted = durable == Durable::kNo && journal_->is_on() && !is_canopys_own(to);
  if (paths.empty() && !noted) return inner_->rename(std::move(from), std::move(to), mode, durable);
  return rename_held(std::move(paths), std::move(from), std::move(to), mode, durable);
}
Task<Result<void>> JournaledStore::rename_held(std::vector<std::string> paths, std::string from,
                                               std::string to, RenameMode mode, Durable durable) {
  // Apart from the lambda, whose own frame would not hold them.
  auto renamed = [](JournaledStore& self, const std::string& was, const std::string& will, RenameMode how,
                    Durable sync) -> Task<Result<void>> {
    CANOPY_CO_TRY(co_await self.inner_->rename(was, will, how, sync));
    if (sync == Durable::kYes) co_return Result<void>();
    CANOPY_CO_TRY(co_await self.note_undurable(was, will));
    if (how != RenameMode::kExchange) co_return Result<void>();
    co_return co_await self.note_undurable(will, was);
  };
  co_return co_await held<void>(std::move(paths), [&] { return renamed(*this, from, to, mode, durable); });
}

Task<Result<void>> JournaledStore::replace(Replacement what) {
  if (!holds(what.path)) return inner_->replace(std::move(what));
  return replace_in_journal(std::move(what));
}
Task<Result<void>> JournaledStore::replace_in_journal(Replacement what) {
  CANOPY_CO_TRY(check_store_name(what.staged));
  CANOPY_CO_TRY(check_store_name(what.path));
  co_await journal_->loop().switch_to();
  auto replaced = co_await journal_->replace(std::move(what));
  co_await loop_.switch_to();
  co_return replaced;
}

Task<Result<void>> JournaledStore::link(std::string from, std::string to, Durable durable) {
  if (!holds(from) && !holds(to)) return inner_->link(std::move(from), std::move(to), durable);
  std::vector<std::string> paths{from, to};
  return held<void>(std::move(paths), [this, from = std::move(from), to = std::move(to), durable] {
    return inner_->link(from, to, durable);
  });
}

Task<Result<void>> JournaledStore::set_xattr(std::string path, std::string name, std::string value,
                                             XattrMode mode, Durable durable) {
  if (!holds(path))
    return inner_->set_xattr(std::move(path), std::move(name), std::move(value), mode, durable);
  std::vector<std::string> paths{path};
  return held<void>(std::move(paths),
                    [this, path = std::move(path), name = std::move(name), value = std::move(value), mode,
                     durable] { return inner_->set_xattr(path, name, value, mode, durable); });
}

Task<Result<void>> JournaledStore::remove_xattr(std::string path, std::string name, Durable durable) {
  if (!holds(path)) return inner_->remove_xattr(std::move(path), std::move(name), durable);
  std::vector<std::string> paths{path};
  return held<void>(std::move(paths), [this, path = std::move(path), name = std::move(name), durable] {
    return inner_->remove_xattr(path, name, durable);
  });
}

}  // namespace canopy
