// Shards: round trip, bytes, damage, foreign files.
#include "store/shard_writer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/sample_hash.h"
#include "store/temporary_folder.h"

namespace microdit::store {
namespace {

using core::DType;
using ::testing::HasSubstr;

template <class T>
Column column(std::string name, DType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  Column made{std::move(name), dtype, std::move(shape), {}};
  made.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
  return made;
}

// One column of every type, strings, and a layout with shared rows.
ShardContents example() {
  ShardContents contents;
  std::vector<std::uint16_t> halves;
  for (int i = 0; i < 3 * 64; ++i) halves.push_back(core::float_to_half(0.25f * static_cast<float>(i) - 8));
  contents.columns.push_back(column("half", DType::f16, {3, 4, 16}, halves));
  contents.columns.push_back(column<std::uint8_t>("flag", DType::boolean, {3}, {1, 0, 1}));
  contents.columns.push_back(column<std::int8_t>("i8", DType::i8, {3}, {-1, 0, 127}));
  contents.columns.push_back(column<std::int16_t>("i16", DType::i16, {3}, {-300, 0, 300}));
  contents.columns.push_back(column<std::uint16_t>("u16", DType::u16, {3}, {1, 2, 65535}));
  contents.columns.push_back(column<std::uint16_t>("brain", DType::bf16, {3}, {0x3f80, 0xc000, 0x0000}));
  contents.columns.push_back(column<std::uint32_t>("u32", DType::u32, {3}, {1, 2, 4000000000u}));
  contents.columns.push_back(column<float>("single", DType::f32, {3, 2}, {1, 2, 3, 4, 5, -6.5f}));
  contents.columns.push_back(column<double>("double", DType::f64, {3}, {1.5, 2.5, -1e300}));
  contents.columns.push_back(column<std::int64_t>("nothing", DType::i64, {0, 7}, {}));
  const std::vector<std::string> keys = {"first", "", "th\xc3\xafrd"};
  add_strings(contents, "key", keys);
  contents.columns.push_back(column<std::int64_t>("entry_offsets", DType::i64, {4}, {0, 2, 2, 3}));
  contents.columns.push_back(column<std::int32_t>("entry_rows", DType::i32, {3}, {1, 0, 1}));
  std::vector<std::uint16_t> text(64, 0x3c00);
  text[63] = 0x4000;  // the two rows differ
  contents.columns.push_back(column("text", DType::f16, {2, 32}, text));
  const SampleLayout layout{{"half", "flag"}, {"key"}, "entry_offsets", "entry_rows", {"text"}};
  contents.attributes = {{"layout", to_json(layout)}, {"note", "caf\xc3\xa9"}};
  contents.sample_hashes = hash_samples(contents, layout);
  return contents;
}

TEST(Shard, RoundTrip) {
  const TemporaryFolder folder;
  const ShardContents contents = example();
  const std::string sha256 = write_shard(folder / "a.h5", contents);
  EXPECT_EQ(sha256, core::sha256_file(folder / "a.h5"));
  const ShardReader shard(folder / "a.h5");
  for (const Column& one : contents.columns) {
    const ColumnInfo& info = shard.column(one.name);
    EXPECT_EQ(info.dtype, one.dtype) << one.name;
    EXPECT_EQ(info.shape, one.shape) << one.name;
    EXPECT_EQ(shard.read(one.name), one.bytes) << one.name;
    EXPECT_EQ(info.offset % 64, 0u) << one.name;
  }
  EXPECT_EQ(shard.attributes(), contents.attributes);
  EXPECT_EQ(shard.read_as<std::uint64_t>("xxh3"), contents.sample_hashes);
  EXPECT_EQ(shard.read_as<float>("single", 1, 2), (std::vector<float>{3, 4, 5, -6.5f}));
  EXPECT_EQ(read_strings(shard, "key"), (std::vector<std::string>{"first", "", "th\xc3\xafrd"}));
  const auto halves = shard.read("half", 1, 1);
  EXPECT_EQ(shard.read_as<std::uint64_t>("half_xxh3")[1], core::xxh3_64(halves));
  EXPECT_TRUE(shard.has("text_xxh3"));
  EXPECT_FALSE(shard.has("flag_xxh3"));  // one byte: read whole
}

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

TEST(Shard, BytesDependOnContentsAlone) {
  const TemporaryFolder folder;
  ShardContents contents = example();
  const std::string first = write_shard(folder / "a.h5", contents);
  ::sleep(1);  // a stored time has a resolution of one second
  EXPECT_EQ(write_shard(folder / "another_name.h5", contents), first);
  EXPECT_EQ(write_shard(folder / "a.h5", contents), first) << "over an existing file";
  contents.columns[2].bytes[0] = std::byte{7};  // outside the samples
  EXPECT_NE(write_shard(folder / "b.h5", contents), first);
  contents.attributes["note"] = "other";
  EXPECT_NE(write_shard(folder / "c.h5", contents), core::sha256_file(folder / "b.h5"));
}

TEST(Shard, LargeAttributeAndManyColumns) {
  const TemporaryFolder folder;
  ShardContents contents;
  contents.attributes["long"] = std::string(200000, 'x');
  for (int i = 0; i < 40; ++i)
    contents.columns.push_back(column<std::int32_t>(fmt::format("c{}", i), DType::i32, {1}, {i}));
  write_shard(folder / "a.h5", contents);
  const ShardReader shard(folder / "a.h5");
  EXPECT_EQ(shard.attributes(), contents.attributes);
  EXPECT_EQ(shard.columns().size(), 40u);
  EXPECT_EQ(shard.read_as<std::int32_t>("c39"), std::vector<std::int32_t>{39});
}

TEST(Shard, SampleHashesOfFileAndMemoryAgree) {
  const TemporaryFolder folder;
  const ShardContents contents = example();
  write_shard(folder / "a.h5", contents);
  const ShardReader shard(folder / "a.h5");
  const SampleLayout layout = layout_from_json(shard.attributes()["layout"]);
  EXPECT_EQ(hash_samples(shard, layout), contents.sample_hashes);
  for (std::size_t i = 0; i < contents.sample_hashes.size(); ++i)
    EXPECT_EQ(hash_sample(shard, layout, static_cast<std::int64_t>(i)), contents.sample_hashes[i]) << i;
}

TEST(Shard, SampleHashCoversEveryPieceOfItsSampleOnly) {
  const ShardContents contents = example();
  const SampleLayout layout = layout_from_json(contents.attributes["layout"]);
  const auto changed = [&](const std::string& name, std::size_t byte) {
    ShardContents other = contents;
    for (Column& one : other.columns)
      if (one.name == name) one.bytes[byte] ^= std::byte{1};
    std::string hit;
    const auto hashes = hash_samples(other, layout);
    for (std::size_t i = 0; i < hashes.size(); ++i)
      if (hashes[i] != contents.sample_hashes[i]) hit += std::to_string(i);
    return hit;
  };
  EXPECT_EQ(changed("half", 130), "1");
  EXPECT_EQ(changed("flag", 2), "2");
  EXPECT_EQ(changed("key", 0), "0");
  EXPECT_EQ(changed("text", 0), "0");        // row 0: sample 0's second entry
  EXPECT_EQ(changed("text", 64 + 5), "02");  // row 1: samples 0 and 2
  EXPECT_EQ(changed("entry_rows", 8), "2");  // sample 2 now owns row 0
  EXPECT_EQ(changed("i8", 0), "");           // not in the layout
}

TEST(Shard, FlippedBitInAColumnIsFoundOnReading) {
  const TemporaryFolder folder;
  write_shard(folder / "a.h5", example());
  std::uint64_t offset = 0;
  {
    const ShardReader shard(folder / "a.h5");
    offset = shard.column("i16").offset;
    EXPECT_NO_THROW(shard.read("i16"));
  }
  flip_bit(folder / "a.h5", offset + 3);
  const ShardReader shard(folder / "a.h5");
  const std::string message = message_of<core::UserError>([&] { shard.read("i16"); });
  EXPECT_THAT(message, HasSubstr("a.h5"));
  EXPECT_THAT(message, HasSubstr("`i16`"));
  EXPECT_NO_THROW(shard.read("u16"));
}

TEST(Shard, AnyFlippedBitIsAnErrorOrHarmless) {
  const TemporaryFolder folder;
  const ShardContents contents = example();
  write_shard(folder / "good.h5", contents);
  const std::string good = core::read_text(folder / "good.h5");
  int found = 0;
  for (std::size_t at = 0; at < good.size(); at += 19) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    std::ofstream(folder / "bad.h5", std::ios::binary) << bad;
    try {
      const ShardReader shard(folder / "bad.h5");
      for (const Column& one : contents.columns) ASSERT_EQ(shard.read(one.name), one.bytes) << "byte " << at;
    } catch (const core::UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("bad.h5"));
      ++found;
    }
  }
  EXPECT_GT(found, 50);
}

