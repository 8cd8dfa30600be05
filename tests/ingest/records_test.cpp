// Records: captions by source, and every reason to skip one.
#include "ingest/records.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ingest/skips.h"
#include "raw_records.h"

namespace microdit::ingest {
namespace {

CatalogueEntry two_captions() {
  CatalogueEntry entry;
  entry.record.image = {"png", "jpg"};
  entry.record.caption = {{"name", "txt"}, {"long", "json:long"}};
  entry.captions.which = {"name", "long"};
  return entry;
}

TEST(ReadRecord, CaptionsInTheEntrysOrderAbsentOnesEmpty) {
  ReadRecord out;
  auto records = group({member("1.png", "P"), member("1.jpg", "J"), member("1.txt", " a cat \n"),
                        member("1.json", R"({"long": "a cat: animal"})")});
  ASSERT_EQ(RecordReader(two_captions()).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.image, bytes_of("P"));  // the preferred extension
  EXPECT_EQ(out.captions, (std::vector<std::string>{"a cat", "a cat: animal"}));
  EXPECT_EQ(out.group, "1");
  records = group({member("2.jpg", "J"), member("2.txt", "a dog")});
  ASSERT_EQ(RecordReader(two_captions()).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions, (std::vector<std::string>{"a dog", ""}));
}

TEST(ReadRecord, AStopIsHeardBeforeEachCaption) {
  ReadRecord out;
  const auto records = group({member("1.png"), member("1.txt", "a cat")});
  core::StopFlag stop;
  ASSERT_EQ(RecordReader(two_captions()).read(RawRecord(records[0]), out, stop), "");
  stop.request();
  EXPECT_THROW(RecordReader(two_captions()).read(RawRecord(records[0]), out, stop), core::Stopped);
}

TEST(ReadRecord, TheCleanerRunsWhenAsked) {
  CatalogueEntry entry = two_captions();
  ReadRecord out;
  auto records = group({member("1.png"), member("1.txt", "A  <PERSON>")});
  ASSERT_EQ(RecordReader(entry).read(RawRecord(records[0]), out), "");
  EXPECT_EQ(out.captions[0], "A  <PERSON>");
  entry.captions.clean = "reference";
  ASSERT_EQ(RecordReader(entry).read(RawRecord(records[0]), out), "");
  EXPECT_EQ(out.captions[0], "a person");
  entry.captions.clean = "gentle";
  ASSERT_EQ(RecordReader(entry).read(RawRecord(records[0]), out), "");
  EXPECT_EQ(out.captions[0], "A <PERSON>");
}

TEST(ReadRecord, ACaptionThatCleansToNothing) {
  CatalogueEntry entry = two_captions();
  entry.captions.clean = "reference";
  ReadRecord out;
  const auto records = group({member("1.png"), member("1.txt", "AB1234")});
  EXPECT_EQ(RecordReader(entry).read(RawRecord(records[0]), out), "filtered.empty_caption");
  entry.captions.empty = "keep";
  EXPECT_EQ(RecordReader(entry).read(RawRecord(records[0]), out), "");
  EXPECT_EQ(out.lost[0], "filtered.empty_caption");  // counted all the same
}

TEST(ReadRecord, EveryReasonToSkip) {
  CatalogueEntry entry = two_captions();
  const auto reason = [&](std::vector<Member> members) {
    ReadRecord out;
    return RecordReader(entry).read(std::move(group(std::move(members)).at(0)), out);
  };
  EXPECT_EQ(reason({member("1.txt")}), "damaged.no_image");
  EXPECT_EQ(reason({member("1.png")}), "damaged.no_caption");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", " \n")}), "filtered.empty_caption");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", "\xc2\xa0\xe3\x80\x80")}), "filtered.empty_caption");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", "\xef\xbb\xbf")}), "");  // no white space to Python
  EXPECT_EQ(reason({member("1.png"), member("1.txt", "\xff")}), "damaged.utf8");
  EXPECT_EQ(reason({member("1.png"), member("1.json", "{\"long\": ")}), "damaged.json");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", std::string(65537, 'a'))}), "unsupported.caption_size");
  EXPECT_EQ(reason({member("1.png"), member("1.txt", std::string(65536, 'a'))}), "");
  EXPECT_EQ(reason({member("1.png"), member("1.json", "{\"long\": \"a\"" + std::string(1 << 20, ' ') + "}")}),
            "unsupported.sidecar_size");
  Member link = member("1.png", "");
  link.skip = "unsupported.link";
  EXPECT_EQ(reason({link, member("1.txt")}), "unsupported.link");
  entry.splits.group = "json:base";
  EXPECT_EQ(reason({member("1.png"), member("1.txt")}), "damaged.no_group");
  EXPECT_EQ(reason({member("1.png"), member("1.txt"), member("1.json", R"({"base": 3})")}),
            "damaged.no_group");
  EXPECT_EQ(reason({member("1.png"), member("1.txt"), member("1.json", "{")}), "damaged.json");
  EXPECT_EQ(reason({member("1.png"), member("1.txt"), member("1.json", R"({"base": "b"})")}), "");
}

