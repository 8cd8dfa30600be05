// Bytes that are wrong or gone: found, named, tried again, replaced, and too many of them the end.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "core/error.h"
#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using DamageTest = StreamFolder;

TEST_F(DamageTest, FlippedBitsAreFound) {
  make_folder(folder / "a", shape);
  const std::filesystem::path images = folder / "a" / "part-100001-00000.images.h5";
  const std::filesystem::path texts = folder / "a" / "part-100001-00000.text.h5";
  const store::ShardReader shard(images), text(texts);
  StreamConfig config = config_of();
  const auto read_all = [&] { LatentStream(config).read(0, 108); };
  EXPECT_NO_THROW(read_all());

  const std::uint64_t latent = shard.column("latents_64").offset + 512 * 5 + 100;  // row 5 = sample 45
  flip_bit(images, latent);
  const std::string message = message_of<core::UserError>(read_all);
  EXPECT_THAT(message, AllOf(HasSubstr(images.string()), HasSubstr("sample 5 (`sample-45`)"),
                             HasSubstr("doctor verify")));
  {
    LatentStream stream(config);
    stream.start(0, 12, 12);
    EXPECT_THROW(for (int i = 0; i < 9; ++i) stream.next(), core::UserError)
        << "threads hand their error over";
    EXPECT_THROW(stream.next(), core::UserError);
  }
  config.reading.verify = false;
  EXPECT_NO_THROW(read_all());
  config.reading.verify = true;
  flip_bit(images, latent);
  EXPECT_NO_THROW(read_all());

  const auto found = [&](const std::filesystem::path& file, const store::ShardReader& reader,
                         const std::string& name) {
    flip_bit(file, reader.column(name).offset + 1);
    EXPECT_THAT(message_of<core::UserError>(read_all), HasSubstr(file.string())) << name;
    flip_bit(file, reader.column(name).offset + 1);
  };
  for (const char* name : {"latents_64_xxh3", "latents_64_row", "split"}) found(images, shard, name);
  for (const char* name :
       {"text", "text_xxh3", "text_length", "caption_offsets", "caption_rows", "caption_source"})
    found(texts, text, name);
  flip_bit(texts, text.column("text_caption").offset + 1);
  EXPECT_THROW(LatentStream(config).read(0, 108, true), core::UserError);
}

TEST_F(DamageTest, BadRowsAreReplacedAndCounted) {
  make_folder(folder / "a", shape);
  const std::filesystem::path file = folder / "a" / "part-100001-00000.images.h5";
  const std::uint64_t row = store::ShardReader(file).column("latents_64").offset + 512 * 5;
  flip_bit(file, row + 3);        // sample 45
  flip_bit(file, row + 512 + 3);  // sample 46
  StreamConfig config = config_of();
  EXPECT_THROW(LatentStream(config).read(0, 108), core::UserError) << "none is allowed";
  config.reading.max_bad_fraction = 0.01;
  const LatentStream stream(config);
  const Batch batch = stream.read(0, 108);
  EXPECT_EQ(stream.num_bad(), 2);
  std::map<int, int> shown;
  for (std::size_t i = 0; i < 108; ++i) {
    ++shown[batch.latents[i * 256]];
    EXPECT_EQ(batch.latents[i * 256], number_of(static_cast<int>(batch.sample[i]), false))
        << "what is shown is named";
  }
  EXPECT_EQ(shown.size(), 106U);
  EXPECT_EQ(shown[45] + shown[46], 0);
  EXPECT_EQ(shown[47], 3) << "in place of both, and itself";
  const Batch again = LatentStream(config).read(0, 108);
  EXPECT_EQ(again.sample, batch.sample) << "the rule knows no chance";
}

TEST_F(DamageTest, ALostShardEndsTheStreamOnlyWhenItIsTooMuch) {
  shape.shards = 6;
  make_folder(folder / "a", shape);
  std::filesystem::remove(folder / "a" / "part-100002-00000.text.h5");
  StreamConfig config = config_of();
  config.reading.max_bad_fraction = 0.5;
  const LatentStream stream(config);
  const Batch batch = stream.read(0, 216);
  EXPECT_GE(stream.num_bad(), 36);
  for (std::size_t i = 0; i < 216; ++i)
    EXPECT_FALSE(batch.latents[i * 256] >= 80 && batch.latents[i * 256] < 120);
  config.reading.max_bad_fraction = 0.01;
  EXPECT_THAT(message_of<std::runtime_error>([&] { LatentStream(config).read(0, 216); }),
              AllOf(HasSubstr("max_bad_fraction=0.01"), HasSubstr("part-100002-00000.text.h5")));
}

TEST_F(DamageTest, CopiesOnTheNodeShowTheSame) {
  make_folder(folder / "a", shape);
  StreamConfig config = config_of();
  const Batch truth = LatentStream(config).read(0, 108);
  config.reading.cache_dir = folder / "cache";
  config.reading.cache_bytes = 1 << 30;
  const auto files = [&] {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
      count += entry.path().extension() == ".h5";
    return count;
  };
  {
    const LatentStream stream(config);
    for (int i = 0; i < 500 && files() < 6; ++i) {
      EXPECT_EQ(stream.read(0, 108).latents, truth.latents);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ASSERT_EQ(files(), 6U);
  }
  // From the copies alone; a copy that is wrong is given up for the shard itself.
  for (const auto& entry : std::filesystem::directory_iterator(folder / "a"))
    if (entry.path().extension() == ".h5")
      std::filesystem::rename(entry.path(), folder / entry.path().filename());
  EXPECT_EQ(LatentStream(config).read(0, 108).text, truth.text);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path().extension() == ".h5")
      std::filesystem::rename(entry.path(), folder / "a" / entry.path().filename());
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
    if (entry.path().string().ends_with("images.h5"))
      flip_bit(entry.path(), store::ShardReader(entry.path()).column("latents_64").offset + 7);
  EXPECT_EQ(LatentStream(config).read(0, 108).latents, truth.latents);
  EXPECT_EQ(files(), 3U);

  config.reading.cache_dir = folder / "full";
  config.reading.cache_bytes = 10;
  {
    const LatentStream stream(config);
    stream.read(0, 108);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(stream.read(0, 108).latents, truth.latents);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder / "full"));
  config.reading.cache_dir = "/proc/none";
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              HasSubstr("cache_dir: /proc/none"));
}

}  // namespace
}  // namespace microdit::stream
