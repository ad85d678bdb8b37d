#include "daemon/tree/mount_table.h"

#include "daemon/base/check.h"

namespace canopy {

// The rows as a tree of pattern elements: literal ones by hash, the others by trial.
struct MountTable::Node {
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, std::unique_ptr<Node>, Hash, std::equal_to<>> literal;
  std::vector<std::pair<PatternElement, std::unique_ptr<Node>>> others;
  int64_t row = -1;  // the row that ends here; two rows with one canonical pattern are a tie
};

struct MountTable::Tables {
  std::vector<MountRow> rows;  // sorted by pattern
  std::vector<MountPattern> patterns;
  Node base;
  size_t root = 0;

  struct Best {
    size_t row = 0;
    size_t elements = 0;
    uint32_t literals = 0;
  };

  void add(size_t row);
  void find(const Node& node, std::string_view rest, Best& best) const;
};

namespace {

std::unexpected<Error> refuse_row(const MountRow& row, std::string message) {
  return fail(Code::kInvalidArgument, fmt::format("mount row {}", row.pattern), std::move(message));
}

Result<> check_store_and_prefix(const MountRow& row) {
  if (row.store.empty() || row.store.size() > kMountStoreNameBytesMax) {
    return refuse_row(row, fmt::format("a store's name has 1 to {} bytes", kMountStoreNameBytesMax));
  }
  for (char c : row.store) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                c == '_' || c == '.';
    if (!good) return refuse_row(row, "a store's name has letters, digits, '-', '_' and '.'");
  }
  if (row.prefix.empty()) return {};
  if (row.prefix.size() > kMountPatternBytesMax) {
    return refuse_row(row, fmt::format("a prefix is longer than {} bytes", kMountPatternBytesMax));
  }
  std::string_view prefix = row.prefix;
  for (size_t at = 0; at <= prefix.size();) {
    size_t slash = std::min(prefix.find('/', at), prefix.size());
    std::string_view element = prefix.substr(at, slash - at);
    if (element.empty() || element == "." || element == "..") {
      return refuse_row(row, "a prefix is a relative path without empty elements, '.' and '..'");
    }
    for (char c : element) {
      if (static_cast<uint8_t>(c) <= 0x20 || c == 0x7f)
        return refuse_row(row, "a prefix has no spaces and control characters");
    }
    at = slash + 1;
  }
  return {};
}

// The first path element of `rest`; answers what follows its '/'.
std::string_view split(std::string_view rest, std::string_view& element) {
  size_t slash = std::min(rest.find('/'), rest.size());
  element = rest.substr(0, slash);
  return rest.substr(std::min(slash + 1, rest.size()));
}

// Rows that could tie have equal depth and equally many literal characters: only those are compared.
Result<> refuse_ties(const std::vector<MountRow>& rows, const std::vector<MountPattern>& patterns) {
  std::map<std::pair<size_t, uint32_t>, std::vector<size_t>> groups;
  for (size_t i = 0; i < rows.size(); ++i)
    groups[{patterns[i].elements().size(), patterns[i].literals()}].push_back(i);
  for (const auto& [rank, members] : groups) {
    std::unordered_map<std::string_view, size_t>
        literal;  // these meet only their equals: no need to compare all pairs
    std::vector<size_t> others;
    for (size_t i : members) {
      bool all_literal = true;
      for (const PatternElement& element : patterns[i].elements())
        all_literal = all_literal && element.all_literal();
      if (all_literal) {
        auto [at, fresh] = literal.emplace(rows[i].pattern, i);
        if (!fresh) return refuse_row(rows[i], "stands twice");
      } else {
        others.push_back(i);
      }
    }
    // Equally many literals and equal depth: a pattern with brackets has more places than a literal one, or
    // `*`.
    for (const size_t a : others) {
      for (const size_t b : members) {
        if (b == a || !patterns[a].meets(patterns[b])) continue;
        return refuse_row(rows[a],
                          fmt::format("ties with row {}: some path matches both with equally many elements "
                                      "and literal characters",
                                      rows[b].pattern));
      }
    }
  }
  return {};
}

}  // namespace

void MountTable::Tables::add(size_t row) {
  Node* node = &base;
  for (const PatternElement& element : patterns[row].elements()) {
    if (element.all_literal()) {
      std::unique_ptr<Node>& next = node->literal[element.text()];
      if (!next) next = std::make_unique<Node>();
      node = next.get();
      continue;
    }
    auto same = [&](const auto& other) { return other.first.text() == element.text(); };
    auto at = std::find_if(node->others.begin(), node->others.end(), same);
    if (at == node->others.end()) {
      node->others.emplace_back(element, std::make_unique<Node>());
      at = node->others.end() - 1;
    }
    node = at->second.get();
  }
  node->row = static_cast<int64_t>(row);
}

