#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "tools/mailfiles/file_reading.h"
#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {

static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

// ------------------------------------------------------------------------------------------------ the From
// line
std::string format_from_line(std::string_view sender, int64_t date, int32_t zone_minutes) {
  const time_t local = date + int64_t{zone_minutes} * 60;
  struct tm parts = {};
  gmtime_r(&local, &parts);
  std::string who(sender);
  for (char& byte : who)
    if (byte == ' ' || byte == '\r' || byte == '\n' || byte == '\t') byte = '_';
  if (who.empty()) who = "MAILER-DAEMON";
  char text[64];
  std::snprintf(text, sizeof(text), "%s %s %2d %02d:%02d:%02d %d", kDays[static_cast<size_t>(parts.tm_wday)],
                kMonths[static_cast<size_t>(parts.tm_mon)], parts.tm_mday, parts.tm_hour, parts.tm_min,
                parts.tm_sec, parts.tm_year + 1900);
  std::string line = "From " + who + " " + text;
  if (zone_minutes != 0) {
    const int minutes = zone_minutes < 0 ? -zone_minutes : zone_minutes;
    std::snprintf(text, sizeof(text), " %c%02d%02d", zone_minutes < 0 ? '-' : '+', minutes / 60,
                  minutes % 60);
    line += text;
  }
  return line;
}

static constexpr std::string_view kBlank = " \t\r\n";  // lines are read with their ends

static std::vector<std::string_view> split_words(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < line.size();) {
    const size_t start = line.find_first_not_of(kBlank, at);
    if (start == std::string_view::npos) break;
    size_t end = line.find_first_of(kBlank, start);
    if (end == std::string_view::npos) end = line.size();
    words.push_back(line.substr(start, end - start));
    at = end;
  }
  return words;
}

std::optional<FromLine> parse_from_line(std::string_view line) {
  if (!line.starts_with("From ")) return std::nullopt;
  const std::vector<std::string_view> words = split_words(line.substr(5));
  // The sender may hold spaces, so the date is sought from the month on: "Thu Nov 24 10:11:12 [CET] 2026
  // [+0100]".
  for (size_t at = 0; at + 3 < words.size(); ++at) {
    struct tm parts = {};
    int month = -1;
    for (int i = 0; i < 12; ++i)
      if (words[at] == kMonths[static_cast<size_t>(i)]) month = i;
    if (month < 0) continue;
    const std::string clock(words[at + 2]);
    if (std::sscanf(std::string(words[at + 1]).c_str(), "%d", &parts.tm_mday) != 1) continue;
    if (std::sscanf(clock.c_str(), "%d:%d:%d", &parts.tm_hour, &parts.tm_min, &parts.tm_sec) < 2) continue;
    int year = 0;
    int zone = 0;
    for (size_t i = at + 3; i < words.size(); ++i) {
      const std::string word(words[i]);
      if (word.size() == 5 && (word[0] == '+' || word[0] == '-')) {
        const int digits = std::atoi(word.c_str() + 1);
        zone = (digits / 100 * 60 + digits % 100) * (word[0] == '-' ? -1 : 1);
      } else if (word.size() == 4 && year == 0) {
        year = std::atoi(word.c_str());
      }
    }
    if (year < 1900 || year > 9999 || zone < -1440 || zone > 1440) continue;
    parts.tm_mon = month;
    parts.tm_year = year - 1900;
    return FromLine{timegm(&parts) - int64_t{zone} * 60, zone};
  }
  return std::nullopt;
}

// ------------------------------------------------------------------------------------------- flags in the
// header
static bool same_name(std::string_view line, std::string_view name) {
  return line.size() > name.size() && line[name.size()] == ':' &&
         strncasecmp(line.data(), name.data(), name.size()) == 0;
}

static void read_status(MailItem& item, std::string_view line) {
  const std::string_view value = line.substr(line.find(':') + 1);
  if (same_name(line, "X-Keywords")) {
    item.keywords.clear();
    for (const std::string_view word : split_words(value)) item.keywords.emplace_back(word);
    return;
  }
  for (const char letter : value) {
    if (letter == 'R') item.system_flags |= kSeen;
    if (letter == 'A') item.system_flags |= kAnswered;
    if (letter == 'F') item.system_flags |= kFlagged;
    if (letter == 'D') item.system_flags |= kDeleted;
    if (letter == 'T') item.system_flags |= kDraft;
  }
}

static bool is_status(std::string_view line) {
  return same_name(line, "Status") || same_name(line, "X-Status") || same_name(line, "X-Keywords");
}

static std::string status_lines(const MailItem& item, std::string_view line_end) {
  std::string marks;
  if (item.system_flags & kAnswered) marks += 'A';
  if (item.system_flags & kFlagged) marks += 'F';
  if (item.system_flags & kDeleted) marks += 'D';
  if (item.system_flags & kDraft) marks += 'T';
  std::string lines = std::string("Status: ") + (item.system_flags & kSeen ? "RO" : "O");
  lines += line_end;
  if (!marks.empty()) (lines += "X-Status: " + marks) += line_end;
  if (!item.keywords.empty()) {
    lines += "X-Keywords:";
    for (const std::string& keyword : item.keywords) lines += " " + keyword;
    lines += line_end;
  }
  return lines;
}

// ------------------------------------------------------------------------------------------------------
// reading
static bool is_quoted_from(std::string_view line) {
  const size_t body = line.find_first_not_of('>');
  return body != std::string_view::npos && line.substr(body).starts_with("From ");
}

class MboxSource final : public MailSource {
 public:
  MboxSource(std::string path, FILE* file) : path_(std::move(path)), file_(file) {}
  ~MboxSource() override {
    std::fclose(file_);
    std::free(line_);
  }

