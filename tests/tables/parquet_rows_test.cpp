// Parquet as pyarrow writes it (data/make_parquet.py): codecs, encodings, types; and files that lie.
#include "tables/parquet_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>

#include "tables/build_table.h"
#include "tables/hostile.h"
#include "tables/json_rows.h"
#include "tables/parquet_file.h"
#include "tables/table_builder.h"

namespace microdit::tables {
namespace {

using testing::HasSubstr;

const std::filesystem::path kData = MICRODIT_SOURCE_DIR "/tests/tables/data";
const std::vector<std::string> kColumns = {"big",  "name",  "nsfw",  "part", "prompt",
                                           "safe", "score", "small", "word"};

class ParquetRows : public testing::Test {
 protected:
  void SetUp() override {
    if (!reads_parquet()) GTEST_SKIP() << "this build has no Arrow";
  }
};

std::uint64_t read(const std::filesystem::path& file, const std::vector<std::string>& columns,
                   const std::function<void(const Row&)>& see = nullptr) {
  const core::StopFlag stop;
  std::uint64_t rows = 0;
  read_parquet_rows(
      file, {file.filename(), columns},
      [&](std::span<const Value> row) {
        ++rows;
        if (see) see(Row(row.begin(), row.end()));
      },
      stop);
  return rows;
}

/// The refusal of a file, within bounds of time and memory.
std::string refusal(const std::filesystem::path& file,
                    const std::vector<std::string>& columns = {"key", "text"}) {
  return refusal_in_bounds([&] { read(file, columns); });
}
std::string refusal_of(const std::string& bytes) {
  const ScratchFolder folder;
  return refusal(folder.write("x.parquet", bytes));
}

/// A file whose footer is these bytes.
std::string with_footer(const std::string& footer) {
  const auto size = static_cast<std::uint32_t>(footer.size());
  return "PAR1" + footer + std::string(reinterpret_cast<const char*>(&size), sizeof size) + "PAR1";
}

TEST(ParquetAbsent, IsSaidWithWhatToDo) {
  if (reads_parquet()) GTEST_SKIP() << "this build has Arrow";
  EXPECT_THAT(
      message_of<core::UserError>([] { read(kData / "none.parquet", {"name"}); }),
      HasSubstr(
          "none.parquet: this program was built without Arrow and reads no Parquet. Run scripts/setup.sh"));
}

TEST_F(ParquetRows, AreThoseThatWereWritten) {
  std::vector<Row> expected;
  const core::StopFlag stop;
  read_json_rows(
      bytes_of(contents(kData / "rows.jsonl")), "lines", {"rows.jsonl", kColumns},
      [&](auto row) { expected.emplace_back(row.begin(), row.end()); }, stop);
  ASSERT_EQ(expected.size(), 300u);
  for (Row& row : expected)  // a float that is .2 is above .2, as in pandas
    if (auto* number = std::get_if<double>(&row[2])) *number = static_cast<float>(*number);
  EXPECT_GT(std::get<double>(expected[0][2]), .2);
  for (const char* name : {"none", "snappy", "zstd", "gzip", "lz4", "brotli", "delta"}) {
    std::vector<Row> found;
    read(kData / (std::string(name) + ".parquet"), kColumns, [&](const Row& row) { found.push_back(row); });
    ASSERT_EQ(found.size(), expected.size()) << name;
    bool infinite = false;  // JSON has no such number
    for (Row& row : found)
      for (Value& cell : row)
        if (auto* number = std::get_if<double>(&cell); number && std::isinf(*number)) {
          infinite = true;
          cell = {};
        }
    EXPECT_TRUE(infinite) << name;
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], expected[i]) << name << " row " << i;
  }
}

