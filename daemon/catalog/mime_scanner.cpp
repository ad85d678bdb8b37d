#include "daemon/catalog/mime_scanner.h"

#include <algorithm>
#include <cstring>

#include "daemon/base/check.h"

namespace canopy {
namespace {

constexpr size_t kLineStartBytes = kMimeOneFieldBytesMax;  // what is looked at of a line

constexpr std::string_view kWanted[] = {"bcc",
                                        "cc",
                                        "content-description",
                                        "content-disposition",
                                        "content-id",
                                        "content-language",
                                        "content-location",
                                        "content-md5",
                                        "content-transfer-encoding",
                                        "content-type",
                                        "date",
                                        "from",
                                        "in-reply-to",
                                        "message-id",
                                        "reply-to",
                                        "sender",
                                        "subject",
                                        "to"};
constexpr std::string_view kAddressFields[] = {"bcc", "cc", "from", "reply-to", "sender", "to"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

MimeScanner::MimeScanner() : root_(std::make_unique<MimePart>()) {
  open_.emplace_back();
  open_.back().part = root_.get();
  parts_ = 1;
}

void MimeScanner::feed(std::string_view piece) {
  while (!piece.empty()) {
    const char* found = static_cast<const char*>(std::memchr(piece.data(), '\n', piece.size()));
    size_t taken = found == nullptr ? piece.size() : static_cast<size_t>(found - piece.data()) + 1;
    std::string_view part = piece.substr(0, taken);
    piece.remove_prefix(taken);
    if (found != nullptr && line_bytes_ == 0) {  // whole: nothing to keep
      uint32_t end_bytes = part.ends_with("\r\n") ? 2 : 1;
      line(part.substr(0, part.size() - end_bytes).substr(0, kLineStartBytes), part.size(), end_bytes);
      continue;
    }
    if (start_.size() < kLineStartBytes) start_.append(part.substr(0, kLineStartBytes - start_.size()));
    line_bytes_ += part.size();
    if (found == nullptr) {
      carriage_return_ = part.back() == '\r';
      continue;
    }
    bool two = part.size() > 1 ? part[part.size() - 2] == '\r' : carriage_return_;
    uint32_t end_bytes = two ? 2 : 1;
    uint64_t text_bytes = line_bytes_ - end_bytes;
    std::string start = std::exchange(start_, {});
    uint64_t bytes = std::exchange(line_bytes_, 0);
    line(std::string_view(start).substr(0, text_bytes), bytes, end_bytes);
  }
}

std::unique_ptr<MimePart> MimeScanner::finish() {
  if (line_bytes_ > 0) {
    std::string start = std::exchange(start_, {});
    line(start, std::exchange(line_bytes_, 0), 0);
  }
  close_from(0, octets_, lines_);
  return std::move(root_);
}

// A line of `bytes` bytes with its end, which has `end_bytes` of them; `start` is its text, perhaps cut.
void MimeScanner::line(std::string_view start, uint64_t bytes, uint32_t end_bytes) {
  bool boundary = start.starts_with("--") && boundary_line(start, bytes - end_bytes);
  octets_ += bytes;
  lines_ += end_bytes > 0;
  last_end_bytes_ = end_bytes;
  if (boundary) {
    // What begins behind the line begins here.
    Open& open = open_.back();
    if (open.in_header) open.body_begin = octets_, open.lines_begin = lines_;
    return;
  }
  if (open_.back().in_header) header_line(open_.back(), start);
}

bool MimeScanner::boundary_line(std::string_view start, uint64_t bytes) {
  for (size_t i = open_.size(); i-- > 0;) {
    const std::string& boundary = open_[i].boundary;
    if (boundary.empty() || !start.substr(2).starts_with(boundary)) continue;
    std::string_view rest = start.substr(2 + boundary.size());
    bool last = rest.starts_with("--");
    if (last) rest.remove_prefix(2);
    if (rest.find_first_not_of(" \t") != std::string_view::npos || bytes > kLineStartBytes) continue;
    // The line end before a boundary belongs to it, not to the part.
    close_from(i + 1, octets_ - last_end_bytes_, lines_ - (last_end_bytes_ > 0));
    if (last) {
      open_[i].boundary.clear();
    } else if (parts_ < kMimePartsMax) {
      open_child(open_[i].digest);
    }
    return true;
  }
  return false;
}

void MimeScanner::open_child(bool default_message) {
  auto child = std::make_unique<MimePart>();
  MimePart* part = child.get();
  open_.back().part->children.push_back(std::move(child));
  open_.emplace_back();
  open_.back().part = part;
  open_.back().default_message = default_message;
  ++parts_;
}

void MimeScanner::close_from(size_t index, uint64_t end, uint64_t lines) {
  while (open_.size() > index) {
    if (open_.back().in_header) {
      open_.back().body_begin = end;
      open_.back().lines_begin = lines;
      end_header(open_.back());
      if (open_.back().in_header) continue;  // that of a message in it, which ends here as well
    }
    Open& open = open_.back();
    // A boundary right behind the header takes the header's own line end.
    open.part->octets = end - std::min(end, open.body_begin);
    open.part->lines = lines - std::min(lines, open.lines_begin);
    open_.pop_back();
  }
}

void MimeScanner::header_line(Open& open, std::string_view start) {
  if (start.empty()) {
    open.body_begin = octets_;
    open.lines_begin = lines_;
    return end_header(open);
  }
  if (start.front() == ' ' || start.front() == '\t') return keep(open, start, true);
  open.field.clear();
  size_t colon = start.find(':');
  if (colon == std::string_view::npos) return;  // no field; a "From " line of an mbox, or garbage
  std::string_view name = start.substr(0, colon);
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
  if (name.size() > 32) return;
  std::string lowered(name);
  std::ranges::transform(lowered, lowered.begin(), lower);
  if (!std::ranges::binary_search(kWanted, lowered)) return;
  bool again = open.part->fields.contains(lowered);
  if (again && !std::ranges::binary_search(kAddressFields, lowered)) return;  // the first counts
  open.field = std::move(lowered);
  if (again) keep(open, ", ", true);
  keep(open, start.substr(colon + 1), again);
}

void MimeScanner::keep(Open& open, std::string_view text, bool append) {
  if (open.field.empty()) return;
  std::string& value = open.part->fields[open.field];
  if (!append) value.clear();
  size_t room = std::min(kMimeFieldBytesMax - kept_bytes_, kMimeOneFieldBytesMax - value.size());
  text = text.substr(0, room);
  value.append(text);
  kept_bytes_ += text.size();
}

// The header is whole: what kind of part is it?
void MimeScanner::end_header(Open& open) {
  open.in_header = false;
  open.field.clear();
  MimePart& part = *open.part;
  part.type = decode_content_type(part.field("content-type"));
  if (part.type.value.empty()) {
    part.type.value = open.default_message ? "message/rfc822" : "text/plain";
    if (!open.default_message) part.type.parameters = {{"charset", "us-ascii"}};
  }
  bool deeper = open_.size() < kMimeDepthMax;
  if (part.type.value.starts_with("multipart/")) {
    std::string boundary;
    for (const auto& [name, value] : part.type.parameters) {
      if (name == "boundary") boundary = value;
    }
    if (deeper && !boundary.empty() && boundary.size() <= kMimeBoundaryBytesMax) {
      part.multipart = true;
      open.digest = part.type.value == "multipart/digest";
      open.boundary = std::move(boundary);
    } else {
      part.type = {"application/octet-stream", {}};
    }
  } else if (part.type.value == "message/rfc822" || part.type.value == "message/global") {
    if (deeper && parts_ < kMimePartsMax) {
      part.message = true;
      uint64_t begin = open.body_begin, lines_begin = open.lines_begin;
      open_child(false);
      open_.back().body_begin = begin;
      open_.back().lines_begin = lines_begin;
    } else {
      part.type = {"application/octet-stream", {}};
    }
  }
}

}  // namespace canopy
