// Shards whose large columns come row by row.
#include "store/shard_writer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "core/hash.h"
#include "store/example_shard.h"
#include "store/temporary_folder.h"

namespace microdit::store {
namespace {

using core::DType;
using ::testing::HasSubstr;

// The columns of example() that a ShardWriter is given row by row.
ShardContents stream_rows(ShardWriter& writer, ShardContents contents) {
  for (Column& column : contents.columns) {
    if (column.name != "half" && column.name != "text") continue;
    const std::size_t row_bytes = column.bytes.size() / static_cast<std::size_t>(column.shape[0]);
    writer.append(column.name, std::span(column.bytes).first(row_bytes));
    writer.append(column.name, std::span(column.bytes).subspan(row_bytes));
    column = writer.written(column.name);
  }
  contents.sample_hashes = hash_samples(contents, layout_from_json(contents.attributes["layout"]));
  return contents;
}

std::ptrdiff_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

std::vector<Column> rooms() {
  return {{"text", DType::f16, {2, 32}, {}}, {"half", DType::f16, {3, 4, 16}, {}}};
}

TEST(ShardWriter, RowsThatNobodyHolds) {
  const TemporaryFolder folder;
  const ShardContents held = example();
  ShardWriter writer(folder / "a.h5", rooms());
  const ShardContents streamed = stream_rows(writer, held);
  EXPECT_EQ(streamed.sample_hashes, held.sample_hashes);
  const std::string sha256 = writer.finish(streamed);
  EXPECT_EQ(sha256, core::sha256_file(folder / "a.h5"));
  write_shard(folder / "b.h5", held);
  const ShardReader a(folder / "a.h5"), b(folder / "b.h5");
  EXPECT_EQ(a.columns().size(), b.columns().size());
  for (const auto& [name, info] : b.columns()) {
    EXPECT_EQ(a.read(name), b.read(name)) << name;
    EXPECT_EQ(a.recorded_hash(name), b.recorded_hash(name)) << name;
    EXPECT_EQ(a.column(name).offset % 64, 0u) << name;
  }
  EXPECT_EQ(a.attributes(), b.attributes());
  ShardWriter again(folder / "c.h5", rooms());
  EXPECT_EQ(again.finish(stream_rows(again, held)), sha256) << "bytes depend on contents alone";
}

TEST(ShardWriter, LeavesNothingOfWhatItDidNotFinish) {
  const TemporaryFolder folder;
  {
    ShardWriter writer(folder / "a.h5", rooms());
    const std::vector<std::byte> row(64);
    EXPECT_EQ(files_in(folder.path()), 1) << "aside";
    writer.append("text", row);
    EXPECT_THROW(writer.written("text"), std::logic_error) << "a row is missing";
    writer.append("text", row);
    EXPECT_THROW(writer.append("text", row), std::logic_error) << "one too many";
    EXPECT_THROW(writer.append("half", row), std::logic_error) << "half a row";
  }
  EXPECT_EQ(files_in(folder.path()), 0);
  EXPECT_THROW(ShardWriter(folder / "missing" / "a.h5", rooms()), core::SystemError);
}

TEST(ShardWriter, ALargeColumnIsNotForgotten) {
  const TemporaryFolder folder;
  ShardWriter writer(folder / "a.h5", rooms());
  ShardContents contents = stream_rows(writer, example());
  std::erase_if(contents.columns, [](const Column& column) { return column.name == "text"; });
  contents.attributes.erase("layout");  // nothing else names it
  contents.sample_hashes.clear();
  EXPECT_THROW(writer.finish(contents), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5"));
}

// What lies in the file is compared with what was to be written, although nobody holds it.
TEST(ShardWriter, FindsRowsThatAreNotWhatWasWritten) {
  const TemporaryFolder folder;
  ShardWriter writer(folder / "a.h5", rooms());
  const ShardContents contents = stream_rows(writer, example());
  for (const auto& aside : std::filesystem::directory_iterator(folder.path())) {
    const std::uint64_t place = ShardReader(aside.path()).column("text").offset + 70;
    std::fstream file(aside.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place)).put('\x55');
  }
  EXPECT_THAT(message_of<core::SystemError>([&] { writer.finish(contents); }),
              HasSubstr("column `text` reads back differently"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5"));
}

TEST(ShardWriter, AStopPublishesNothing) {
  const TemporaryFolder folder;
  core::StopFlag stop;
  stop.request();
  {
    ShardWriter writer(folder / "a.h5", rooms());
    EXPECT_FALSE(writer.finish(stream_rows(writer, example()), stop));
  }
  EXPECT_EQ(files_in(folder.path()), 0);
  ShardWriter again(folder / "a.h5");
  const std::optional<std::string> sha256 = again.finish(example(), core::StopFlag());
  EXPECT_EQ(sha256, core::sha256_file(folder / "a.h5"));
}

// Rows that are longer than what is read at once, and blocks that hold many columns.
TEST(ShardWriter, ComparesAcrossBlocks) {
  const TemporaryFolder folder;
  const std::int64_t row = 9 << 20;
  ShardContents contents;
  contents.columns.push_back(
      make_column("before", DType::u8, std::vector<std::uint8_t>(static_cast<std::size_t>(5 << 20), 7)));
  const Column large{"large", DType::u8, {2, row}, {}};
  ShardWriter writer(folder / "a.h5", std::span(&large, 1));
  for (const char fill : {1, 2})
    writer.append("large", std::vector<std::byte>(static_cast<std::size_t>(row), std::byte(fill)));
  contents.columns.push_back(writer.written("large"));
  const std::string sha256 = writer.finish(contents);
  EXPECT_EQ(sha256, core::sha256_file(folder / "a.h5"));
  ShardWriter spoilt(folder / "b.h5", std::span(&large, 1));
  for (const char fill : {1, 2})
    spoilt.append("large", std::vector<std::byte>(static_cast<std::size_t>(row), std::byte(fill)));
  contents.columns.back() = spoilt.written("large");
  contents.columns.back().written->row_hashes[1] ^= 1;
  EXPECT_THROW(spoilt.finish(contents), core::SystemError);
}

}  // namespace
}  // namespace microdit::store
