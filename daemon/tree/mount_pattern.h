// One pattern of the mount table: path elements in which `[a-d]` stands for one code point of a set and an
// element
// `*` for any one name (docs/formats/tree.md, "Mount table"). Immutable after parse; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.h"

namespace canopy {

struct CodePointRange {
  uint32_t first = 0, last = 0;  // both included
  bool operator==(const CodePointRange&) const = default;
};

// One place in an element: sorted, disjoint ranges. A literal character is one range of one code point.
struct PatternPlace {
  std::vector<CodePointRange> ranges;
  bool literal = false;  // written without brackets

  bool contains(uint32_t code_point) const;
  bool meets(const PatternPlace& other) const;
  bool operator==(const PatternPlace&) const = default;
};

class PatternElement {
 public:
  static Result<PatternElement> parse(std::string_view text);

  bool matches(std::string_view element) const;
  bool meets(const PatternElement& other) const;  // some name matches both
  bool any() const { return any_; }               // `*`
  bool all_literal() const { return all_literal_; }
  uint32_t literals() const { return literals_; }    // code points
  const std::string& text() const { return text_; }  // canonical; the name itself when all_literal()
  const std::vector<PatternPlace>& places() const { return places_; }

 private:
  std::string text_;
  std::vector<PatternPlace> places_;
  uint32_t literals_ = 0;
  bool any_ = false;
  bool all_literal_ = true;
};

class MountPattern {
 public:
  MountPattern() = default;  // the base directory: matches every path
  // "" or "/" is the base directory; others begin with SharedDomains and name no file of the controller's.
  static Result<MountPattern> parse(std::string_view text);

  const std::vector<PatternElement>& elements() const { return elements_; }
  uint32_t literals() const { return literals_; }
  std::string to_string() const;                // canonical; "/" for the base directory
  bool meets(const MountPattern& other) const;  // of the same depth, and some path matches both

 private:
  std::vector<PatternElement> elements_;
  uint32_t literals_ = 0;
};

// Canonical text of one place: "a", "[a-dx]", "[\u{80}-\u{10FFFF}]".
std::string print_place(const std::vector<CodePointRange>& ranges, bool literal);
// The next code point of `utf8` at `at`, which moves past it; bytes that are no UTF-8 count one each, from
// 0x110000 up.
uint32_t next_code_point(std::string_view utf8, size_t& at);
void append_utf8(std::string& out, uint32_t code_point);

}  // namespace canopy
