// Rows of CSV and TSV.
#include "tables/csv_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/scratch.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<Row> read(const std::string& text, std::vector<std::string> columns, const CsvRules& rules = {},
                      std::size_t piece = 1 << 20) {
  std::vector<Row> found;
  const core::StopFlag stop;
  read_csv_rows(
      bytes_of(text, piece), rules, {"x.csv", std::move(columns)},
      [&](auto row) { found.emplace_back(row.begin(), row.end()); }, stop);
  return found;
}
std::string refusal(const std::string& text, const CsvRules& rules = {}) {
  return message_of<core::UserError>([&] { read(text, {"a"}, rules); });
}

TEST(CsvRows, AreReadByRfc4180) {
  const std::string text =
      "\xef\xbb\xbf"
      "a,\"b c\",d\r\n1,\"x, \"\"y\"\"\nz\",\r\n\r\n,\"\",\"3\"\n4,5,6";
  const auto rows = read(text, {"b c", "a", "d"});
  EXPECT_THAT(rows,
              ElementsAre(Row{"x, \"y\"\nz", "1", Value()}, Row{Value(), Value(), "3"}, Row{"5", "4", "6"}));
  for (const std::size_t piece : {1, 2, 3, 5}) EXPECT_EQ(read(text, {"b c", "a", "d"}, {}, piece), rows);
  EXPECT_THAT(read("a\rx\ry\r", {"a"}), ElementsAre(Row{"x"}, Row{"y"}));
  EXPECT_THAT(read("a,b\n", {"a"}), IsEmpty());
}

TEST(CsvRows, AreSeparatedAsTheSpecSays) {
  EXPECT_THAT(read("a\tb\n\"x\"\ty,z\n", {"a", "b"}, csv_rules("tab", true)), ElementsAre(Row{"x", "y,z"}));
  EXPECT_THAT(read("a\tb\n\"x\" y\t\"\n", {"a", "b"}, csv_rules("tab", false)),
              ElementsAre(Row{"\"x\" y", "\""}));
  EXPECT_THAT(read("a;b\n1;2,5\n", {"b"}, csv_rules(";", true)), ElementsAre(Row{"2,5"}));
}

TEST(CsvRows, SayWhatIsWrong) {
  EXPECT_THAT(refusal(""), HasSubstr("x.csv: is empty; a header line is needed"));
  EXPECT_THAT(refusal("b,c\n1,2\n"), HasSubstr("its header has no column 'a', but: b, c"));
  EXPECT_THAT(refusal("a,b,a\n1,2,3\n"), HasSubstr("its header has more than one column 'a'"));
  EXPECT_THAT(refusal("a,b\n\"1\n\n\",2\n3\n"),
              HasSubstr("the row that begins at line 5: 1 fields, the header has 2"));
  EXPECT_THAT(refusal("a,b\n1,2,3\n"), HasSubstr("3 fields, the header has 2"));
  EXPECT_THAT(refusal("a\n\"x\" y\n"), HasSubstr("text behind a closing quote"));
  EXPECT_THAT(refusal("a\n\"x\ny\n"), HasSubstr("the row that begins at line 2: a quote is not closed"));
  EXPECT_THAT(refusal(std::string("a\nx\0y\n", 6)), HasSubstr("a zero byte"));
  EXPECT_THAT(refusal("\xff\xfe"
                      "a"),
              HasSubstr("is UTF-16"));
}

}  // namespace
}  // namespace microdit::tables