void MountTable::Tables::find(const Node& node, std::string_view rest, Best& best) const {
  if (node.row >= 0) {
    const MountPattern& pattern = patterns[static_cast<size_t>(node.row)];
    std::pair rank{pattern.elements().size(), pattern.literals()};
    if (rank > std::pair{best.elements, best.literals}) {
      best = {static_cast<size_t>(node.row), rank.first, rank.second};
    }
  }
  if (rest.empty()) return;
  std::string_view element;
  std::string_view below = split(rest, element);
  auto literal = node.literal.find(element);
  if (literal != node.literal.end()) find(*literal->second, below, best);
  for (const auto& [pattern, next] : node.others) {
    if (pattern.matches(element)) find(*next, below, best);
  }
}

MountTable::MountTable(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
MountTable::MountTable(MountTable&&) noexcept = default;
MountTable& MountTable::operator=(MountTable&&) noexcept = default;
MountTable::~MountTable() = default;

MountTable MountTable::single(std::string_view root_store) {
  Result<MountTable> table = make({MountRow{"/", std::string(root_store), ""}});
  CANOPY_CHECK(table.has_value());
  return *std::move(table);
}

Result<MountTable> MountTable::make(std::vector<MountRow> rows) {
  if (rows.size() > kMountRowsMax) {
    return fail(Code::kTooLarge, "mount table", fmt::format("more than {} rows", kMountRowsMax));
  }
  for (MountRow& row : rows) {
    CANOPY_TRY(check_store_and_prefix(row));
    CANOPY_ASSIGN(MountPattern pattern, MountPattern::parse(row.pattern));
    row.pattern = pattern.to_string();
  }
  std::sort(rows.begin(), rows.end(),
            [](const MountRow& a, const MountRow& b) { return a.pattern < b.pattern; });
  auto tables = std::make_unique<Tables>();
  size_t roots = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    CANOPY_ASSIGN(MountPattern pattern, MountPattern::parse(rows[i].pattern));
    if (pattern.elements().empty()) {
      tables->root = i;
      ++roots;
    }
    tables->patterns.push_back(std::move(pattern));
  }
  if (roots != 1) {
    return fail(Code::kInvalidArgument, "mount table",
                fmt::format("has {} rows for the base directory ('/'), must have one", roots));
  }
  CANOPY_TRY(refuse_ties(rows, tables->patterns));
  tables->rows = std::move(rows);
  for (size_t i = 0; i < tables->rows.size(); ++i) tables->add(i);
  return MountTable(std::move(tables));
}

Result<MountRow> parse_mount_row(std::string_view line) {
  std::vector<std::string> words;
  for (size_t begin = 0; (begin = line.find_first_not_of(" \t\r", begin)) != std::string_view::npos;) {
    size_t stop = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.emplace_back(line.substr(begin, stop - begin));
    begin = stop;
  }
  if (words.size() < 2 || words.size() > 3)
    return fail(Code::kInvalidArgument, std::string(line), "a row is PATTERN STORE [PREFIX]");
  words.resize(3);
  return MountRow{std::move(words[0]), std::move(words[1]), std::move(words[2])};
}

Result<MountTable> MountTable::parse(std::string_view text) {
  std::vector<MountRow> rows;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos || line[begin] == '#') continue;
    auto row = parse_mount_row(line);
    if (!row) return fail(row.error().about(fmt::format("mount table:{}", number)));
    rows.push_back(std::move(*row));
  }
  return make(std::move(rows));
}

std::string MountTable::to_string() const {
  std::string out;
  for (const MountRow& row : tables_->rows) {
    out += row.pattern + "\t" + row.store;
    if (!row.prefix.empty()) out += "\t" + row.prefix;
    out += '\n';
  }
  return out;
}

const MountRow& MountTable::row_for(std::string_view path) const {
  Tables::Best best{tables_->root, 0, 0};
  tables_->find(tables_->base, path, best);
  return tables_->rows[best.row];
}

MountTable::Place MountTable::place_of(std::string_view path) const {
  const MountRow& row = row_for(path);
  Place place{&row, static_cast<uint32_t>(pattern_of(row).elements().size()), row.prefix};
  if (!place.store_path.empty() && !path.empty()) place.store_path += '/';
  place.store_path += path;
  return place;
}

std::vector<const MountRow*> MountTable::rows_below(std::string_view path) const {
  std::vector<const MountRow*> below;
  for (size_t i = 0; i < tables_->rows.size(); ++i) {
    const std::vector<PatternElement>& elements = tables_->patterns[i].elements();
    std::string_view rest = path;
    size_t depth = 0;
    bool matches = true;
    while (matches && !rest.empty()) {
      std::string_view element;
      rest = split(rest, element);
      matches = depth < elements.size() && elements[depth].matches(element);
      ++depth;
    }
    if (matches && depth < elements.size()) below.push_back(&tables_->rows[i]);
  }
  return below;
}

const MountRow& MountTable::root() const { return tables_->rows[tables_->root]; }
std::span<const MountRow> MountTable::rows() const { return tables_->rows; }

const MountPattern& MountTable::pattern_of(const MountRow& row) const {
  size_t index = static_cast<size_t>(&row - tables_->rows.data());
  CANOPY_CHECK(index < tables_->rows.size());
  return tables_->patterns[index];
}

bool MountTable::operator==(const MountTable& other) const { return tables_->rows == other.tables_->rows; }

}  // namespace canopy
