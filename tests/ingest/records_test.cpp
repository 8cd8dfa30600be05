// Records: grouping by stem, captions by source, and every reason to skip one.
#include "ingest/records.h"

#include <gtest/gtest.h>

#include "ingest/captions.h"

namespace microdit::ingest {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Member member(const std::string& name, const std::string& text = "x") {
  return {name, bytes_of(text), false};
}

std::vector<RawRecord> group(std::vector<Member> members) {
  std::vector<RawRecord> records;
  RecordGrouper grouper([&](RawRecord&& record) { records.push_back(std::move(record)); });
  for (Member& m : members) grouper.add(std::move(m));
  grouper.finish();
  return records;
}

CatalogueEntry two_captions() {
  CatalogueEntry entry;
  entry.record.image = {"png", "jpg"};
  entry.record.caption = {{"name", "txt"}, {"long", "json:long"}};
  entry.captions.which = {"name", "long"};
  return entry;
}

TEST(RecordGrouper, StemEndsAtTheFirstDotOfTheLastComponent) {
  const auto records = group({member("d.x/1.seg.JPG"), member("d.x/1.txt"), member("d.x/2.txt"),
                              member("LICENSE"), member("3.txt")});
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].key, "d.x/1");
  EXPECT_TRUE(records[0].members.contains("seg.jpg"));
  EXPECT_EQ(records[0].members.size(), 2u);
  EXPECT_EQ(records[2].key, "3");
}

TEST(RecordGrouper, ARepeatedExtensionBeginsANewRecord) {
  const auto records = group({member("1.jpg"), member("1.txt"), member("1.jpg"), member("1.txt")});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].key, "1");
}

TEST(ReadRecord, CaptionsInTheEntrysOrderAbsentOnesEmpty) {
  ReadRecord out;
  auto records = group({member("1.png", "P"), member("1.jpg", "J"), member("1.txt", " a cat \n"),
                        member("1.json", R"({"long": "a cat: animal"})")});
  ASSERT_EQ(read_record(std::move(records[0]), two_captions(), out), "");
  EXPECT_EQ(out.image, bytes_of("P"));  // the preferred extension
  EXPECT_EQ(out.captions, (std::vector<std::string>{"a cat", "a cat: animal"}));
  EXPECT_EQ(out.group, "1");
  records = group({member("2.jpg", "J"), member("2.txt", "a dog")});
  ASSERT_EQ(read_record(std::move(records[0]), two_captions(), out), "");
  EXPECT_EQ(out.captions, (std::vector<std::string>{"a dog", ""}));
}

TEST(ReadRecord, TheCleanerRunsWhenAsked) {
  CatalogueEntry entry = two_captions();
  ReadRecord out;
  auto records = group({member("1.png"), member("1.txt", "A  <PERSON>")});
  ASSERT_EQ(read_record(RawRecord(records[0]), entry, out), "");
  EXPECT_EQ(out.captions[0], "A  <PERSON>");
  entry.captions.clean = true;
  ASSERT_EQ(read_record(RawRecord(records[0]), entry, out), "");
  EXPECT_EQ(out.captions[0], "a person");
}

TEST(ReadRecord, EveryReasonToSkip) {
  CatalogueEntry entry = two_captions();
  const auto reason = [&](std::vector<Member> members) {
    ReadRecord out;
    return read_record(std::move(group(std::move(members)).at(0)), entry, out);
  };
  EXPECT_EQ(reason({member("1.txt")}), "no_image");
  EXPECT_EQ(reason({member("1.png")}), "no_caption");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", " \n")}), "no_caption");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", "\xff")}), "bad_utf8");
  EXPECT_EQ(reason({member("1.png"), member("1.json", "{\"long\": ")}), "bad_json");
  EXPECT_EQ(reason({{"1.png", {}, true}, member("1.txt")}), "oversize");
  entry.splits.group = "json:base";
  EXPECT_EQ(reason({member("1.png"), member("1.txt")}), "no_group");
  EXPECT_EQ(reason({member("1.png"), member("1.txt"), member("1.json", R"({"base": 3})")}), "no_group");
  EXPECT_EQ(reason({member("1.png"), member("1.txt"), member("1.json", R"({"base": "b"})")}), "");
}

TEST(Captions, Clean) {
  EXPECT_EQ(clean_caption("  A\tRed\n\n CAR \x01!"), "a red car !");
  EXPECT_EQ(clean_caption("Photo of a <PERSON>"), "photo of a person");
  EXPECT_EQ(clean_caption("\xc3\x89t\xc3\xa9"), "\xc3\x89t\xc3\xa9");  // beyond ASCII untouched
  EXPECT_EQ(clean_caption(" \n"), "");
}

TEST(Captions, Utf8) {
  for (const char* good :
       {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "a\xe2\x82"})
    EXPECT_FALSE(is_utf8(bad));
}

}  // namespace
}  // namespace microdit::ingest
