// The YAML of a table; tables of every kind by the one door.
#include "tables/table_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/build_table.h"
#include "tables/parquet_rows.h"
#include "tables/scratch.h"
#include "tables/table_file.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TableSpec spec_of(const std::string& yaml) {
  return core::load<TableSpec>(core::ConfigTree::parse(yaml, "x.yaml"));
}
std::string refusal(const std::string& yaml) {
  return message_of<core::UserError>([&] { spec_of(yaml); });
}

TEST(TableSpec, IsReadAndPrintedBack) {
  const TableSpec spec = spec_of(
      "kind: json\nfile: a.json\nrows: data\nkey: '{id:012}'\njoin: '{stem}'\ncolumns: {caption: texts/0, "
      "nsfw: nsfw}\nrepeated: all\n");
  EXPECT_EQ(spec.rows, "data");
  EXPECT_THAT(spec.source_columns(), ElementsAre("id", "nsfw", "texts/0"));
  EXPECT_EQ(core::to_yaml(spec_of(core::to_yaml(spec))), core::to_yaml(spec));
  const TableSpec texts = spec_of("kind: texts\nfile: a.tgz\ncolumns: {caption: text}\n");
  EXPECT_EQ(texts.key + texts.join, "{stem}{stem}");
  EXPECT_THAT(texts.source_columns(), ElementsAre("stem", "text"));
}

TEST(TableSpec, NamesTheMistake) {
  const std::string good = "kind: csv\nfile: a.csv\nkey: '{id}'\ncolumns: {c: c}\n";
  EXPECT_EQ(refusal(good), "");
  EXPECT_THAT(refusal(good + "rows: data\n"), HasSubstr("only kind: json has it"));
  EXPECT_THAT(refusal(good + "separator: ab\n"), HasSubstr("must be one character, or tab"));
  EXPECT_THAT(
      refusal(good + "join: '{id}'\n"),
      HasSubstr(
          "a member has {path}, {dir}, {parent}, {top}, {basename}, {stem}, {root} and {archive}, no {id}"));
  EXPECT_THAT(refusal("kind: csv\nfile: a.csv\nkey: '{id'\ncolumns: {c: c}\n"),
              HasSubstr("at character 1: this '{' is not closed"));
  EXPECT_THAT(refusal("kind: csv\nfile: a.csv\nkey: '{id}'\n"), HasSubstr("names no column"));
  EXPECT_THAT(refusal("kind: coco\nfile: a\nkey: '{id}'\ncolumns: {c: c}\n"), HasSubstr("texts"));
  EXPECT_THAT(refusal("kind: texts\nfile: a\ncolumns: {c: caption}\n"),
              HasSubstr("a text has text, path, dir, basename and stem"));
  EXPECT_THAT(refusal("kind: texts\nfile: a\nkey: '{id}'\ncolumns: {c: text}\n"),
              HasSubstr("'id': a text has"));
  EXPECT_THAT(refusal("kind: parquet\nfile: a\nmember: b\nkey: '{id}'\ncolumns: {c: c}\n"),
              HasSubstr("read in place"));
}

TEST(BuildTable, TakesEveryKind) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  const auto built = [&](const std::string& yaml, const std::string& text) {
    const TableInput input{
        .origin = "x", .bytes = bytes_of(text), .file = MICRODIT_SOURCE_DIR "/tests/tables/data/two.parquet"};
    EXPECT_EQ(build_table(folder / "a", spec_of(yaml), input, stop).keys, 2u);
    std::vector<Row> rows;
    for (const char* key : {"a.jpg", "b.jpg"})
      for (const Row& row : TableFile(folder / "a").find(key)) rows.push_back(row);
    return rows;
  };
  const std::string rest = "file: x\nkey: '{key}.jpg'\ncolumns: {t: text}\n";
  const auto expected = ElementsAre(Row{"x"}, Row{"y"});
  EXPECT_THAT(
      built("kind: json\n" + rest, "{\"key\": \"b\", \"text\": \"y\"}\n{\"key\": \"a\", \"text\": \"x\"}\n"),
      expected);
  EXPECT_THAT(built("kind: json\nrows: r\n" + rest,
                    R"({"r": [{"key": "b", "text": "y"}, {"key": "a", "text": "x"}]})"),
              expected);
  EXPECT_THAT(built("kind: csv\n" + rest, "text,key\ny,b\nx,a\n"), expected);
  EXPECT_THAT(built("kind: csv\nseparator: tab\n" + rest, "text\tkey\ny\tb\nx\ta\n"), expected);
  if (reads_parquet()) {
    EXPECT_THAT(built("kind: parquet\n" + rest, ""), expected);
  }
}

TEST(BuildTable, PartsAreOneTable) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  const std::vector<std::string> parts = {"key,text\na,x\nb,y\n", "text,key\nlater,a\nz,c\n"};
  const auto built = [&](const std::string& repeated) {
    std::size_t at = 0;
    const NextInput next = [&]() -> std::optional<TableInput> {
      if (at == parts.size()) return std::nullopt;
      return TableInput{.origin = fmt::format("part {}", at), .bytes = bytes_of(parts[at++]), .file = {}};
    };
    const TableSpec spec =
        spec_of("kind: csv\nfile: [p/*.csv, q.csv]\nkey: '{key}'\ncolumns: {t: text}\nrepeated: " + repeated);
    EXPECT_EQ(spec.name(), "p/*.csv, q.csv");
    EXPECT_EQ(build_table(folder / "a", spec, next, stop).rows, 4u);
    return TableFile(folder / "a").find("a");
  };
  EXPECT_THAT(built("first"), ElementsAre(Row{"x"}));
  EXPECT_THAT(built("all"), ElementsAre(Row{"x"}, Row{"later"}));
}

}  // namespace
}  // namespace microdit::tables