TEST_F(ParquetRows, NameTheColumnThatIsNone) {
  EXPECT_THAT(refusal(kData / "two.parquet", {"caption"}),
              HasSubstr("two.parquet: it has no column 'caption', but: key, text"));
  EXPECT_THAT(refusal(kData / "twice.parquet", {"key"}), HasSubstr("more than one column 'key'"));
  EXPECT_THAT(refusal(kData / "list.parquet"),
              HasSubstr("its column 'text' is a list (its first element is 'text/0')"));
  EXPECT_THAT(refusal(kData / "two.parquet", {"text/0"}), HasSubstr("its column 'text' is no list"));
  EXPECT_THAT(refusal(kData / "list.parquet", {"word/0"}), HasSubstr("no column 'word/0'"));
  EXPECT_THAT(refusal(kData / "deep.parquet"), HasSubstr("no column 'text'"));
}

/// Row i has no list where i % 5 is 0, else i % 5 - 1 elements, the third of them null; batches, pages and row groups end anywhere.
TEST_F(ParquetRows, HaveElementsOfLists) {
  std::int64_t i = 0;
  EXPECT_EQ(read(kData / "lists.parquet", {"text/0", "key", "text/2", "text.list.element/1"},
                 [&](const Row& row) {
                   const auto wanted = [&](int element) {
                     return i % 5 - 1 > element ? Value(fmt::format("{} {}", i, element)) : Value();
                   };
                   ASSERT_EQ(row, (Row{wanted(0), fmt::format("k{}", i), {}, wanted(1)})) << i;
                   ++i;
                 }),
            3000u);
}

TEST_F(ParquetRows, SayWhichColumnIsTooLargeAndHowToWriteIt) {
  const core::StopFlag stop;
  const std::string message = message_of<core::UserError>([&] {
    ParquetFile file(core::InputFile(kData / "zstd_bomb.parquet"), "x.parquet", {.decoded_bytes = 8 << 20},
                     stop);
    EXPECT_TRUE(file.has("text"));
    EXPECT_FALSE(file.has("tex"));
    file.read({"x.parquet", {"key", "text"}, {}}, [](auto) {});
  });
  EXPECT_THAT(message,
              HasSubstr("x.parquet: cannot be read as Parquet: column `text` of row group 0 (0 MiB"));
  EXPECT_THAT(message, HasSubstr("more than 8 MiB would be decoded at a time"));
  EXPECT_THAT(message, HasSubstr("row_group_size=100"));
  EXPECT_THAT(message_of<core::UserError>([&] {
                ParquetFile(core::InputFile(kData / "two.parquet"), "x.parquet", {.rows = 1}, stop);
              }),
              HasSubstr("it says that it has 2 rows; one of"));
}

TEST_F(ParquetRows, ThatLieAreRefused) {
  EXPECT_THAT(refusal(kData / "index.parquet"), HasSubstr("cannot be read as Parquet"));
  EXPECT_THAT(refusal(kData / "zstd_bomb.parquet"), HasSubstr("more than 64 MiB would be decoded at a time"));
  EXPECT_THAT(refusal(kData / "snappy_lie.parquet"), HasSubstr("cannot be read as Parquet"));
  EXPECT_THAT(refusal(kData / "repeated_bomb.parquet"),
              HasSubstr("it unpacks to more than 100 times its size"));
}

TEST_F(ParquetRows, RefuseTextThatIsNone) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  for (const auto& [file, why] : {std::pair("not_utf8", "row 1: its key is not UTF-8"),
                                  std::pair("zero_byte", "row 1: its key holds a zero byte")}) {
    TableBuilder builder(
        folder / "a", {.kind = "parquet", .files = {"x.parquet"}, .key = "{key}", .columns = {{"t", "text"}}},
        stop);
    for (int twice = 0; twice < 2; ++twice)  // one damaged row is forgiven
      read(kData / (std::string(file) + ".parquet"), {"key", "text"},
           [&](const Row& row) { builder.add(row); });
    EXPECT_THAT(message_of<core::UserError>([&] { builder.finish(); }), HasSubstr(why));
  }
}

TEST_F(ParquetRows, WithoutTextAreCountedInATable) {
  const ScratchFolder folder;
  const core::StopFlag stop;
  const TableSpec spec{.kind = "parquet", .files = {"x.parquet"}, .key = "{key}", .columns = {{"t", "text"}}};
  const TableInput input{.origin = "x.parquet", .file = kData / "not_utf8.parquet"};
  const TableCounts counts = build_table(folder / "a", spec, input, stop);
  EXPECT_EQ(counts.rows, 1u);
  EXPECT_EQ(counts.damaged, 1u);
  EXPECT_EQ(counts.damaged_example, "row 1: `key` is not UTF-8");
}