TEST(Shard, TruncatedAndForeignFilesAreNamed) {
  const TemporaryFolder folder;
  write_shard(folder / "a.h5", example());
  std::filesystem::resize_file(folder / "a.h5", std::filesystem::file_size(folder / "a.h5") - 100);
  EXPECT_THAT(message_of<core::UserError>([&] { ShardReader reader(folder / "a.h5"); }), HasSubstr("a.h5"));
  std::ofstream(folder / "text.h5") << "not an HDF5 file";
  EXPECT_THAT(message_of<core::UserError>([&] { ShardReader reader(folder / "text.h5"); }),
              HasSubstr("text.h5"));
  EXPECT_THAT(message_of<core::UserError>([&] { ShardReader reader(folder / "none.h5"); }),
              HasSubstr("no such file"));
}

// h5py_test.py runs this one on files that stock h5py wrote, with what must be said about each.
TEST(Shard, ForeignFileIsRejected) {
  const TemporaryFolder folder;
  std::filesystem::path path = folder / "text.h5";
  std::ofstream(path) << "not an HDF5 file";
  std::string expected = "text.h5: not a readable shard";
  if (const char* given = std::getenv("MICRODIT_FOREIGN_SHARD")) path = given;
  if (const char* given = std::getenv("MICRODIT_FOREIGN_MESSAGE")) expected = given;
  EXPECT_THAT(message_of<core::UserError>([&] { ShardReader reader(path); }), HasSubstr(expected));
}

