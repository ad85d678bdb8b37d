// MimeScanner: takes a message in pieces of any size and finds its structure (RFC 2045, RFC 2046): the tree
// of its parts with their header fields and exact sizes. Memory is bounded whatever comes: header fields up
// to kMimeFieldBytesMax in all, kMimePartsMax parts, kMimeDepthMax levels; content is counted, not kept. What
// lies deeper or beyond is one opaque part. Never fails. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/catalog/mime_fields.h"

namespace canopy {

inline constexpr size_t kMimeDepthMax = 32;
inline constexpr size_t kMimePartsMax = 1000;
inline constexpr size_t kMimeFieldBytesMax = 256u << 10;    // of all header fields kept of one message
inline constexpr size_t kMimeOneFieldBytesMax = 16u << 10;  // a longer field is cut
inline constexpr size_t kMimeBoundaryBytesMax = 250;        // a longer boundary delimits nothing

struct MimePart {
  std::map<std::string, std::string, std::less<>>
      fields;            // those wanted, names in lower case, values as they stand
  MimeValue type;        // never empty once scanned
  bool message = false;  // message/rfc822 that was taken apart: children[0] is the message in it
  bool multipart = false;
  uint64_t octets = 0;  // of the body, as transferred
  uint64_t lines = 0;   // line ends in it
  std::vector<std::unique_ptr<MimePart>> children;

  std::string_view field(std::string_view name) const {
    auto at = fields.find(name);
    return at == fields.end() ? std::string_view() : std::string_view(at->second);
  }
};

class MimeScanner {
 public:
  MimeScanner();
  void feed(std::string_view piece);
  // After the last piece; the scanner is of no more use.
  std::unique_ptr<MimePart> finish();

 private:
  struct Open {  // a part whose end has not come, innermost last
    MimePart* part = nullptr;
    bool in_header = true;
    bool digest = false;  // its children are messages by default
    bool default_message = false;
    std::string boundary;  // of a multipart, until its closing line
    uint64_t body_begin = 0, lines_begin = 0;
    std::string field;  // the field that goes on, in lower case; empty: one that is not wanted
  };

  void line(std::string_view start, uint64_t bytes, uint32_t end_bytes);
  bool boundary_line(std::string_view start, uint64_t bytes);
  void header_line(Open& open, std::string_view start);
  void end_header(Open& open);
  void open_child(bool default_message);
  void close_from(size_t index, uint64_t end, uint64_t lines);
  void keep(Open& open, std::string_view text, bool append);

  std::unique_ptr<MimePart> root_;
  std::vector<Open> open_;
  std::string start_;                // of the line that is under way, cut
  uint64_t line_bytes_ = 0;          // of it
  bool carriage_return_ = false;     // its last byte so far
  uint64_t octets_ = 0, lines_ = 0;  // before it
  uint32_t last_end_bytes_ = 0;      // of the line end before it: 1 or 2, 0 at the start
  size_t kept_bytes_ = 0, parts_ = 0;
};

}  // namespace canopy
