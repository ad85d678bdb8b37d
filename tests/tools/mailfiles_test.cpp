#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tools/mailfiles/formats.h"

namespace canopy::mailfiles {
namespace {

namespace fs = std::filesystem;

class MailfilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "canopy-mailfiles-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write(const std::string& name, std::string_view bytes) {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::vector<MailItem> read_all(const std::string& where, Format format) {
    auto source = open_source(where, format);
    EXPECT_TRUE(source) << (source ? "" : source.error().to_string());
    std::vector<MailItem> items;
    while (source) {
      auto item = (*source)->next();
      EXPECT_TRUE(item) << (item ? "" : item.error().to_string());
      if (!item || !*item) break;
      items.push_back(std::move(**item));
    }
    return items;
  }
  void write_all(const std::string& where, Format format, const std::vector<MailItem>& items) {
    auto sink = create_sink(where, format);
    ASSERT_TRUE(sink) << sink.error().to_string();
    for (const MailItem& item : items) {
      auto put = (*sink)->put(item);
      ASSERT_TRUE(put) << put.error().to_string();
    }
    auto finished = (*sink)->finish();
    ASSERT_TRUE(finished) << finished.error().to_string();
  }

  std::string directory_;
};

std::vector<MailItem> sample() {
  MailItem plain;
  plain.content =
      "Return-Path: <ann@example.org>\r\nSubject: one\r\n\r\nFrom here\r\n>From there\r\n\r\nend\r\n";
  plain.internal_date = 1'700'000'000;
  plain.system_flags = kSeen | kFlagged;
  plain.keywords = {"$Forwarded", "work"};
  MailItem empty_body;
  empty_body.content = "Subject: two\r\n\r\n";
  empty_body.internal_date = 1'700'000'001;
  empty_body.system_flags = kAnswered | kDeleted | kDraft;
  MailItem blank_end;
  blank_end.content = "Subject: three\r\n\r\nends in blank lines\r\n\r\n\r\n";
  blank_end.internal_date = 1'600'000'000;
  return {plain, empty_body, blank_end};
}

void expect_same(const std::vector<MailItem>& read, const std::vector<MailItem>& written) {
  ASSERT_EQ(read.size(), written.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].content, written[i].content) << i;
    EXPECT_EQ(read[i].internal_date, written[i].internal_date) << i;
    EXPECT_EQ(read[i].zone_minutes, written[i].zone_minutes) << i;
    EXPECT_EQ(read[i].system_flags, written[i].system_flags) << i;
    EXPECT_THAT(read[i].keywords, testing::UnorderedElementsAreArray(written[i].keywords)) << i;
    EXPECT_EQ(read[i].mailbox, written[i].mailbox) << i;
  }
}

TEST_F(MailfilesTest, what_was_written_to_an_mbox_reads_back_with_dates_zones_and_flags) {
  std::vector<MailItem> items = sample();
  items[0].zone_minutes = -210;
  write_all(path("box"), Format::kMbox, items);
  expect_same(read_all(path("box"), Format::kMbox), items);
}

TEST_F(MailfilesTest, what_was_written_to_a_maildir_reads_back_with_dates_flags_and_folders) {
  std::vector<MailItem> items = sample();
  items[1].mailbox = "Lists/a.b/Entwürfe";
  // A Maildir is read folder by folder, the root first.
  std::swap(items[1], items[2]);
  write_all(path("dir"), Format::kMaildir, items);
  expect_same(read_all(path("dir"), Format::kMaildir), items);
  EXPECT_TRUE(fs::exists(path("dir") + "/.Lists.a&AC4-b.Entw&APw-rfe/cur"));
}

TEST_F(MailfilesTest, what_was_written_as_eml_files_reads_back_byte_for_byte) {
  std::vector<MailItem> items = sample();
  items[0].content = "Subject: binary\r\n\r\nbare\nline and \r and no end";
  for (int i = 0; i < 12; ++i) items.push_back(items[static_cast<size_t>(i % 3)]);
  write_all(path("dir"), Format::kEml, items);
  expect_same(read_all(path("dir"), Format::kEml), items);
}

