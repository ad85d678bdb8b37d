#include "daemon/store/set/asking.h"

#include "daemon/store/departure.h"
#include "daemon/store/store_path.h"
#include "daemon/tree/layout.h"

namespace canopy {
namespace {

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}
bool is_or_below(std::string_view path, std::string_view directory) {
  return path == directory || is_below(path, directory);
}

}  // namespace

StoreSet::StoreSet(Loop& loop, std::unique_ptr<Store> root, StoreSetOptions options)
    : loop_(loop),
      options_(std::move(options)),
      root_(std::move(root)),
      config_(std::make_shared<const StoresConfig>(StoresConfig::root_only())),
      mounts_(config_->mounts),
      probes_(loop),
      asked_(loop) {
  StoreConfig config;
  config.name = kRootStoreName;
  config.address = "dir:";
  root_member_ = std::make_shared<SetMember>(loop_, std::move(config), root_);
  alone_ = !root_->shared();
  members_.emplace(kRootStoreName, root_member_);
}

StoreSet::~StoreSet() = default;

void StoreSet::apply(std::shared_ptr<const StoresConfig> config) {
  for (auto at = members_.begin(); at != members_.end();) {
    const auto wanted = config->stores.find(at->first);
    const bool stays = at->second == root_member_ ||
                       (wanted != config->stores.end() && wanted->second.is_same_place(at->second->config_));
    if (stays) {
      if (at->second != root_member_) at->second->config_ = wanted->second;
      ++at;
      continue;
    }
    at->second->retire(wanted != config->stores.end());
    at = members_.erase(at);
  }
  for (const auto& [name, one] : config->stores) {
    if (members_.contains(name)) continue;
    auto member = std::make_shared<SetMember>(loop_, one, nullptr);
    members_.emplace(name, member);
    probes_.spawn(watch(std::move(member)));
  }
  if (!std::exchange(watching_root_, true)) probes_.spawn(watch(root_member_));
  config_ = std::move(config);
  mounts_ = config_->mounts;
  alone_ = !root_->shared() && mounts_->is_single() && mounts_->table().root().store == kRootStoreName &&
           mounts_->table().root().prefix.empty();
  found_.clear();
  merged_.clear();
}

bool StoreSet::alone(std::string_view path) const { return alone_ && !is_or_below(path, kStoresElement); }

std::vector<MemberRef> StoreSet::members() const {
  std::vector<MemberRef> all{root_member_};
  for (const auto& [name, member] : members_)
    if (member != root_member_) all.push_back(member);
  return all;
}

MemberRef StoreSet::member(std::string_view name) const {
  const auto at = members_.find(name);
  return at == members_.end() ? nullptr : at->second;
}

StoreSet::Place StoreSet::place_at(const MountRow& row, std::string_view path) const {
  MemberRef of = member(row.store);
  if (!of) {  // of an older table, whose store has been removed since
    StoreConfig gone;
    gone.name = row.store;
    of = std::make_shared<SetMember>(loop_, std::move(gone), nullptr);
  }
  return {std::move(of), &row, path_on_store(row, path)};
}

// What the table has no say in.
std::optional<StoreSet::Place> StoreSet::fixed_place_of(std::string_view path) const {
  if (is_or_below(path, kStoresElement)) {
    std::string_view rest = path.substr(std::min(kStoresElement.size() + 1, path.size()));
    const size_t slash = std::min(rest.find('/'), rest.size());
    const MountRow named{"", std::string(rest.substr(0, slash)), ""};
    if (named.store.empty()) return Place{root_member_, nullptr, std::string(path)};
    Place place = place_at(named, rest.substr(std::min(slash + 1, rest.size())));
    place.row = nullptr;
    return place;
  }
  if (is_below(path, kUnlinkedDirectory)) {  // on the store of the file whose id the name begins with
    const uint64_t id = std::strtoull(path.data() + kUnlinkedDirectory.size() + 1, nullptr, 10);
    for (const auto& [name, of] : members_)
      if (!of->is_root() && of->mix(id) >> 40 == 0) return Place{of, nullptr, std::string(path)};
  }
  if (is_or_below(path, kTreeRoot)) {
    const std::string_view below = path.substr(std::min(kTreeRoot.size() + 1, path.size()));
    if (!below.starts_with(kHeartbeatElement)) return std::nullopt;
  }
  return Place{root_member_, nullptr, std::string(path)};
}

