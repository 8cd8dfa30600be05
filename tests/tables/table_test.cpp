// From a JSON document to a caption: rows, builder, file, lookup.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tables/json_rows.h"
#include "tables/scratch.h"
#include "tables/table_builder.h"
#include "tables/table_file.h"

namespace microdit::tables {
namespace {

using testing::ElementsAre;

TEST(Table, CaptionsOfAJsonDocumentAreFoundByPicture) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  TableSpec spec{.kind = "json",
                 .files = {"captions.json"},
                 .rows = "annotations",
                 .key = "COCO_{image_id:012}.jpg",
                 .join = "{basename}",
                 .columns = {{"caption", "caption"}, {"id", "id"}},
                 .repeated = "all"};
  TableBuilder builder(folder / "captions.table", spec, stop);
  const std::string text = R"({"info": {"a": [1, "]"]}, "annotations": [
    {"image_id": 7, "id": 1, "caption": "a cat"}, {"image_id": 12345678901234567890123, "id": 2.5, "caption": "big"},
    {"image_id": 7, "id": true, "caption": null}, {"id": 9}], "x": NaN})";
  read_json_rows(
      bytes_of(text), spec.rows, {"captions.json", builder.source_columns()},
      [&](std::span<const Value> row) { builder.add(row); }, stop);
  const TableCounts counts = builder.finish();
  EXPECT_EQ(counts.rows, 4u);
  EXPECT_EQ(counts.keys, 2u);
  EXPECT_EQ(counts.repeated, 1u);
  EXPECT_EQ(counts.without_key, 1u);
  EXPECT_EQ(counts.without_key_example, "row 4: `image_id` is absent");
  const TableFile table(folder / "captions.table");
  EXPECT_THAT(table.columns(), ElementsAre("caption", "id"));
  const PathTemplate join(spec.join, "join");
  EXPECT_THAT(
      table.find(join.key("./val/COCO_000000000007.jpg")),
      ElementsAre(ElementsAre(Value("a cat"), Value(std::int64_t{1})), ElementsAre(Value(), Value(true))));
  EXPECT_THAT(table.find("COCO_12345678901234567890123.jpg"),
              ElementsAre(ElementsAre(Value("big"), Value(2.5))));
  EXPECT_TRUE(table.find("COCO_000000000008.jpg").empty());
  EXPECT_THAT(folder.names(), ElementsAre("captions.table"));
  table.verify();
}

}  // namespace
}  // namespace microdit::tables
