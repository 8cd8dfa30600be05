// Tables of text that were made to hurt: refused with a reason, in bounded time and memory.
#include "tables/hostile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/build_table.h"
#include "tables/csv_rows.h"
#include "tables/json_rows.h"
#include "tables/table_file.h"

namespace microdit::tables {
namespace {

using testing::HasSubstr;
constexpr std::uint64_t kGiB = 1u << 30;

std::string json(const ByteSource& source, const std::string& rows = "data") {
  return refusal_in_bounds([&] {
    const core::StopFlag stop;
    read_json_rows(
        source, rows, {"x.json", {"a"}}, [](auto) {}, stop);
  });
}
std::string csv(const ByteSource& source) {
  return refusal_in_bounds([&] {
    const core::StopFlag stop;
    read_csv_rows(
        source, {}, {"x.csv", {"a"}}, [](auto) {}, stop);
  });
}

TEST(HostileJson, DepthBombs) {
  EXPECT_THAT(json(long_bytes("", '[', kGiB), "."), HasSubstr("nested deeper than 200 levels"));
  EXPECT_THAT(json(long_bytes("{\"x\": ", '[', kGiB)), HasSubstr("nested deeper than 200 levels"));
  EXPECT_THAT(json(long_bytes("{\"data\": [{\"a\": ", '[', kGiB)),
              HasSubstr("nested deeper than 200 levels"));
  EXPECT_THAT(json(long_bytes("{\"a\": ", '[', 10'000), "lines"), HasSubstr("nested deeper than 200 levels"));
}

TEST(HostileJson, EndlessTextsAndNumbers) {
  EXPECT_THAT(json(long_bytes("{\"data\": [{\"a\": \"", 'x', kGiB)),
              HasSubstr("a row of more than 1048576 bytes"));
  EXPECT_THAT(json(long_bytes("{\"data\": [", '9', kGiB)), HasSubstr("a row of more than 1048576 bytes"));
  EXPECT_THAT(json(long_bytes("{\"", 'x', kGiB)), HasSubstr("a row of more than 1048576 bytes")) << "a name";
  EXPECT_THAT(json(long_bytes("{\"x\": \"", 'x', kGiB)), HasSubstr("cut short"))
      << "passed over, in no memory";
  EXPECT_THAT(json(long_bytes("", 'x', kGiB), "lines"), HasSubstr("line 1: more than 1048576 bytes"));
  EXPECT_THAT(json(long_bytes("", '\n', kGiB / 16), "lines"), "");
  EXPECT_THAT(json(long_bytes("", ' ', kGiB)), HasSubstr("no object with 'data'"));
}

TEST(HostileJson, WhatIsNoText) {
  EXPECT_THAT(json(bytes_of("{\"data\": [{\"a\": \"\xff\"}]}")), HasSubstr("x.json: row 1: not valid JSON"));
  EXPECT_THAT(json(bytes_of("{\"data\": [{\"\xc0\x80\": 1}]}")), HasSubstr("not valid JSON"));
  EXPECT_THAT(json(bytes_of("{\"data\": [}]}")), HasSubstr("a value is missing"));
  EXPECT_THAT(json(bytes_of("{\"x\": [1}, \"data\": []}")), HasSubstr("'}' where ']' is to come"));
  EXPECT_THAT(json(bytes_of(std::string("\x7f"
                                        "ELF\0\0\0",
                                        7)),
                   "lines"),
              HasSubstr("not valid JSON"));
}

TEST(HostileCsv, EndlessLinesAndFields) {
  EXPECT_THAT(csv(long_bytes("", 'x', kGiB)), HasSubstr("more than 1048576 bytes"));
  EXPECT_THAT(csv(long_bytes("a\n\"", 'x', kGiB)),
              HasSubstr("more than 1048576 bytes; is a quote not closed?"));
  EXPECT_THAT(csv(long_bytes("a\n\"", '\n', kGiB)),
              HasSubstr("more than 1048576 bytes; is a quote not closed?"));
  EXPECT_THAT(csv(long_bytes("a", ',', kGiB)), HasSubstr("more than 4096 fields"));
  EXPECT_THAT(csv(long_bytes("a\n", ',', kGiB)), HasSubstr("more than 4096 fields"));
  EXPECT_THAT(csv(long_bytes("a\n\"", '"', kGiB)), HasSubstr("more than 1048576 bytes"));
}

TEST(HostileCsv, ZeroBytesAndBadText) {
  EXPECT_THAT(csv(long_bytes("a\n", '\0', kGiB)), HasSubstr("a zero byte: this is no text"));
  const std::string bad = refusal_in_bounds([] {
    const ScratchFolder folder;
    const core::StopFlag stop;
    build_table(folder / "a", {.kind = "csv", .files = {"x.csv"}, .key = "{k}", .columns = {{"a", "a"}}},
                {.origin = "x.csv", .bytes = bytes_of("k,a\n1,ok\n2,\xff\n3,\xfe\n")}, stop);
  });
  EXPECT_THAT(bad, HasSubstr("2 of 3 rows are damaged (x.csv: row 2: its `a` is not UTF-8"));
}

TEST(HostileTexts, AreCountedAndHaveNoText) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  TextTable texts(folder / "a",
                  {.kind = "texts", .files = {"x.tar"}, .key = "{stem}", .columns = {{"caption", "text"}}},
                  stop);
  texts.add("./captions/sa_1.txt", "\n\u3000 a cat \u00a0\x1c\n");
  texts.add("captions/sa_2.txt", "a\xff");
  texts.add("captions/sa_3.txt", std::string(2 << 20, 'x'));
  texts.add("captions/sa_4.txt", " \n");
  for (int i = 100; i < 296; ++i) texts.add(fmt::format("captions/sa_{}.txt", i), "x");
  const TableCounts counts = texts.finish();
  EXPECT_EQ(counts.damaged, 2u);
  EXPECT_EQ(counts.damaged_example, "captions/sa_2.txt");
  const TableFile table(folder / "a");
  EXPECT_THAT(table.find("sa_1"), testing::ElementsAre(Row{"a cat"}));
  EXPECT_THAT(table.find("sa_4"), testing::ElementsAre(Row{""})) << "an empty text is one";
  for (const char* key : {"sa_2", "sa_3"})
    EXPECT_THAT(table.find(key), testing::ElementsAre(Row{Value()})) << key;
}

}  // namespace
}  // namespace microdit::tables