StoreSet::Places StoreSet::places_of(std::string_view path) const {
  Places places;
  places.mounts = mounts_;
  if (auto fixed = fixed_place_of(path)) {
    places.all.push_back(std::move(*fixed));
    if (path == kUnlinkedDirectory)
      for (const auto& [name, of] : members_)
        if (of != root_member_) places.all.push_back({of, nullptr, std::string(path)});
    return places;
  }
  const std::string_view object = object_of(path);
  const auto rows = mounts_->places_of(object);
  for (const MountRow* row : rows) places.all.push_back(place_at(*row, path));
  places.own = rows.size();
  const bool of_account = object.ends_with(kAccountSuffix);
  if (!of_account && mounts_->any_below(path))
    for (const MountRow* row : mounts_->places_below(path, rows)) places.all.push_back(place_at(*row, path));
  return places;
}

// Without the store's name only where the table has no say: it would lead elsewhere.
std::string StoreSet::pseudo_path(const Place& place) const {
  if (place.row == nullptr && place.member == root_member_ && !is_or_below(place.path, kTreeRoot))
    return place.path;
  std::string path = fmt::format("{}/{}", kStoresElement, place.member->name());
  return place.path.empty() ? path : path + "/" + place.path;
}

StoreSite StoreSet::site_at(const Place& place) const {
  StoreSite site{place.member->name(), "", pseudo_path(place)};
  if (place.member != root_member_) site.root = fmt::format("{}/{}", kStoresElement, site.name);
  return site;
}

Task<Result<Attributes>> StoreSet::attributes_at(Place place) {
  auto found = co_await SetMember::ask<Attributes>(
      place.member, [path = place.path](Store& store) { return store.attributes(path); });
  if (found) *found = place.member->mixed(*found);
  co_return found;
}

Task<Result<StoreSet::Located>> StoreSet::locate(Places places, std::string path) {
  if (places.own == 1) co_return Located{places.all.front(), false};
  const std::string object(object_of(path));
  std::vector<size_t> order;
  if (auto known = found_.find(object); known != found_.end())
    for (size_t i = 0; i < places.own; ++i)
      if (places.all[i].member->name() == known->second) order.push_back(i);
  for (size_t i = 0; i < places.own; ++i) order.push_back(i);
  order.push_back(0);  // it may have arrived there meanwhile
  std::optional<Error> unanswered;
  for (size_t i : order) {
    Place at = place_at(*places.all[i].row, object);
    auto there = co_await attributes_at(at);
    if (there && object.ends_with(kAccountSuffix)) {
      auto departed = co_await has_departed(*this, pseudo_path(at));
      if (departed && *departed) continue;
      if (!departed && departed.error().code() == Code::kNotDirectory) departed = false;  // no account's
      if (!departed) there = fail(std::move(departed).error());
    }
    if (there) {
      if (found_.size() >= kFoundPlacesMax) found_.clear();
      if (places.mounts == mounts_) found_[object] = at.member->name();
      co_return Located{places.all[i], true};
    }
    if (says_absent(there.error())) continue;
    if (!there.error().retryable()) co_return fail(std::move(there).error());
    unanswered = std::move(there).error();
  }
  if (unanswered) co_return fail(std::move(*unanswered));
  found_.erase(object);
  co_return Located{places.all.front(), false};
}

Task<Result<StoreSet::Place>> StoreSet::resolve(std::string path) {
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  if (places.single()) co_return std::move(places.all.front());
  if (places.all.size() > places.own) {
    auto parts = co_await parts_soon(places, path);
    if (parts) co_return std::move(parts->front().place);
    if (!says_absent(parts.error())) co_return fail(std::move(parts).error());
    co_return std::move(places.all.front());
  }
  auto located = co_await locate(std::move(places), std::move(path));
  if (!located) co_return fail(std::move(located).error());
  co_return std::move(located->place);
}

void StoreSet::forget_place(std::string_view path) {
  if (found_.empty()) return;
  found_.erase(std::string(object_of(path)));
}

