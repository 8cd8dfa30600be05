// The index says what the shards hold, costs little per shard, and no damage to it goes unnoticed or does harm.
#include "store/latent_index.h"

#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <span>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/open_counter.h"
#include "store/temporary_folder.h"
#include "stream/latents_folder.h"

namespace microdit::store {
namespace {

using stream::FolderShape;
using ::testing::AllOf;
using ::testing::HasSubstr;

LatentIndex read_index(const std::filesystem::path& folder, const std::string& name = kIndexFile) {
  return parse_latent_index(core::read_text(folder / name), "index");
}

FolderShape small_pictures() {
  FolderShape shape;
  shape.small_every = 4;
  return shape;
}

TEST(LatentIndex, SaysWhatTheShardsHold) {
  TemporaryFolder folder;
  const FolderShape shape = small_pictures();
  stream::make_folder(folder / "a", shape);
  const LatentIndex index = read_index(folder / "a");
  EXPECT_EQ(index.manifest_sha256, Manifest::read(folder / "a").sha256);
  EXPECT_EQ(index.generation, 1);
  EXPECT_EQ(core::read_text(folder / "a" / "index.1.bin"), core::read_text(folder / "a" / kIndexFile));
  EXPECT_EQ(index.sizes, (std::vector<std::int64_t>{64, 128}));
  EXPECT_EQ(index.caption_sources, (std::vector<std::string>{"alt", "long"}));
  ASSERT_EQ(index.shards.size(), 3U);
  for (const IndexedShard& shard : index.shards) {
    EXPECT_EQ(shard.rows, 40);
    // Every 10th is held out; every 4th is of 64 px, has no latents of 128, and is none of 512 or more; 20 k + 19 is neither.
    EXPECT_EQ(index.rows_of(shard, 0, 0, 0), 36);
    EXPECT_EQ(index.rows_of(shard, 0, 1, 0), 4);
    EXPECT_EQ(index.rows_of(shard, 1, 0, 0), 26);
    EXPECT_EQ(index.rows_of(shard, 0, 0, 8), 26) << index.bounds[8];
    EXPECT_EQ(index.rows_of(shard, 0, 0, 9), 0) << index.bounds[9];
    EXPECT_EQ(shard.captioned[0], 40U);
    for (const LatentFile file : {LatentFile::images, LatentFile::text}) {
      const ShardReader reader(folder / "a" / shard.file(file));
      EXPECT_EQ(shard.file_bytes[static_cast<int>(file)], std::filesystem::file_size(reader.path()));
      for (const auto& [name, info] : reader.columns()) {
        if (name == "xxh3") continue;
        const int column = index.column(file, name);
        ASSERT_GE(column, 0) << name;
        EXPECT_EQ(shard.places[static_cast<std::size_t>(column)].offset, info.offset) << name;
        EXPECT_EQ(shard.places[static_cast<std::size_t>(column)].rows, info.rows()) << name;
        EXPECT_EQ(index.columns[static_cast<std::size_t>(column)].row_bytes(), info.row_bytes()) << name;
        if (index.columns[static_cast<std::size_t>(column)].has_hash) {
          EXPECT_EQ(shard.places[static_cast<std::size_t>(column)].hash, core::xxh3_64(reader.read(name)))
              << name;
        }
      }
    }
  }
}

// Of each size, split and side as the samples themselves; folders without classes have the bytes that they had before.
TEST(LatentIndex, CountsThoseThatHaveAClass) {
  TemporaryFolder folder;
  FolderShape shape = small_pictures();
  stream::make_folder(folder / "none", shape);
  shape.class_of = [](int sample) { return sample % 3 - 1; };
  stream::make_folder(folder / "a", shape);
  const LatentIndex index = read_index(folder / "a"), none = read_index(folder / "none");
  EXPECT_TRUE(index.counts_classes && !index.lacks_class_counts());
  EXPECT_TRUE(!none.counts_classes && !none.lacks_class_counts());
  EXPECT_EQ(core::read_text(folder / "none" / kIndexFile)[8], 1);
  for (std::size_t shard = 0; shard < 3; ++shard)
    for (const std::size_t size : {0U, 1U})
      for (const std::size_t split : {0U, 1U})
        for (const std::size_t bound : {0U, 8U, 9U}) {
          int classed = 0;
          for (int row = 0; row < shape.rows; ++row) {
            const int sample = static_cast<int>(shard) * shape.rows + row,
                      side = is_small(shape, sample) ? 64 : 600;
            classed += (sample % 10 == 9) == (split == 1) && (size == 0 || side > 64) &&
                       side >= index.bounds[bound] && sample % 3 > 0;
          }
          EXPECT_EQ(index.rows_of(index.shards[shard], size, split, bound, true), classed);
          EXPECT_EQ(index.rows_of(index.shards[shard], size, split, bound),
                    none.rows_of(none.shards[shard], size, split, bound));
          EXPECT_EQ(none.rows_of(none.shards[shard], size, split, bound, true), 0);
        }
}

TEST(LatentIndex, CostsLittlePerShard) {
  TemporaryFolder folder;
  FolderShape shape;
  shape.length = 77;
  stream::make_folder(folder / "a", shape);
  const std::uint64_t three = std::filesystem::file_size(folder / "a" / kIndexFile);
  shape.shards = 8;
  stream::make_folder(folder / "b", shape);
  EXPECT_LE((std::filesystem::file_size(folder / "b" / kIndexFile) - three) / 5, 512U);
}

TEST(LatentIndex, GrowsWithoutOpeningWhatItKnows) {
  TemporaryFolder folder;
  FolderShape shape = small_pictures();
  stream::make_folder(folder / "a", shape);
  const std::string before = core::read_text(folder / "a" / "index.1.bin");
  // Not to be opened: no HDF5 file any more, but of the same size.
  const std::filesystem::path old = folder / "a" / "part-100000-00000.images.h5";
  const std::string bytes = core::read_text(old);
  std::ofstream(old, std::ios::binary) << std::string(bytes.size(), 'x');
  shape.shards = 4;
  stream::grow_folder(folder / "a", shape, 3);
  EXPECT_EQ(core::read_text(folder / "a" / "index.1.bin"), before);
  const LatentIndex index = read_index(folder / "a");
  EXPECT_EQ(index.generation, 2);
  ASSERT_EQ(index.shards.size(), 4U);
  std::ofstream(old, std::ios::binary) << bytes;
  std::filesystem::remove(folder / "a" / kIndexFile);
  write_latent_index(folder / "a", Manifest::read(folder / "a"));
  EXPECT_EQ(to_bytes(index), core::read_text(folder / "a" / "index.2.bin")) << "the same as from the shards";
}

// What records say of the shards is what the shards say: the same bytes, and no shard is opened for them.
TEST(LatentIndex, NotesGiveTheSameBytesAsTheShards) {
  for (const bool tokens_only : {false, true}) {
    TemporaryFolder folder;
    FolderShape shape = small_pictures();
    if (tokens_only) shape.class_of = [](int sample) { return sample % 3 - 1; };
    shape.tokens_only = tokens_only;
    shape.int8 = !tokens_only;
    stream::make_folder(folder / "old", shape);
    StageFolder stage(folder / "a", stream::folder_facts(shape));
    stream::add_shards(stage, shape, 0, true);
    for (const auto& file : std::filesystem::directory_iterator(folder / "a" / "records"))
      EXPECT_LE(file.file_size(), 3072U) << file.path();
    const OpenCounter counter(folder / "a");
    ASSERT_TRUE(stream::close_folder(stage));
    for (const std::string& name : counter.opened()) EXPECT_FALSE(name.ends_with(".h5")) << name;
    EXPECT_EQ(core::read_text(folder / "a" / "index.1.bin"), core::read_text(folder / "old" / "index.1.bin"));
    EXPECT_TRUE(verify(folder / "a").empty());
    // Mended, they are taken too; of one item they are gone, and its shard is opened.
    for (const char* name : {"index.1.bin", kIndexFile}) std::filesystem::remove(folder / "a" / name);
    const std::string item = "part-100001-00000.text";
    Record record = *stage.find({item, {{"samples_sha256", "of part-100001-00000"}}});
    EXPECT_FALSE(record.notes.empty());
    record.notes.clear();
    stage.commit(record);
    counter.opened();
    ASSERT_TRUE(mend_latent_index(folder / "a"));
    for (const std::string& name : counter.opened())
      EXPECT_TRUE(!name.ends_with(".h5") || name == item + ".h5") << name;
    EXPECT_EQ(core::read_text(folder / "a" / "index.1.bin"), core::read_text(folder / "old" / "index.1.bin"));
  }
}

TEST(LatentIndex, NotesOfOtherBoundsAreNotTaken) {
  TemporaryFolder folder;
  const FolderShape shape = small_pictures();
  StageFolder stage(folder / "a", stream::folder_facts(shape));
  stream::add_shards(stage, shape, 0, true);
  const std::string item = "part-100000-00000.images";
  Record record = *stage.find({item, {{"samples_sha256", "of part-100000-00000"}}});
  record.notes.replace(record.notes.find("\"bounds\":[0,64,"), 15, "\"bounds\":[0,65,");
  stage.commit(record);
  const OpenCounter counter(folder / "a");
  ASSERT_TRUE(stream::close_folder(stage));
  EXPECT_GE(counter.opened().count(item + ".h5"), 1U);
}

TEST(LatentIndex, AStopIsSeenBetweenTheShards) {
  TemporaryFolder folder;
  const FolderShape shape;
  StageFolder stage(folder / "a", stream::folder_facts(shape));
  stream::add_shards(stage, shape, 0, false);
  core::StopFlag stop;
  stop.request();
  const OpenCounter counter(folder / "a");
  EXPECT_FALSE(stream::close_folder(stage, stop));
  for (const std::string& name : counter.opened()) EXPECT_FALSE(name.ends_with(".h5")) << name;
  for (const char* name : {"index.1.bin", kIndexFile, "manifest.1.jsonl", "manifest.jsonl"})
    EXPECT_FALSE(std::filesystem::exists(folder / "a" / name)) << name;
  EXPECT_TRUE(stream::close_folder(stage));
  std::filesystem::remove(folder / "a" / "index.1.bin");
  std::filesystem::remove(folder / "a" / kIndexFile);
  EXPECT_FALSE(mend_latent_index(folder / "a", stop));
  EXPECT_FALSE(std::filesystem::exists(folder / "a" / kIndexFile));
}

// Every byte of an index, flipped in every bit: an error that names the file. With its checksum made right again: an error, or an
// index of which every place lies inside its file.
TEST(LatentIndex, NoDamageDoesHarm) {
  TemporaryFolder folder;
  FolderShape shape = small_pictures();
  shape.shards = 1;
  shape.class_of = [](int sample) { return sample % 3 - 1; };
  stream::make_folder(folder / "a", shape);
  const std::string good = core::read_text(folder / "a" / kIndexFile);
  EXPECT_EQ(to_bytes(parse_latent_index(good, "index")), good);
  int taken = 0;
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      ASSERT_THAT(message_of<core::UserError>([&] { parse_latent_index(bad, "folder/index.bin"); }),
                  HasSubstr("folder/index.bin"))
          << at;
      const std::uint64_t hash = core::xxh3_64(std::as_bytes(std::span(bad).first(bad.size() - 8)));
      std::memcpy(&bad[bad.size() - 8], &hash, sizeof hash);
      try {
        const LatentIndex index = parse_latent_index(bad, "index");
        ++taken;
        for (const IndexedShard& shard : index.shards)
          for (std::size_t i = 0; i < shard.places.size(); ++i)
            ASSERT_LE(shard.places[i].offset +
                          static_cast<std::uint64_t>(shard.places[i].rows) * index.columns[i].row_bytes(),
                      shard.file_bytes[static_cast<std::size_t>(index.columns[i].file)]);
      } catch (const core::UserError&) {
      }
    }
  EXPECT_GT(taken, 0);
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(parse_latent_index(std::string_view(good).substr(0, size), "index"), core::UserError);
  EXPECT_THROW(parse_latent_index(good + "x", "index"), core::UserError);
}

TEST(LatentIndex, NumbersWithoutEndAreRefused) {
  std::string bytes = "MDLATIDX";
  bytes += std::string("\1\0\0\0", 4) + std::string(32, 'h') + std::string(200, '\xff');
  const std::uint64_t hash = core::xxh3_64(std::as_bytes(std::span(bytes)));
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  EXPECT_THAT(message_of<core::UserError>([&] { parse_latent_index(bytes, "index"); }),
              HasSubstr("generation"));
}

TEST(LatentIndex, IsMendedWhereItIsMissingOrDamaged) {
  TemporaryFolder folder;
  EXPECT_TRUE(mend_latent_index(folder / "a"));  // no manifest: nothing to do
  stream::make_folder(folder / "a", FolderShape());
  const std::filesystem::path file = folder / "a" / "index.1.bin";
  const std::string good = core::read_text(file);
  const auto before = std::filesystem::last_write_time(file);
  EXPECT_TRUE(mend_latent_index(folder / "a"));
  EXPECT_EQ(std::filesystem::last_write_time(file), before);
  std::filesystem::remove(file);
  EXPECT_TRUE(mend_latent_index(folder / "a"));
  EXPECT_EQ(core::read_text(file), good);
  flip_bit(file, 100);
  EXPECT_TRUE(mend_latent_index(folder / "a"));
  EXPECT_EQ(core::read_text(file), good);
}

TEST(LatentIndex, ShardsThatDoNotFitAreNamed) {
  TemporaryFolder folder;
  FolderShape shape;
  stream::make_folder(folder / "a", shape);
  Manifest manifest = Manifest::read(folder / "a");
  const auto message = [&] {
    return message_of<core::UserError>([&] {
      std::filesystem::remove(folder / "a" / kIndexFile);
      write_latent_index(folder / "a", manifest);
    });
  };
  manifest.records[0].shards[0].rows = 39;
  EXPECT_THAT(message(), HasSubstr("different samples"));
  manifest = Manifest::read(folder / "a");
  manifest.records[1].details["inputs"]["samples_sha256"] = "another";
  EXPECT_THAT(message(), AllOf(HasSubstr("part-100000-00000.images.h5"), HasSubstr("different samples")));
  manifest = Manifest::read(folder / "a");
  FolderShape other = shape;
  other.rows = 41;
  write_shard(folder / "a" / "part-100002-00000.text.h5", stream::make_text(other, 2));
  EXPECT_THAT(message(), AllOf(HasSubstr("part-100002-00000.text.h5"), HasSubstr("caption_offsets")));
}

}  // namespace
}  // namespace microdit::store
