#include "daemon/account/domain_move.h"

#include <algorithm>

#include "daemon/account/account_place.h"
#include "daemon/base/log.h"
#include "daemon/store/store_path.h"

namespace canopy {
namespace {

// Path elements down to the domain's own: SharedDomains, the domain's folders, the domain.
uint32_t elements_of_domain(const Foldering& domains) { return 2 + domains.levels(); }

bool is_above_domain(const TreeLayout& layout) {
  return layout.fast_index() != 0 && layout.fast_index() < elements_of_domain(layout.domain_foldering());
}

void add_once(std::vector<TreeLayout>& layouts, const TreeLayout& layout) {
  if (std::ranges::find(layouts, layout) == layouts.end()) layouts.push_back(layout);
}

// Where what lies under `layout`, whose domain lies under `from`, will be found when that lies under `to`.
void add_after_move(std::vector<TreeLayout>& layouts, const TreeLayout& layout, const Foldering& from,
                    const Foldering& to) {
  const Foldering& accounts = layout.account_foldering();
  const bool stays = is_above_domain(layout);
  if (stays) add_once(layouts, layout);
  if (layout.domain_foldering() != from) return;  // without what stays, nothing of the domain lies there
  // Below the domain `fast` goes along, and stands after the same folder.
  const uint32_t index = stays || layout.fast_index() == 0
                             ? 0
                             : layout.fast_index() - elements_of_domain(from) + elements_of_domain(to);
  if (auto moved = TreeLayout::make(to, accounts, index)) add_once(layouts, *moved);
}

std::string name_in(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool is_not_found(const Result<void>& done) { return !done && done.error().code() == Code::kNotFound; }

// Removes directories in which there is nothing but such directories.
Task<Result<void>> remove_empty_directories(Store& store, std::string directory, uint32_t depth) {
  CANOPY_CO_ASSIGN(auto inside, co_await list_all(store, directory, kStoreDirectoryPageEntries));
  for (const DirectoryEntry& entry : inside) {
    if (entry.type != FileType::kDirectory || depth == 0)
      co_return fail(Code::kNotEmpty, std::move(directory), "there is something in it");
    CANOPY_CO_TRY(co_await remove_empty_directories(store, directory + "/" + entry.name, depth - 1));
  }
  co_return co_await store.remove_directory(std::move(directory), Durable::kYes);
}

// Folders without anything in them are what late requests of creations may leave of a name that has moved.
Task<Result<void>> rename_to_place(Store& store, std::string from, std::string to) {
  CANOPY_CO_TRY(co_await make_directories(store, std::string(store_parent_of(to)), 0700, Durable::kYes));
  auto done = co_await move_into(store, from, to, RenameMode::kNoReplace, Durable::kYes);
  if (done || (done.error().code() != Code::kAlreadyExists && done.error().code() != Code::kNotEmpty))
    co_return done;
  auto removed = co_await remove_empty_directories(store, to, kFolderingLevelsMax + 2);
  if (!removed) co_return done;
  co_return co_await move_into(store, from, to, RenameMode::kNoReplace, Durable::kYes);
}

// It may have been on its way to another place than this one: its settings then name that place only. They
// get every layout that something of it may lie under once it is here.
Task<Result<void>> prepare_for(SettingsFiles& files, const TreeSettings& tree, std::string staged,
                               Foldering to) {
  const std::string path = fmt::format("{}/{}", staged, name_in(domain_settings_file(to, name_in(staged))));
  auto file = co_await files.read(path);
  if (!file && file.error().retryable()) co_return fail(std::move(file).error());
  if (!file) co_return Result<void>();  // a creation without an end, or damaged: nobody is served from it
  auto domain = make_domain(tree, name_in(staged), *file, to);
  if (!domain) co_return Result<void>();
  std::vector<TreeLayout> layouts = (*domain)->older;
  for (const TreeLayout& older : (*domain)->older)
    add_after_move(layouts, older, older.domain_foldering(), to);
  std::erase(layouts, (*domain)->layout);
  if (layouts.size() <= (*domain)->older.size()) co_return Result<void>();
  if (layouts.size() > kSupersededMax)
    co_return fail(Code::kInvalidArgument, std::move(staged), "its accounts lie under too many layouts");
  put_superseded(layouts, std::nullopt, file->dict);
  auto written = co_await files.replace((*domain)->slot, path, std::move(*file));
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

Task<Result<void>> bring_to_a_place(SettingsFiles& files, const TreeSettings& tree, std::string staged) {
  const std::string name = name_in(staged);
  std::vector<Foldering> folderings = {tree.domain_foldering};
  folderings.insert(folderings.end(), tree.older_domain_folderings.begin(),
                    tree.older_domain_folderings.end());
  Result<void> done;
  for (const Foldering& foldering : folderings) {
    done = co_await prepare_for(files, tree, staged, foldering);
    if (done) done = co_await rename_to_place(files.store(), staged, domain_directory(foldering, name));
    // Of another store, or with something in the way: the next one.
    if (done || done.error().retryable() || is_not_found(done)) break;
  }
  co_return done;
}

// A rename into it that is on its way finds nothing once it has gone; what is in it already gets another name
// first, so that a rename of that which is on its way finds nothing either.
Task<Result<void>> settle_passage(SettingsFiles& files, const TreeSettings& tree, std::string passage,
                                  std::vector<StrandedDomain>& stranded) {
  Store& store = files.store();
  auto gone = co_await store.remove_directory(passage, Durable::kYes);
  if (gone || is_not_found(gone)) co_return Result<void>();
  if (gone.error().code() != Code::kNotEmpty && gone.error().code() != Code::kAlreadyExists) co_return gone;
  CANOPY_CO_ASSIGN(auto inside, co_await list_all(store, passage, kStoreDirectoryPageEntries));
  for (const DirectoryEntry& entry : inside) {
    CANOPY_CO_ASSIGN(const std::string next, co_await files.passage(passage));
    const std::string staged = next + "/" + entry.name;
    auto taken =
        co_await store.rename(passage + "/" + entry.name, staged, RenameMode::kNoReplace, Durable::kYes);
    if (!taken && !is_not_found(taken)) co_return taken;
    auto brought = taken ? co_await bring_to_a_place(files, tree, staged) : Result<void>();
    if (!brought && brought.error().retryable()) co_return brought;
    if (!brought) stranded.push_back({entry.name, staged, std::move(brought).error()});
    (void)co_await store.remove_directory(next, Durable::kNo);
  }
  gone = co_await store.remove_directory(passage, Durable::kYes);
  if (is_not_found(gone)) co_return Result<void>();
  co_return gone;
}

}  // namespace

Result<DomainMove> plan_domain_move(const Domain& domain, const Foldering& to) {
  const Foldering& from = domain.layout.domain_foldering();
  CANOPY_ASSIGN(const TreeLayout target,
                TreeLayout::make(to, domain.layout.account_foldering(), domain.layout.fast_index()));
  DomainMove move;
  move.from = domain.directory();
  move.to = target.domain_directory(domain.name);
  std::vector<TreeLayout> present = {domain.layout};
  for (const TreeLayout& older : domain.older) add_once(present, older);
  std::vector<TreeLayout> after;
  for (const TreeLayout& layout : present) add_after_move(after, layout, from, to);
  std::erase(after, target);
  if (after.empty() && domain.older.empty()) return move;
  move.superseded = std::move(after);
  for (const TreeLayout& layout : present) add_once(move.superseded, layout);
  if (move.superseded.size() > kSupersededMax)
    return fail(Code::kBusy, domain.name,
                "its accounts lie under too many layouts already; it moves when they have arrived");
  return move;
}

Task<Result<void>> move_domain_directory(SettingsFiles& files, std::string from, std::string to) {
  Store& store = files.store();
  if (from == to) co_return Result<void>();  // methods differ, and folders do not
  if (!store.shared_at(from)) co_return co_await rename_to_place(store, std::move(from), std::move(to));
  CANOPY_CO_ASSIGN(const std::string passage, co_await files.passage(from));
  const std::string staged = passage + "/" + name_in(from);
  auto taken = co_await store.rename(from, staged, RenameMode::kNoReplace, Durable::kYes);
  if (!taken) co_return fail(co_await files.fenced_if_gone(passage, std::move(taken).error()));
  CANOPY_CO_TRY(co_await rename_to_place(store, staged, std::move(to)));
  (void)co_await store.remove_directory(passage, Durable::kNo);  // it goes with the stage
  co_return Result<void>();
}

Task<Result<std::vector<StrandedDomain>>> settle_domains(SettingsFiles& files, const TreeSettings& tree,
                                                         StoreSite site) {
  std::vector<StrandedDomain> stranded;
  const std::string all = files.passages_at(site);
  auto passages = co_await list_all(files.store(), all, kPassagesMax);
  if (!passages && passages.error().code() == Code::kNotFound) co_return stranded;
  if (!passages) co_return fail(std::move(passages).error());
  for (const DirectoryEntry& passage : *passages)
    CANOPY_CO_TRY(co_await settle_passage(files, tree, all + "/" + passage.name, stranded));
  co_return stranded;
}

Task<Result<Foldering>> find_domain(Store& store, const TreeSettings& tree, std::string name) {
  std::vector<Foldering> places = {tree.domain_foldering};
  places.insert(places.end(), tree.older_domain_folderings.begin(), tree.older_domain_folderings.end());
  for (const Foldering& foldering : places) {
    auto there = co_await store.attributes(domain_settings_file(foldering, name));
    if (there) co_return foldering;
    if (there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
  }
  co_return fail(Code::kNotFound, std::move(name), "it lies at none of the places that it may have");
}

Task<void> remove_empty_parents(Store& store, std::string directory) {
  for (;;) {
    directory = std::string(store_parent_of(directory));
    if (directory.empty() || directory == kTreeRoot) co_return;
    if (!co_await store.remove_directory(directory, Durable::kNo)) co_return;  // something is in it
  }
}

}  // namespace canopy