  Result<std::optional<MailItem>> next() override { return take(true); }
  Result<bool> skip() override {
    CANOPY_ASSIGN(auto item, take(false));
    return item.has_value();
  }

 private:
  // The next line into line_; false at the end.
  Result<bool> read_line() {
    errno = 0;
    line_at_ = read_at_;
    const ssize_t got = ::getline(&line_, &line_room_, file_);
    if (got < 0 && std::ferror(file_)) return fail_errno(errno, path_, "read");
    if (got < 0) return false;
    length_ = static_cast<size_t>(got);
    read_at_ += static_cast<uint64_t>(got);
    return true;
  }
  std::string_view line() const { return {line_, length_}; }

  Result<void> begin() {
    CANOPY_ASSIGN(const bool any, read_line());
    if (any && !parse_from_line(line()))
      return fail(Code::kInvalidArgument, path_ + ":0",
                  "not an mbox file: it does not begin with a From line and its date");
    have_from_ = any;
    return {};
  }

  Result<std::optional<MailItem>> take(bool keep) {
    if (!begun_) {
      begun_ = true;
      CANOPY_TRY(begin());
    }
    if (!have_from_) return std::nullopt;
    MailItem item;
    const FromLine from = *parse_from_line(line());
    item.internal_date = from.date;
    item.zone_minutes = from.zone_minutes;
    item.position = path_ + ":" + std::to_string(line_at_);
    have_from_ = false;
    bool in_header = true;
    bool blank_before = false;
    for (;;) {
      CANOPY_ASSIGN(const bool any, read_line());
      if (!any) break;
      if (blank_before && parse_from_line(line())) {
        have_from_ = true;
        break;
      }
      blank_before = line() == "\n" || line() == "\r\n";
      if (blank_before) in_header = false;
      if (!keep) continue;
      add_line(item, in_header);
      if (item.content.size() > kMailBytesMax)
        return fail(Code::kTooLarge, item.position, "the message is larger than a message may be");
    }
    // The empty line before the next From line is the format's, not the message's.
    if (keep && blank_before)
      item.content.resize(item.content.size() - (item.content.ends_with("\r\n") ? 2 : 1));
    item.content = to_wire_lines(std::move(item.content));
    return item;
  }

  void add_line(MailItem& item, bool in_header) {
    if (in_header && is_status(line())) {
      read_status(item, line());
    } else {
      item.content += is_quoted_from(line()) && line()[0] == '>' ? line().substr(1) : line();
    }
  }

  std::string path_;
  FILE* file_;
  char* line_ = nullptr;
  size_t line_room_ = 0;
  size_t length_ = 0;
  uint64_t read_at_ = 0;
  uint64_t line_at_ = 0;
  bool begun_ = false;
  bool have_from_ = false;  // line_ holds the From line of the next message
};

Result<std::unique_ptr<MailSource>> open_mbox(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return fail_errno(errno, path, "open");
  return std::make_unique<MboxSource>(path, file);
}

// ------------------------------------------------------------------------------------------------------
// writing
static std::string sender_of(std::string_view content) {
  for (size_t at = 0; at < content.size();) {
    size_t end = content.find('\n', at);
    if (end == std::string_view::npos) end = content.size();
    const std::string_view line = content.substr(at, end - at);
    if (line.empty() || line == "\r") break;
    if (same_name(line, "Return-Path")) {
      const size_t open = line.find('<');
      const size_t close = line.find('>');
      if (open != std::string_view::npos && close != std::string_view::npos && close > open)
        return std::string(line.substr(open + 1, close - open - 1));
    }
    at = end + 1;
  }
  return "";
}

class MboxSink final : public MailSink {
 public:
  MboxSink(std::string path, FILE* file) : path_(std::move(path)), file_(file) {}
  ~MboxSink() override {
    if (file_ != nullptr) std::fclose(file_);
  }

  Result<void> put(const MailItem& item) override {
    const std::string body = to_file_lines(item.content);
    const size_t first_end = body.find('\n');
    const bool crlf = first_end != std::string::npos && first_end > 0 && body[first_end - 1] == '\r';
    const std::string_view line_end = crlf ? "\r\n" : "\n";
    std::string out = format_from_line(sender_of(item.content), item.internal_date, item.zone_minutes) + "\n";
    const std::string status = status_lines(item, line_end);
    bool in_header = true;
    for (size_t at = 0; at < body.size();) {
      const size_t end = std::min(body.find('\n', at), body.size() - 1) + 1;
      const std::string_view line = std::string_view(body).substr(at, end - at);
      if (in_header && (line == "\n" || line == "\r\n")) {
        out += status;
        in_header = false;
      }
      if (is_quoted_from(line)) out += '>';
      out += line;
      at = end;
    }
    if (!out.ends_with('\n')) out += line_end;
    if (in_header) out += status;
    out += '\n';
    if (std::fwrite(out.data(), 1, out.size(), file_) != out.size()) return fail_errno(errno, path_, "write");
    return {};
  }

  Result<void> finish() override {
    const bool flushed = std::fflush(file_) == 0 && ::fsync(::fileno(file_)) == 0;
    const int reason = errno;
    std::fclose(std::exchange(file_, nullptr));
    if (!flushed) return fail_errno(reason, path_, "write");
    return {};
  }

 private:
  std::string path_;
  FILE* file_;
};

Result<std::unique_ptr<MailSink>> create_mbox(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return fail_errno(errno, path, "create");
  return std::make_unique<MboxSink>(path, ::fdopen(file, "wb"));
}

}  // namespace canopy::mailfiles
