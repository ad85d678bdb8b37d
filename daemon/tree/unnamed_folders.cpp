#include "daemon/tree/layout.h"
#include "daemon/tree/mount_table.h"

namespace canopy {

namespace {

constexpr size_t kUnnamedFoldersMax = 1024;  // an answer for people; more would not be read

// A group's last elements without `.sub`: as many places each as the folder has letters.
using Letters = std::vector<const PatternPlace*>;

// Everything a letter of a folder can be (docs/formats/tree.md, "Foldering").
const std::vector<CodePointRange> kAlphabet = {{'0', '9'}, {'_', '_'}, {'a', 'z'}, {0x80, 0x10ffff}};

// Cuts the alphabet so that within a piece every row's place says the same.
std::vector<CodePointRange> pieces_of(const std::vector<Letters>& rows, size_t place) {
  std::set<uint32_t> cuts;
  for (const Letters& row : rows) {
    for (CodePointRange range : row[place]->ranges) {
      cuts.insert(range.first);
      cuts.insert(range.last + 1);
    }
  }
  std::vector<CodePointRange> pieces;
  for (CodePointRange whole : kAlphabet) {
    uint32_t first = whole.first;
    for (auto cut = cuts.upper_bound(first); cut != cuts.end() && *cut <= whole.last; ++cut) {
      pieces.push_back({first, *cut - 1});
      first = *cut;
    }
    pieces.push_back({first, whole.last});
  }
  return pieces;
}

// Appends to `out` what no row of `rows` names from `place` on, each behind `before`.
void find_gaps(const std::vector<Letters>& rows, size_t place, size_t places, const std::string& before,
               std::vector<std::string>& out) {
  if (place == places || out.size() >= kUnnamedFoldersMax) return;
  // Pieces that the same rows contain go on together.
  std::map<std::vector<size_t>, std::vector<CodePointRange>> by_rows;
  for (CodePointRange piece : pieces_of(rows, place)) {
    std::vector<size_t> holding;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i][place]->contains(piece.first)) holding.push_back(i);
    }
    by_rows[holding].push_back(piece);
  }
  for (auto& [holding, pieces] : by_rows) {
    std::vector<CodePointRange> merged;
    for (CodePointRange piece : pieces) {
      if (!merged.empty() && merged.back().last + 1 == piece.first) {
        merged.back().last = piece.last;
      } else {
        merged.push_back(piece);
      }
    }
    bool one = merged.size() == 1 && merged[0].first == merged[0].last;
    std::string text = before + print_place(merged, one);
    if (holding.empty()) {
      for (size_t i = place + 1; i < places; ++i) text += print_place(kAlphabet, false);
      out.push_back(text + std::string(kFolderSuffix));
      continue;
    }
    std::vector<Letters> narrowed;
    for (size_t i : holding) narrowed.push_back(rows[i]);
    find_gaps(narrowed, place + 1, places, text, out);
  }
}

// The letters of an `x.sub` element; empty when it is none.
Letters letters_of(const PatternElement& element) {
  Letters letters;
  const std::vector<PatternPlace>& places = element.places();
  if (places.size() <= kFolderSuffix.size()) return letters;
  size_t count = places.size() - kFolderSuffix.size();
  if (count > kFolderingLettersMax) return letters;
  for (size_t i = 0; i < kFolderSuffix.size(); ++i) {
    const PatternPlace& place = places[count + i];
    if (!place.literal || place.ranges[0].first != static_cast<uint8_t>(kFolderSuffix[i])) return letters;
  }
  for (size_t i = 0; i < count; ++i) letters.push_back(&places[i]);
  return letters;
}

}  // namespace

std::vector<std::string> unnamed_folders(const MountTable& table) {
  // By the elements before the last one, and the number of letters: folders of one depth have one width.
  std::map<std::pair<std::string, size_t>, std::vector<Letters>> groups;
  for (const MountRow& row : table.rows()) {
    const MountPattern& pattern = table.pattern_of(row);
    if (pattern.elements().empty()) continue;
    Letters letters = letters_of(pattern.elements().back());
    if (letters.empty()) continue;
    std::string parent = row.pattern.substr(0, row.pattern.size() - pattern.elements().back().text().size());
    groups[{parent, letters.size()}].push_back(std::move(letters));
  }
  std::vector<std::string> out;
  for (const auto& [group, rows] : groups) find_gaps(rows, 0, group.second, group.first, out);
  return out;
}

}  // namespace canopy
