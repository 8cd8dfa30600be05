// Rows of JSON documents and of JSON lines.
#include "tables/json_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/scratch.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<Row> read(const ByteSource& source, const std::string& rows, std::vector<std::string> columns) {
  std::vector<Row> found;
  const core::StopFlag stop;
  read_json_rows(
      source, rows, {"x.json", std::move(columns)},
      [&](auto row) { found.emplace_back(row.begin(), row.end()); }, stop);
  return found;
}
std::vector<Row> read(const std::string& text, const std::string& rows, std::vector<std::string> columns) {
  return read(bytes_of(text), rows, std::move(columns));
}
std::string refusal(const std::string& text, const std::string& rows = "data",
                    std::vector<std::string> columns = {"a"}) {
  return message_of<core::UserError>([&] { read(text, rows, columns); });
}

TEST(JsonRows, AreFoundWhereverTheListIs) {
  const std::string text =
      R"( {"x": {"y\"": ["]", {"z": "}"}], "e": {}}, "a": {"b/c": {"n": 1, "rows": [{"a": 1}, {"a": 2} ] }}, "q": -1e5} )";
  EXPECT_THAT(read(text, "a/b~1c/rows", {"a"}), ElementsAre(Row{std::int64_t{1}}, Row{std::int64_t{2}}));
  EXPECT_THAT(read("\xef\xbb\xbf [ {\"a\" : \"x\"} ]\n", ".", {"a"}), ElementsAre(Row{"x"}));
  EXPECT_THAT(read("[]", ".", {"a"}), IsEmpty());
  EXPECT_THAT(read(R"({"data":[]})", "data", {"a"}), IsEmpty());
}

TEST(JsonRows, DoNotDependOnThePiecesThatComeIn) {
  const std::string text =
      R"({"s": "\\\"[{", "data": [{"a": "é\u00e9\ud83d\ude00", "b": {"c": ["x", {"d": null}]}}, {"a": ""}]})";
  const auto whole = read(text, "data", {"a", "b/c/0", "b/c/1/d", "b/c/2"});
  EXPECT_THAT(whole, ElementsAre(Row{"éé😀", "x", Value(), Value()}, Row{"", Value(), Value(), Value()}));
  for (const std::size_t piece : {1, 2, 3, 7})
    EXPECT_EQ(read(bytes_of(text, piece), "data", {"a", "b/c/0", "b/c/1/d", "b/c/2"}), whole);
}

TEST(JsonRows, ReadWhatPythonReads) {
  EXPECT_THAT(read(R"([{"a": NaN, "b": -Infinity, "c": 1e400, "d": "\ud800"}])", ".", {"a", "b", "c", "d"}),
              ElementsAre(Row{Value(), Value(), Value(), "\ufffd"}));
  EXPECT_THAT(read(R"([{"a": 1, "a": 2}])", ".", {"a"}), ElementsAre(Row{std::int64_t{2}}))
      << "the last counts";
  EXPECT_THAT(
      read(
          R"([{"a": 9223372036854775807, "b": 9223372036854775808, "c": 123456789012345678901234567890, "d": -9e2, "e": -9223372036854775809}])",
          ".", {"a", "b", "c", "d", "e"}),
      ElementsAre(Row{std::int64_t{9223372036854775807}, "9223372036854775808",
                      "123456789012345678901234567890", -900.0, "-9223372036854775809"}));
}

TEST(JsonRows, ComeFromLinesToo) {
  EXPECT_THAT(read("{\"a\": 1}\r\n\n  \n{\"a\": \"x\\ny\"}", "lines", {"a"}),
              ElementsAre(Row{std::int64_t{1}}, Row{"x\ny"}));
  EXPECT_THAT(read("", "lines", {"a"}), IsEmpty());
  EXPECT_THAT(refusal("{\"a\": 1}\n{\"a\": \n", "lines"), HasSubstr("x.json: row 2: not valid JSON"));
  EXPECT_THAT(refusal("[{\"a\": 1}]\n", "lines"), HasSubstr("x.json: row 1: no object, but array"));
}

TEST(JsonRows, SayWhatIsWrong) {
  EXPECT_THAT(refusal(R"({"rows": [], "n": 1})"), HasSubstr("no 'data' is there (but rows, n); see `rows`"));
  EXPECT_THAT(refusal(R"({"data": {"a": 1}})"), HasSubstr("no list is there; see `rows`"));
  EXPECT_THAT(refusal(R"([{"a": 1}])"), HasSubstr("no object with 'data' is there"));
  EXPECT_THAT(refusal(R"({"data": [{"a": 1}], "data": []})"), HasSubstr("'data' comes twice"));
  EXPECT_THAT(refusal(R"({"data": [{"a": 1}, 7]})"), HasSubstr("row 2: no object, but number"));
  EXPECT_THAT(refusal(R"({"data": [{"a": ["x"]}]})"),
              HasSubstr("`a` is a list: name one of its values (a/0)"));
  EXPECT_THAT(refusal(R"({"data": [{"a": {"k": 1}}]})"),
              HasSubstr("`a` is an object: name one of its values (a/k)"));
  EXPECT_THAT(refusal("{\"a\": 1}\n{\"a\": 2}", "."), HasSubstr("no list is there"));
  EXPECT_THAT(refusal("[{\"a\": 1}]\n[]", "."), HasSubstr("more behind the document's end"));
  EXPECT_THAT(refusal("\xff\xfe[\0]\0", "."), HasSubstr("is UTF-16"));
}

TEST(JsonRows, NoticeADocumentThatIsCutShort) {
  const std::string text = R"({"data": [{"a": "b\"c"}, {"a": {"b": [1, 2]}}], "z": [1]})";
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_NE(refusal(text.substr(0, size), "data", {"c"}), "") << size;
  EXPECT_EQ(refusal(text, "data", {"c"}), "");
}

}  // namespace
}  // namespace microdit::tables
