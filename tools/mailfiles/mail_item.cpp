#include "tools/mailfiles/mail_item.h"

#include <filesystem>
#include <fstream>

#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {

namespace fs = std::filesystem;

Result<Format> parse_format(std::string_view name) {
  if (name == "mbox") return Format::kMbox;
  if (name == "maildir") return Format::kMaildir;
  if (name == "eml") return Format::kEml;
  return fail(Code::kInvalidArgument, std::string(name), "the formats are mbox, maildir and eml");
}

static constexpr std::string_view kFrom = "From ";

static std::string first_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string first(kFrom.size(), '\0');
  file.read(first.data(), static_cast<std::streamsize>(first.size()));
  first.resize(static_cast<size_t>(file.gcount()));
  return first;
}

bool begins_as_mbox(const std::string& path) { return first_bytes(path) == kFrom; }

Result<Format> detect_format(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return fail(Code::kNotFound, path, "there is no such file or directory");
  if (fs::is_directory(status)) {
    // A mailbox may be called cur; as .eml files it has an index.
    if (fs::is_directory(path + "/cur", error) && !fs::exists(path + "/cur/" + kIndexFile, error))
      return Format::kMaildir;
    CANOPY_ASSIGN(const bool mboxes, holds_mboxes(path));
    return mboxes ? Format::kMbox : Format::kEml;
  }
  const std::string first = first_bytes(path);
  return first == kFrom || (first.empty() && !is_eml_name(path)) ? Format::kMbox : Format::kEml;
}

Result<std::unique_ptr<MailSource>> open_source(const std::string& path, Format format) {
  std::error_code error;
  const bool directory = fs::is_directory(path, error);
  switch (format) {
    case Format::kMbox: return directory ? open_mbox_folder(path) : open_mbox(path);
    case Format::kMaildir: return open_maildir(path);
    case Format::kEml: return directory ? open_eml_folder(path) : open_eml(path);
  }
  return fail(Code::kInternal, path, "a format without a reader");
}

Result<std::unique_ptr<MailSink>> create_sink(const std::string& path, Format format) {
  switch (format) {
    case Format::kMbox: return create_mbox(path);
    case Format::kMaildir: return create_maildir(path);
    case Format::kEml: return create_eml(path);
  }
  return fail(Code::kInternal, path, "a format without a writer");
}

bool lines_are_crlf(std::string_view content) {
  for (size_t at = 0; at < content.size(); ++at) {
    if (content[at] == '\n') return false;
    if (content[at] != '\r') continue;
    if (at + 1 >= content.size() || content[at + 1] != '\n') return false;
    ++at;
  }
  return true;
}

std::string to_wire_lines(std::string content) {
  const size_t first = content.find('\n');
  if (first == std::string::npos || (first > 0 && content[first - 1] == '\r')) return content;
  std::string out;
  out.reserve(content.size() + content.size() / 32);
  for (size_t at = 0; at < content.size(); ++at) {
    if (content[at] == '\n' && (at == 0 || content[at - 1] != '\r')) out += '\r';
    out += content[at];
  }
  return out;
}

std::string to_file_lines(std::string_view content) {
  if (!lines_are_crlf(content)) return std::string(content);
  std::string out;
  out.reserve(content.size());
  for (const char byte : content)
    if (byte != '\r') out += byte;
  return out;
}

}  // namespace canopy::mailfiles
