#include "daemon/tree/mounts.h"

#include <algorithm>

#include "daemon/base/check.h"
#include "daemon/tree/layout.h"

namespace canopy {
namespace {

size_t elements_of(std::string_view path) {
  return path.empty() ? 0 : static_cast<size_t>(std::ranges::count(path, '/')) + 1;
}

// Compares element by element as far as both go. Answers how many elements of the path are left, or -1 when
// they differ; those of the pattern that are left are `below`.
int compare(const MountPattern& pattern, std::string_view path, size_t& below) {
  const auto& elements = pattern.elements();
  size_t depth = 0;
  int left = 0;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (depth == elements.size()) {
      ++left;
    } else if (!elements[depth++].matches(path.substr(0, slash))) {
      return -1;
    }
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  below = elements.size() - depth;
  return left;
}

bool matches(const MountPattern& pattern, std::string_view path) {
  size_t below = 0;
  return compare(pattern, path, below) >= 0 && below == 0;
}

bool same_place(const MountRow& a, const MountRow& b) { return a.store == b.store && a.prefix == b.prefix; }

void add_once(std::vector<const MountRow*>& rows, const MountRow& row) {
  if (std::ranges::none_of(rows, [&](const MountRow* other) { return same_place(*other, row); }))
    rows.push_back(&row);
}

std::pair<size_t, uint32_t> rank_of(const MountPattern& pattern) {
  return {pattern.elements().size(), pattern.literals()};
}

// Some path that `longer` matches is matched by `shorter`, too.
bool meets_above(const MountPattern& shorter, const MountPattern& longer) {
  for (size_t i = 0; i < shorter.elements().size(); ++i)
    if (!shorter.elements()[i].meets(longer.elements()[i])) return false;
  return true;
}

// Every path that `longer` matches is; said only where it is plain.
bool covers(const MountPattern& shorter, const MountPattern& longer) {
  for (size_t i = 0; i < shorter.elements().size(); ++i) {
    const PatternElement &a = shorter.elements()[i], &b = longer.elements()[i];
    const bool plain = a.text() == b.text() || (b.all_literal() && a.matches(b.text()));
    if (!plain) return false;
  }
  return true;
}

// Some path is matched by both.
bool meet(const MountPattern& a, const MountPattern& b) {
  return a.elements().size() <= b.elements().size() ? meets_above(a, b) : meets_above(b, a);
}

// Those of `rows` of the table that serve paths of `pattern`, the highest first.
std::vector<const MountRow*> serving(const MountTable& table, std::vector<const MountRow*> rows,
                                     const MountPattern& pattern) {
  std::erase_if(rows, [&](const MountRow* row) { return !meet(table.pattern_of(*row), pattern); });
  std::ranges::sort(rows, std::greater(),
                    [&](const MountRow* row) { return rank_of(table.pattern_of(*row)); });
  const auto all = std::ranges::find_if(rows, [&](const MountRow* row) {
    const MountPattern& of = table.pattern_of(*row);
    return of.elements().size() <= pattern.elements().size() && covers(of, pattern);
  });
  if (all != rows.end()) rows.erase(all + 1, rows.end());
  return rows;
}

// The rows of `table` that served paths of `pattern` before a row of that pattern came.
std::vector<const MountRow*> served_before(const MountTable& table, const MountPattern& pattern) {
  std::vector<const MountRow*> lower;
  for (const MountRow& row : table.rows())
    if (rank_of(table.pattern_of(row)) <= rank_of(pattern)) lower.push_back(&row);
  return serving(table, std::move(lower), pattern);
}

bool names_one_account(const MountPattern& pattern) {
  const auto& elements = pattern.elements();
  return !elements.empty() && elements.back().text().ends_with(kAccountSuffix) &&
         std::ranges::all_of(elements, &PatternElement::all_literal);
}

Result<void> check_above_accounts(const MountTable& table) {
  for (const MountRow& row : table.rows()) {
    const auto& elements = table.pattern_of(row).elements();
    for (size_t i = 0; i + 1 < elements.size(); ++i) {
      if (!elements[i].text().ends_with(kAccountSuffix)) continue;
      return fail(Code::kInvalidArgument, fmt::format("mount row {}", row.pattern),
                  "an account's directory lies on one store: no row names a part of it");
    }
  }
  return {};
}

}  // namespace

Mounts::Mounts(MountTable table, std::vector<MountRow> superseded, std::vector<MountPattern> patterns)
    : table_(std::move(table)),
      superseded_(std::move(superseded)),
      superseded_patterns_(std::move(patterns)) {
  for (const MountRow& row : table_.rows())
    elements_max_ = std::max(elements_max_, table_.pattern_of(row).elements().size());
  for (const MountPattern& pattern : superseded_patterns_)
    elements_max_ = std::max(elements_max_, pattern.elements().size());
}

Mounts Mounts::single(std::string_view root_store) { return {MountTable::single(root_store), {}, {}}; }

Result<Mounts> Mounts::make(std::vector<MountRow> rows, std::vector<MountRow> superseded) {
  CANOPY_ASSIGN(MountTable table, MountTable::make(std::move(rows)));
  CANOPY_TRY(check_above_accounts(table));
  std::vector<MountRow> kept;
  std::vector<MountPattern> patterns;
  for (MountRow& row : superseded) {
    CANOPY_ASSIGN(MountPattern pattern, MountPattern::parse(row.pattern));
    row.pattern = pattern.to_string();
    if (std::ranges::find(kept, row) != kept.end()) continue;
    kept.push_back(std::move(row));
    patterns.push_back(std::move(pattern));
  }
  if (kept.size() > kSupersededRowsMax) {
    return fail(Code::kTooLarge, "mount table",
                fmt::format("more than {} superseded rows: move what lies there first", kSupersededRowsMax));
  }
  return Mounts(std::move(table), std::move(kept), std::move(patterns));
}

Result<Mounts> Mounts::changed(std::vector<MountRow> rows) const {
  CANOPY_ASSIGN(Mounts next, make(std::move(rows)));
  std::vector<MountRow> superseded;
  for (const MountRow& old : table_.rows())
    if (std::ranges::none_of(next.table_.rows(), [&](const MountRow& row) { return old == row; }))
      superseded.push_back(old);
  for (const MountRow& row : next.table_.rows()) {
    if (std::ranges::any_of(table_.rows(), [&](const MountRow& old) { return old == row; })) continue;
    const MountPattern& pattern = next.table_.pattern_of(row);
    for (const MountRow* before : served_before(table_, pattern))
      superseded.push_back({row.pattern, before->store, before->prefix});
  }
  superseded.insert(superseded.end(), superseded_.begin(), superseded_.end());
  std::vector<MountRow> now(next.table_.rows().begin(), next.table_.rows().end());
  return make(std::move(now), std::move(superseded));
}

Mounts Mounts::without(const std::vector<MountRow>& drained) const {
  std::vector<MountRow> kept;
  for (const MountRow& row : superseded_)
    if (std::ranges::find(drained, row) == drained.end()) kept.push_back(row);
  auto made = make({table_.rows().begin(), table_.rows().end()}, std::move(kept));
  CANOPY_CHECK(made.has_value());
  return std::move(*made);
}

std::set<std::string> Mounts::stores() const {
  std::set<std::string> names;
  for (const MountRow& row : table_.rows()) names.insert(row.store);
  for (const MountRow& row : superseded_) names.insert(row.store);
  return names;
}

std::set<std::string> Mounts::stores_moved_to() const {
  constexpr size_t kComparedMax = 1 << 16;
  const bool many = table_.rows().size() * superseded_.size() > kComparedMax;
  std::set<std::string> names;
  std::vector<const MountRow*> rows;
  for (const MountRow& row : table_.rows()) {
    rows.push_back(&row);
    if (many) names.insert(row.store);
  }
  if (many) return names;
  for (size_t i = 0; i < superseded_.size(); ++i)
    for (const MountRow* row : serving(table_, rows, superseded_patterns_[i]))
      if (!same_place(*row, superseded_[i])) names.insert(row->store);
  return names;
}

std::vector<const MountRow*> Mounts::places_of(std::string_view path) const {
  std::vector<const MountRow*> places{&table_.row_for(path)};
  for (size_t i = 0; i < superseded_.size(); ++i)
    if (matches(superseded_patterns_[i], path)) add_once(places, superseded_[i]);
  return places;
}

bool Mounts::may_have_led_to(std::string_view domain_directory) const {
  return std::ranges::any_of(superseded_patterns_, [&](const MountPattern& pattern) {
    size_t below = 0;
    return !names_one_account(pattern) || compare(pattern, domain_directory, below) >= 0;
  });
}

size_t Mounts::superseded_of_one_account() const {
  return static_cast<size_t>(std::ranges::count_if(superseded_patterns_, names_one_account));
}

bool Mounts::any_below(std::string_view path) const { return elements_of(path) < elements_max_; }

std::vector<const MountRow*> Mounts::places_below(std::string_view path,
                                                  const std::vector<const MountRow*>& except) const {
  std::vector<const MountRow*> all = except;
  if (any_below(path)) {
    size_t below = 0;
    for (const MountRow& row : table_.rows())
      if (compare(table_.pattern_of(row), path, below) == 0 && below > 0) add_once(all, row);
    for (size_t i = 0; i < superseded_.size(); ++i)
      if (compare(superseded_patterns_[i], path, below) == 0 && below > 0) add_once(all, superseded_[i]);
  }
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(except.size()));
  return all;
}

std::string path_on_store(const MountRow& row, std::string_view path) {
  std::string at = row.prefix;
  if (!at.empty() && !path.empty()) at += '/';
  return at.append(path);
}

std::string_view object_of(std::string_view path) {
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    if (at > 0 && path.substr(at, slash - at).ends_with(kAccountSuffix)) return path.substr(0, slash);
    at = slash + 1;
  }
  return path;
}

}  // namespace canopy