void StoreSet::forget_names(std::string_view path) {
  found_.clear();
  if (path.empty() || alone(path)) {
    for (const auto& [name, member] : members_)
      if (const auto& store = member->store()) store->forget_names(path);
    return;
  }
  for (const Place& place : places_of(path).all)
    if (const auto& store = place.member->store()) store->forget_names(place.path);
}

Task<Result<StoreSet::Found>> StoreSet::find(std::string path) {
  Places places = places_of(path);
  auto located = co_await locate(places, path);
  if (!located) co_return fail(std::move(located).error());
  const bool newest = located->place.row == places.all.front().row;
  Found found{places.mounts, located->place.member, located->place.row,
              newest,        located->place.path,   located->exists};
  if (places.own == 1) {
    auto there = co_await attributes_at(located->place);
    if (!there && !says_absent(there.error())) co_return fail(std::move(there).error());
    found.exists = there.has_value();
  }
  co_return found;
}

bool StoreSet::shared() const {
  if (alone_) return root_->shared();
  return std::ranges::any_of(members_, [](const auto& of) { return of.second->shared(); });
}

bool StoreSet::shared_at(std::string_view path) const {
  if (alone(path)) return root_->shared();
  const Places places = places_of(path);
  return std::ranges::any_of(places.all, [](const Place& place) { return place.member->shared(); });
}

Task<Result<StoreSite>> StoreSet::site_of(std::string path) {
  if (alone(path)) co_return StoreSite{std::string(name()), "", std::move(path)};
  CANOPY_CO_ASSIGN(Place place, co_await resolve(path));
  co_return site_at(place);
}

std::vector<StoreSite> StoreSet::parts_of(std::string path) {
  if (alone(path)) return Store::parts_of(std::move(path));
  std::vector<StoreSite> sites;
  for (const Place& place : places_of(path).all) sites.push_back(site_at(place));
  return sites;
}

Task<Result<StoreSpace>> StoreSet::space() {
  if (alone_) return root_->space();
  return space_of(members());
}
// In sum, without those that do not answer.
Task<Result<StoreSpace>> StoreSet::space_of(std::vector<MemberRef> stores) {
  StoreSpace sum;
  Result<StoreSpace> last = sum;
  bool any = false;
  for (const MemberRef& member : stores) {
    if (!member->is_root() && member->usable() && member->space()) {
      last = *member->space();  // as its last probe found it: nobody waits for a store that just went away
    } else {
      last = co_await SetMember::ask<StoreSpace>(member, [](Store& store) { return store.space(); });
    }
    if (!last) continue;
    any = true;
    sum.bytes_total += last->bytes_total;
    sum.bytes_free += last->bytes_free;
    sum.files_total += last->files_total;
    sum.files_free += last->files_free;
  }
  if (!any) co_return last;
  co_return sum;
}

Task<Result<StoreSpace>> StoreSet::space_at(std::string path) {
  if (alone(path)) co_return co_await root_->space();
  CANOPY_CO_TRY(check_store_path(path));
  Places places = places_of(path);
  std::vector<MemberRef> on;
  if (places.own > 1 && object_of(path).ends_with(kAccountSuffix)) {
    CANOPY_CO_ASSIGN(Located located, co_await locate(std::move(places), std::move(path)));
    on.push_back(std::move(located.place.member));
  } else if (places.all.front().row == nullptr) {  // a fixed place, as that of a store itself
    for (const Place& place : places.all) on.push_back(place.member);
  } else {
    // What is new goes by the newest table, whatever lies elsewhere still.
    std::vector<const MountRow*> rows = mounts_->table().rows_below(path);
    rows.push_back(&mounts_->table().row_for(path));
    for (const MountRow* row : rows)
      if (MemberRef member = this->member(row->store); std::ranges::find(on, member) == on.end())
        on.push_back(std::move(member));
  }
  if (on.size() > 1) co_return co_await space_of(std::move(on));
  auto space = co_await SetMember::ask<StoreSpace>(on.front(), [](Store& store) { return store.space(); });
  if (space) space->bytes_reserved = on.front()->config().reserve_bytes;
  co_return space;
}

}  // namespace canopy