TEST(Shard, MistakesOfTheCallerAreNamed) {
  const TemporaryFolder folder;
  write_shard(folder / "a.h5", example());
  const ShardReader shard(folder / "a.h5");
  EXPECT_THAT(message_of<core::UserError>([&] { shard.read("colour"); }), HasSubstr("no column `colour`"));
  EXPECT_THROW(shard.read("half", 2, 2), std::logic_error);
  EXPECT_THROW(shard.read_as<std::int64_t>("i16"), core::UserError);
  ShardContents twice = example();
  twice.columns.push_back(twice.columns[0]);
  EXPECT_THROW(write_shard(folder / "b.h5", twice), std::logic_error);
  ShardContents wrong = example();
  wrong.sample_hashes[1] ^= 1;
  EXPECT_THROW(write_shard(folder / "b.h5", wrong), core::SystemError);
  EXPECT_THROW(write_shard(folder / "missing" / "b.h5", example()), core::SystemError);
  // Nothing of the failures is left.
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files += entry.is_regular_file();
  EXPECT_EQ(files, 1u);
}

// Large rows are held once: a column in pieces is the same file.
TEST(Shard, AColumnInPiecesIsTheSameFile) {
  const TemporaryFolder folder;
  const std::vector<std::string> rows = {
      "", "first", std::string(3 << 20, 'x'), "", std::string(100'000, 'y'), "z", ""};
  const SampleLayout layout{{}, {"image"}, "", "", {}};
  ShardContents whole, pieces;
  add_strings(whole, "image", rows);
  std::vector<std::span<const std::byte>> spans;
  for (const std::string& row : rows) spans.push_back(std::as_bytes(std::span(row)));
  add_byte_rows(pieces, "image", spans);
  for (ShardContents* contents : {&whole, &pieces}) {
    contents->sample_hashes = hash_samples(*contents, layout);
    contents->attributes = {{"layout", to_json(layout)}};
  }
  EXPECT_EQ(write_shard(folder / "a.h5", whole), write_shard(folder / "b.h5", pieces));
  EXPECT_EQ(read_strings(ShardReader(folder / "b.h5"), "image"), rows);
  pieces.columns.back().shape = {7};  // the control: pieces that do not fit
  EXPECT_THROW(write_shard(folder / "c.h5", pieces), std::logic_error);
}

// h5py_test.py runs this one with MICRODIT_KEEP_SHARD and reads the file with the stock library.
TEST(Shard, ForH5py) {
  const TemporaryFolder folder;
  const char* keep = std::getenv("MICRODIT_KEEP_SHARD");
  const std::filesystem::path path = keep ? std::filesystem::path(keep) : folder / "a.h5";
  write_shard(path, example());
  EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace microdit::store
