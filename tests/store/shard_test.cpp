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
#include "store/example_shard.h"
#include "store/temporary_folder.h"

namespace microdit::store {
namespace {

using core::DType;
using ::testing::HasSubstr;

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