TEST(ReadRecord, OneGoodCaptionIsEnough) {
  const CatalogueEntry entry = two_captions();
  ReadRecord out;
  auto records = group({member("1.png"), member("1.txt", "\xff"), member("1.json", R"({"long": "good"})")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions, (std::vector<std::string>{"", "good"}));
  EXPECT_EQ(out.lost, (std::vector<std::string>{"damaged.utf8", ""}));
  records = group({member("1.png"), member("1.txt", "good"), member("1.json", "{")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions, (std::vector<std::string>{"good", ""}));
  EXPECT_EQ(out.lost, (std::vector<std::string>{"", "damaged.json"}));
  records = group({member("1.png"), member("1.txt", "good")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.lost, (std::vector<std::string>{"", ""}));  // what is absent is not lost
}

TEST(ReadRecord, OneGoodPictureIsEnough) {
  ReadRecord out;
  auto records = group({member("1.png", ""), member("1.jpg", "J"), member("1.txt", "a cat")});
  EXPECT_EQ(RecordReader(two_captions()).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.image, bytes_of("J"));
  records = group({member("1.png", ""), member("1.txt", "a cat")});
  EXPECT_EQ(RecordReader(two_captions()).read(std::move(records[0]), out), "damaged.no_image");
}

TEST(ReadRecord, AnEmptyCaptionIsKeptWhenAsked) {
  CatalogueEntry entry = two_captions();
  entry.captions.empty = "keep";
  ReadRecord out;
  auto records = group({member("1.png"), member("1.txt", " \n")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions, (std::vector<std::string>{"", ""}));
  records = group({member("1.png")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "damaged.no_caption");
}

TEST(ReadRecord, JsonAsPythonTakesIt) {
  const CatalogueEntry entry = two_captions();
  for (const char* json :
       {R"({"long": "a cat", "punsafe": NaN})", R"({"x": [-Infinity, Infinity], "long": "a cat"})",
        R"({"long": "an old cat", "long": "a cat"})", "\xef\xbb\xbf{\"long\": \"a cat\"}",
        R"({"n": 1e400, "long": "a cat", "m": [-1e999]})", R"({"other": "\ud83d", "long": "a cat"})"}) {
    ReadRecord out;
    auto records = group({member("1.png"), member("1.json", json)});
    EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "") << json;
    EXPECT_EQ(out.captions[1], "a cat");
  }
  ReadRecord out;
  auto records = group({member("1.png"), member("1.json", R"({"long": "NaN and \" Infinity"})")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions[1], "NaN and \" Infinity");
  records =
      group({member("1.png"), member("1.json", R"({"long": "\ud83d \ud83d\ude00 \ude00 \\ud83d 1e400"})")});
  EXPECT_EQ(RecordReader(two_captions()).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions[1], "\xef\xbf\xbd \xf0\x9f\x98\x80 \xef\xbf\xbd \\ud83d 1e400");
}

TEST(ReadRecord, ExtensionsOfTheEntryInAnyForm) {
  CatalogueEntry entry = two_captions();
  entry.record.image = {".PNG", "JPG"};
  entry.record.caption = {{"name", "TXT"}, {"long", "json:long"}};
  EXPECT_EQ(wanted_extensions(entry), (std::vector<std::string>{"jpg", "json", "png", "txt"}));
  ReadRecord out;
  auto records = group({member("1.jpg"), member("1.txt", "a cat")});
  EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
  EXPECT_EQ(out.captions[0], "a cat");
}

TEST(Skips, OnlyDamageCountsAndOneExampleIsKept) {
  Skips skips, more;
  skips.add("filtered.too_small", "a/1");
  skips.add("filtered.too_small", "a/2");
  more.add("damaged.json", "b/1");
  more.add("unsupported.format", "b/2");
  skips.merge(more);
  EXPECT_EQ(skips.total(), 4);
  EXPECT_EQ(skips.damaged(), 2);
  EXPECT_EQ(skips.text(),
            "damaged.json 1 (e.g. b/1), filtered.too_small 2 (e.g. a/1), unsupported.format 1 (e.g. b/2)");
  EXPECT_EQ(Skips::from_json(skips.to_json()).text(), skips.text());
}

TEST(Skips, UnsortedArchivesAreSaidToBe) {
  Skips skips;
  for (int i = 0; i < 8; ++i) skips.add("damaged.no_caption", "a"), skips.add("damaged.duplicate_key", "a");
  EXPECT_NE(skips.advice().find("--sort=name"), std::string::npos);
  Skips wrong;
  for (int i = 0; i < 8; ++i) wrong.add("damaged.no_image", "a");
  EXPECT_NE(wrong.advice().find("record.image"), std::string::npos);
}

TEST(ReadRecord, ColumnsHoldWhatADoubleHolds) {
  CatalogueEntry entry = two_captions();
  entry.tables.emplace_back().columns = {{"score", "score"}};
  const auto read = [&](const tables::Value& cell) {
    auto records = group({member("1.jpg"), member("1.txt", "a cat")});
    records[0].cells["score"] = cell;
    ReadRecord out;
    EXPECT_EQ(RecordReader(entry).read(std::move(records[0]), out), "");
    const std::string lost =
        out.lost_columns.empty() ? "" : out.lost_columns[0].first + out.lost_columns[0].second;
    EXPECT_EQ(std::isnan(out.columns.at(0)), !lost.empty() || tables::is_null(cell) ||
                                                 cell == tables::Value(" ") || cell == tables::Value("nan"));
    return lost.empty() ? fmt::format("{}", out.columns[0]) : lost;
  };
  EXPECT_EQ(read(std::int64_t{1} << 53), "9007199254740992");
  EXPECT_EQ(read(std::int64_t{1} << 60), "1.152921504606847e+18");
  EXPECT_EQ(read((std::int64_t{1} << 53) + 1), "score: beyond 2^539007199254740993");
  EXPECT_EQ(read(std::numeric_limits<std::int64_t>::max()), "score: beyond 2^539223372036854775807");
  EXPECT_EQ(read(std::numeric_limits<std::int64_t>::min()), "-9.223372036854776e+18");
  EXPECT_EQ(read("007"), "7");
  EXPECT_EQ(read("-0"), "-0");
  EXPECT_EQ(read(0.1), "0.1");
  EXPECT_EQ(read(1e300), "1e+300");
  EXPECT_EQ(read(true), "1");
  EXPECT_EQ(read(tables::Value()), "nan");
  EXPECT_EQ(read(" "), "nan");
  EXPECT_EQ(read("van Gogh"), "score: no numbervan Gogh");
  EXPECT_EQ(read("nan"), "nan") << "a missing value, as pandas writes it";
}

}  // namespace
}  // namespace microdit::ingest