TEST_F(MailfilesTest, an_mbox_holds_the_lines_that_other_programs_expect) {
  write_all(path("box"), Format::kMbox, {sample()[0]});
  EXPECT_EQ(
      bytes_of(path("box")),
      "From ann@example.org Tue Nov 14 22:13:20 2023\n"
      "Return-Path: <ann@example.org>\nSubject: one\nStatus: RO\nX-Status: F\nX-Keywords: $Forwarded work\n\n"
      ">From here\n>>From there\n\nend\n\n");
}

TEST_F(MailfilesTest, an_mbox_by_another_program_is_split_only_at_from_lines_with_a_date_after_a_blank_line) {
  write("box",
        "From ann smith Thu Nov 24 10:11:12 CET 2016\nSubject: one\n\nFrom the start, not a separator\n"
        "\nFrom now on neither\n\nFrom bob@example.org  Fri Nov 25 01:02:03 2016 +0100\nSubject: "
        "two\n\nbody\n");
  const auto items = read_all(path("box"), Format::kMbox);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].content,
            "Subject: one\r\n\r\nFrom the start, not a separator\r\n\r\nFrom now on neither\r\n");
  EXPECT_EQ(items[0].internal_date, 1479982272);
  EXPECT_EQ(items[1].internal_date, 1480032123);
  EXPECT_EQ(items[1].zone_minutes, 60);
  EXPECT_EQ(items[1].content, "Subject: two\r\n\r\nbody\r\n");
  EXPECT_EQ(items[1].position, path("box") + ":112");
}

TEST_F(MailfilesTest, a_file_that_is_no_mbox_is_refused_by_its_name_and_an_empty_one_holds_nothing) {
  write("box", "Subject: x\n\nbody\n");
  auto source = open_source(path("box"), Format::kMbox);
  ASSERT_TRUE(source);
  auto item = (*source)->next();
  ASSERT_FALSE(item);
  EXPECT_EQ(item.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(item.error().object(), path("box") + ":0");
  write("nothing", "");
  EXPECT_EQ(read_all(path("nothing"), Format::kMbox).size(), 0u);
}

TEST_F(MailfilesTest, a_maildir_by_another_program_gives_flags_keywords_and_order) {
  write("dir/cur/1000.a.host:2,RSab", "Subject: old\n\nx\n");
  write("dir/cur/999.z.host:2,", "Subject: older\n\nx\n");
  write("dir/new/1001.b.host", "Subject: new\n\nx\n");
  write("dir/dovecot-keywords", "0 work\n1 $Junk\n");
  fs::create_directories(path("dir/tmp"));
  const auto items = read_all(path("dir"), Format::kMaildir);
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].content, "Subject: older\r\n\r\nx\r\n");
  EXPECT_EQ(items[1].system_flags, kSeen | kAnswered);
  EXPECT_EQ(items[1].keywords, (std::vector<std::string>{"work", "$Junk"}));
  EXPECT_EQ(items[2].content, "Subject: new\r\n\r\nx\r\n");
  EXPECT_EQ(items[2].system_flags, 0u);
}

TEST_F(MailfilesTest, formats_are_told_apart_by_what_lies_there) {
  write("box", "From a Thu Nov 24 10:11:12 2016\n\n");
  write("one.eml", "Subject: x\n\n");
  write("dir/cur/1.a", "x");
  write("emls/1.eml", "x");
  write("boxes/INBOX.mbox", "");
  write("boxes2/other", "From a Thu Nov 24 10:11:12 2016\n\n");
  write("named_cur/cur/index.tsv", "");
  write("empty.mbox", "");
  write("empty.eml", "");
  EXPECT_EQ(*detect_format(path("box")), Format::kMbox);
  EXPECT_EQ(*detect_format(path("one.eml")), Format::kEml);
  EXPECT_EQ(*detect_format(path("dir")), Format::kMaildir);
  EXPECT_EQ(*detect_format(path("emls")), Format::kEml);
  EXPECT_EQ(*detect_format(path("boxes")), Format::kMbox);
  EXPECT_EQ(*detect_format(path("boxes2")), Format::kMbox);
  EXPECT_EQ(*detect_format(path("named_cur")), Format::kEml);
  EXPECT_EQ(*detect_format(path("empty.mbox")), Format::kMbox);
  EXPECT_EQ(*detect_format(path("empty.eml")), Format::kEml);
  EXPECT_EQ(detect_format(path("absent")).error().code(), Code::kNotFound);
}

