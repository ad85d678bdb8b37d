#include "daemon/tree/layout_votes.h"

#include <algorithm>

namespace canopy {
namespace {

// Code points of a folder's name; 0 when it is too long for a level.
uint32_t letters_of(std::string_view folder) {
  const auto count =
      std::ranges::count_if(folder, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return count > kFolderingLettersMax ? 0 : static_cast<uint32_t>(count);
}

std::string text_of(const LayoutClaim& claim) {
  std::string text = claim.fast_index ? std::to_string(*claim.fast_index) : "-";
  for (const Foldering& method : claim.methods) text += " " + method.to_string();
  return text;
}

}  // namespace

std::vector<Foldering> folderings_of(std::span<const std::string> folders, std::string_view name) {
  if (folders.empty()) return {Foldering()};
  std::string counts, path;
  for (const std::string& folder : folders) {
    const uint32_t letters = letters_of(folder);
    if (letters == 0) return {};
    if (!counts.empty()) counts += '-';
    counts += std::to_string(letters);
    (path += folder) += kFolderSuffix;
    path += '/';
  }
  std::vector<Foldering> found;
  for (const char* kind : {"", "hash-"}) {
    const auto method = Foldering::parse(kind + counts);
    if (!method) continue;
    std::string expected;
    method->append_folders(expected, name);
    if (expected == path) found.push_back(*method);
  }
  return found;
}

bool LayoutClaim::fits(const TreeLayout& layout) const {
  return std::ranges::find(methods, layout.account_foldering()) != methods.end() &&
         (!fast_index || *fast_index == layout.fast_index());
}

void LayoutVotes::add(const LayoutClaim& claim) {
  if (claim.methods.empty()) return;
  Counted& counted = claims_[text_of(claim)];
  if (counted.count++ == 0) counted.claim = claim;
}

std::vector<TreeLayout> LayoutVotes::choose(const Foldering& domains, std::vector<TreeLayout> first) const {
  std::vector<TreeLayout> chosen = std::move(first);
  std::vector<const Counted*> open;
  std::map<uint32_t, uint64_t> indexes = {{0, 0}};
  for (const auto& [text, counted] : claims_) {
    open.push_back(&counted);
    if (counted.claim.fast_index) indexes[*counted.claim.fast_index] += counted.count;
  }
  // What nothing says lies as most do.
  uint32_t usual = 0;
  for (const auto& [index, count] : indexes)
    if (count > indexes[usual]) usual = index;
  const auto covered = [&](const Counted* of) {
    return std::ranges::any_of(chosen, [&](const TreeLayout& layout) { return of->claim.fits(layout); });
  };
  const auto votes_for = [&](const TreeLayout& layout) {
    uint64_t votes = 0;
    for (const Counted* of : open)
      if (of->claim.fits(layout)) votes += of->count;
    return votes;
  };
  std::erase_if(open, covered);
  while (!open.empty() && chosen.size() < kLayoutsOfDomainMax) {
    std::optional<TreeLayout> best;
    uint64_t most = 0;
    for (const Counted* of : open) {
      for (const Foldering& method : of->claim.methods) {
        auto layout = TreeLayout::make(domains, method, of->claim.fast_index.value_or(usual));
        if (!layout && !of->claim.fast_index) layout = TreeLayout::make(domains, method, 0);
        if (!layout) continue;
        const uint64_t votes = votes_for(*layout);
        // Of two that explain as much the one by letters: few names begin with their hash.
        if (votes > most ||
            (votes == most && best && best->account_foldering().hashed() && !method.hashed())) {
          most = votes;
          best = *layout;
        }
      }
    }
    if (!best) break;  // what is left is under a fast index that its method does not have
    chosen.push_back(*best);
    std::erase_if(open, covered);
  }
  if (chosen.empty()) {
    auto flat = TreeLayout::make(domains, Foldering(), 0);
    if (flat) chosen.push_back(*flat);
  }
  return chosen;
}

}  // namespace canopy