TEST_F(ParquetRows, WhoseFooterIsABombAreRefusedUnread) {
  EXPECT_THAT(refusal_of(""), HasSubstr("too short"));
  EXPECT_THAT(refusal_of("PAR1" + std::string(100, 'x')), HasSubstr("no Parquet file, or cut short"));
  EXPECT_THAT(refusal_of("PAR1xxxx" + std::string("\x10\0\0\0PARE", 8)), HasSubstr("encrypted"));
  EXPECT_THAT(refusal_of("PAR1xxxx" + std::string("\xff\xff\xff\x7fPAR1", 8)),
              HasSubstr("longer than the file"));
  EXPECT_THAT(refusal_of(with_footer(std::string(17 << 20, '\0'))),
              HasSubstr("footer has 17825792 bytes, more than 16777216"));
  EXPECT_THAT(refusal_of(with_footer(std::string(1 << 20, '\x1c'))), HasSubstr("nested deeper than 32"));
  EXPECT_THAT(refusal_of(with_footer(std::string(1 << 20, '\x19'))), HasSubstr("nested deeper than 32"));
  EXPECT_THAT(refusal_of(with_footer("\x18\xff\xff\xff\xff\x03")), HasSubstr("ends too early"))
      << "a text of 1 GiB";
  EXPECT_THAT(refusal_of(with_footer("\x19\xfc\xff\xff\xff\xff\x07")), HasSubstr("a list of"))
      << "2^31 structures";
  // A million empty structures; then as many columns.
  EXPECT_THAT(refusal_of(with_footer("\x49\xfc\xc0\x84\x3d" + std::string(1'000'001, '\0'))),
              HasSubstr("more than 500000 structures"));
  EXPECT_THAT(refusal_of(with_footer("\x29\xfc\xc0\x84\x3d" + std::string(1'000'001, '\0'))),
              HasSubstr("more than 4096 columns"));
}

/// Number of rows 2 is the byte 4 wherever the footer says it (zigzag): each such place changed is a lie or does no harm.
TEST_F(ParquetRows, WhoseCountsDisagreeAreRefused) {
  const std::string good = contents(kData / "two.parquet");
  const ScratchFolder folder;
  const std::size_t footer = good.size() - 8 - static_cast<unsigned char>(good[good.size() - 8]) -
                             256 * static_cast<unsigned char>(good[good.size() - 7]);
  int refused = 0;
  for (std::size_t at = footer; at + 8 < good.size(); ++at) {
    if (good[at] != 4) continue;
    for (const char lie : {2, 6, 126}) {
      std::string bytes = good;
      bytes[at] = lie;
      const std::string message = refusal_in_bounds([&] {
        if (read(folder.write("x.parquet", bytes), {"key", "text"}) != 2) std::abort();
      });
      refused += !message.empty();
    }
  }
  EXPECT_GE(refused, 6) << "of the file's and of the row group's number of rows";
}

TEST_F(ParquetRows, WithAnyByteChangedAreRowsOrARefusal) {
  const std::string good = contents(kData / "two.parquet");
  const ScratchFolder folder;
  for (std::size_t size = 0; size < good.size(); size += 7)
    EXPECT_NE(refusal(folder.write("x.parquet", good.substr(0, size))), "") << size;
  const std::string message = refusal_in_bounds([&] {
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (const int change : {1, 0x80, 0xff}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ change);
        try {
          read(folder.write("x.parquet", bytes), {"key", "text"});
        } catch (const core::UserError&) {
        }
      }
    }
  });
  EXPECT_EQ(message, "");
}

TEST_F(ParquetRows, HeedAStop) {
  core::StopFlag stop;
  stop.request();
  EXPECT_THROW(read_parquet_rows(
                   kData / "none.parquet", {"x", {"name"}}, [](auto) {}, stop),
               core::Stopped);
}

}  // namespace
}  // namespace microdit::tables