TEST_F(MailfilesTest, a_directory_with_a_file_or_directory_for_each_mailbox_is_read_with_their_names) {
  const std::vector<MailItem> items = sample();
  for (const Format format : {Format::kMbox, Format::kEml}) {
    const std::string ending = format == Format::kMbox ? ".mbox" : "";
    const std::string where = path("all" + ending);
    fs::create_directories(where);
    write_all(where + "/Entw&APw-rfe" + ending, format, {items[1]});
    write_all(where + "/INBOX" + ending, format, {items[0], items[2]});
    write_all(where + "/a&AC8-b" + ending, format, {});
    std::vector<MailItem> named = {items[1], items[0], items[2]};
    named[0].mailbox = "Entwürfe";
    const std::vector<MailItem> read = read_all(where, format);
    expect_same(read, named);
    EXPECT_NE(read[0].position, read[1].position);
    auto source = open_source(where, format);
    ASSERT_TRUE(source);
    EXPECT_EQ((*source)->mailboxes(), (std::vector<std::string>{"Entwürfe", "a/b"}));
    EXPECT_TRUE(*(*source)->skip());
    EXPECT_TRUE(*(*source)->skip());
    auto third = (*source)->next();
    ASSERT_TRUE(third && *third);
    EXPECT_EQ((**third).content, items[2].content);
    EXPECT_FALSE(*(*source)->skip());
    fs::rename(where + "/INBOX" + ending, where + "/&bad" + ending);
    EXPECT_EQ(open_source(where, format).error().object(), where + "/&bad" + ending);
  }
}

TEST_F(MailfilesTest, nothing_is_written_over_what_is_there) {
  write("box", "mine");
  write("dir/file", "mine");
  EXPECT_EQ(create_sink(path("box"), Format::kMbox).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(create_sink(path("dir"), Format::kMaildir).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(create_sink(path("dir"), Format::kEml).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(bytes_of(path("box")), "mine");
}

TEST_F(MailfilesTest, skipping_passes_over_exactly_one_message_in_every_format) {
  const std::vector<MailItem> items = sample();
  for (const Format format : {Format::kMbox, Format::kMaildir, Format::kEml}) {
    const std::string where = path("skip" + std::to_string(static_cast<int>(format)));
    write_all(where, format, items);
    auto source = open_source(where, format);
    ASSERT_TRUE(source);
    EXPECT_TRUE(*(*source)->skip());
    auto second = (*source)->next();
    ASSERT_TRUE(second && *second);
    EXPECT_EQ((**second).content, items[1].content);
    EXPECT_TRUE(*(*source)->skip());
    EXPECT_FALSE(*(*source)->skip());
    EXPECT_FALSE((*source)->next()->has_value());
  }
}

TEST(LineEndsTest, only_messages_with_bare_line_feeds_are_changed_on_the_way_in) {
  EXPECT_EQ(to_wire_lines("a\nb\r\nc\n"), "a\r\nb\r\nc\r\n");
  EXPECT_EQ(to_wire_lines("a\r\nb\nc"), "a\r\nb\nc");
  EXPECT_EQ(to_file_lines("a\r\nb\r\n"), "a\nb\n");
  EXPECT_EQ(to_file_lines("a\r\nb\n"), "a\r\nb\n");
}

TEST(ModifiedUtf7Test, names_of_rfc_3501_go_both_ways) {
  EXPECT_EQ(encode_mutf7("~peter/mail/台北/日本語", false), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
  EXPECT_EQ(*decode_mutf7("~peter/mail/&U,BTFw-/&ZeVnLIqe-"), "~peter/mail/台北/日本語");
  EXPECT_EQ(encode_mutf7("a&b", true), "a&-b");
  EXPECT_EQ(*decode_mutf7(encode_mutf7("smile \xF0\x9F\x98\x80.", true)), "smile \xF0\x9F\x98\x80.");
  EXPECT_FALSE(decode_mutf7("&U,BTFw"));
  EXPECT_FALSE(decode_mutf7("&!-"));
}

}  // namespace
}  // namespace canopy::mailfiles
