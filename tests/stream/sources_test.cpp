// What is shown of a mix: filters, kinds of text, shares of captions, made-up data, what a run pins.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/atomic_file.h"
#include "core/dtype.h"
#include "core/error.h"
#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SourcesTest : public StreamFolder {
 protected:
  // Numbers of the samples that one epoch shows.
  static std::set<int> numbers(const LatentStream& stream) {
    const Batch batch = stream.read(0, stream.num_samples());
    const std::size_t row = stream.facts().shape.latents_bytes() / 2;
    std::set<int> found;
    for (std::int64_t i = 0; i < batch.count; ++i)
      found.insert(batch.latents[static_cast<std::size_t>(i) * row]);
    return found;
  }
  static std::set<int> expected(const FolderShape& shape, const std::function<bool(int)>& wanted) {
    std::set<int> found;
    for (int i = 0; i < shape.shards * shape.rows; ++i)
      if (wanted(i)) found.insert(i);
    return found;
  }
  static bool is_train(int i) { return i % 10 != 9; }
};

TEST_F(SourcesTest, SmallPicturesAreLeftOutWhereTheyAreNotWanted) {
  shape.small_every = 4;
  make_folder(folder / "a", shape);
  const auto all = expected(shape, is_train);
  const auto large = expected(shape, [](int i) { return is_train(i) && i % 4 != 0; });
  EXPECT_EQ(numbers(LatentStream(config_of("a", 64))), all);
  EXPECT_EQ(numbers(LatentStream(config_of("a", 128))), large) << "they have no latents of 128";
  for (const std::int64_t run : {1, 7, 32}) {
    StreamConfig config = config_of();
    config.shuffle_run = run;
    config.sources[0].min_side = 512;
    EXPECT_EQ(numbers(LatentStream(config)), large);
    config.sources[0].min_side = 64;
    EXPECT_EQ(numbers(LatentStream(config)), all);
    config.split = "held_out";
    config.sources[0].min_side = 512;
    EXPECT_EQ(numbers(LatentStream(config)),
              expected(shape, [](int i) { return !is_train(i) && i % 4 != 0; }));
  }
  StreamConfig config = config_of();
  config.sources[0].min_side = 500;
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              AllOf(HasSubstr("min_side: 500"), HasSubstr("448, 512, 640")));
  config.sources[0].min_side = 640;
  EXPECT_THAT(message_of<EmptySplit>([&] { LatentStream stream(config); }), HasSubstr("640 pixels"));
}

TEST_F(SourcesTest, Int8TextIsWidened) {
  shape.int8 = true;
  make_folder(folder / "a", shape);
  const Batch batch = LatentStream(config_of()).read(0, 108, true);
  for (std::size_t i = 0; i < 108; ++i) {
    const int row = std::stoi(batch.captions[i].substr(batch.captions[i].find('/') + 1));
    for (std::size_t k = 0; k < 96; ++k)
      ASSERT_EQ(batch.text[i * 96 + k], core::float_to_half(static_cast<float>(row + 1)));
    EXPECT_EQ(batch.text_length[i], 1 + row % 3);
  }
  const std::filesystem::path file = folder / "a" / "part-100001-00000.text.h5";
  flip_bit(file, store::ShardReader(file).column("text_scale").offset + 1);
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream(config_of()).read(0, 108); }),
              HasSubstr(file.string()));
}

TEST_F(SourcesTest, TokensAlone) {
  for (const int length : {3, 20}) {  // rows too short for a hash each, and others
    const std::string name = "tokens" + std::to_string(length);
    shape.tokens_only = true;
    shape.length = length;
    make_folder(folder / name, shape);
    StreamConfig config = config_of(name);
    config.caption_drop = 0.5;
    const LatentStream stream(config);
    EXPECT_TRUE(stream.facts().shape.tokens_only);
    const Batch batch = stream.read(0, 108, true);
    EXPECT_EQ(batch.text.size(), 0U);
    const auto tokens = static_cast<std::size_t>(length);
    ASSERT_EQ(batch.ids.size(), 108 * tokens);
    for (std::size_t i = 0; i < 108; ++i) {
      const int row =
          batch.captioned[i] ? std::stoi(batch.captions[i].substr(batch.captions[i].find('/') + 1)) : 0;
      EXPECT_EQ(batch.captioned[i] == 0, batch.captions[i].empty());
      for (std::size_t k = 0; k < tokens; ++k) ASSERT_EQ(batch.ids[i * tokens + k], row);
    }
    const std::filesystem::path file = folder / name / "part-100001-00000.text.h5";
    flip_bit(file, store::ShardReader(file).column("text_ids").offset + 1);
    EXPECT_THROW(LatentStream(config).read(0, 108), core::UserError);
  }
  FolderShape with_text;
  make_folder(folder / "a", with_text);
  StreamConfig config = config_of("tokens3");
  config.sources.push_back({folder / "a", 1.0});
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              HasSubstr("`tokens_only` is true"));
}

TEST_F(SourcesTest, CaptionsByShare) {
  make_folder(folder / "a", shape);
  StreamConfig config = config_of();
  config.captions = {{"alt", "long"}, {1, 3}};
  const Batch batch = LatentStream(config).read(0, 10800);
  double with_three = 0, of_long = 0;
  for (std::size_t i = 0; i < 10800; ++i) {
    const int number = number_of(static_cast<int>(batch.sample[i]), false);
    const int caption = (batch.text[i * 96] - 1) % 1000 - number % 10;
    const int place = (caption + 10) % 10;  // 0, 2 are alt, 1 is long
    ASSERT_LE(place, number % 3);
    if (number % 3 != 2) continue;
    ++with_three;
    of_long += place == 1;
  }
  EXPECT_NEAR(of_long / with_three, 0.75, 4 * std::sqrt(0.75 * 0.25 / with_three));
  config.captions = {{"alt"}, {0.5}};
  const Batch alone = LatentStream(config).read(0, 108);
  EXPECT_TRUE(std::all_of(alone.captioned.begin(), alone.captioned.end(), [](int x) { return x == 1; }));
}

TEST_F(SourcesTest, LimitAndSyntheticNeedNoMoreThanTheySay) {
  make_folder(folder / "a", shape);
  StreamConfig config = config_of();
  config.sources[0].limit = 17;
  const LatentStream limited(config);
  EXPECT_EQ(limited.num_samples(), 17);
  const Batch batch = limited.read(0, 34);
  std::map<std::int64_t, int> shown;
  for (const std::int64_t sample : batch.sample) ++shown[sample];
  EXPECT_EQ(shown.size(), 17U);
  for (const auto& [sample, count] : shown) EXPECT_EQ(count, 2) << sample;
  EXPECT_EQ(limited.pins()[0]["rows"], 17);

  config.sources.push_back({});
  config.sources[1].synthetic = 1000;
  const LatentStream mixed(config);
  EXPECT_EQ(mixed.num_samples(), 1017);
  const Batch both = mixed.read(0, 200);
  EXPECT_EQ(both.text.size(), 200U * 96);
  StreamConfig alone = config;
  alone.sources.erase(alone.sources.begin());
  EXPECT_THROW(LatentStream{alone}, core::UserError) << "no shape";
  alone.sources[0].synthetic_shape = {.channels = 4, .latent_size = 8, .text_length = 5, .text_width = 7};
  alone.caption_drop = 0.5;
  const Batch made = LatentStream(alone).read(0, 1000);
  double sum = 0, squares = 0;
  for (const std::uint16_t half : made.latents) {
    const double value = core::half_to_float(half);
    sum += value;
    squares += value * value;
  }
  const auto n = static_cast<double>(made.latents.size());
  EXPECT_NEAR(sum / n, 0, 0.02);
  EXPECT_NEAR(std::sqrt(squares / n), 0.5, 0.02);
  for (std::size_t i = 0; i < 1000; ++i)
    EXPECT_EQ(std::all_of(&made.text[i * 35], &made.text[i * 35] + 35, [](auto x) { return x == 0; }),
              !made.captioned[i]);
  EXPECT_EQ(made.latents, LatentStream(alone).read(0, 1000).latents);
}

TEST_F(SourcesTest, RunsAreChosenByWhatFitsInMemory) {
  make_folder(folder / "a", shape);
  StreamConfig config = config_of();
  config.shuffle_run = 0;
  EXPECT_EQ(LatentStream(config).shuffle_run(), 1);
  config.sources[0] = {};
  config.sources[0].synthetic = 100'000'000'000;
  config.sources[0].synthetic_shape = {
      .channels = 4, .latent_size = 32, .text_length = 77, .text_width = 1024};
  config.caption_drop = 1;
  const LatentStream large(config);
  EXPECT_EQ(large.shuffle_run(), 32);
  for (std::int64_t i = 1; i < 32; ++i) EXPECT_EQ(large.sample_at(i), large.sample_at(0) + i);
}

// Whatever the run, several sources: every epoch of each shows each of its samples once, and any slicing shows the same.
TEST_F(SourcesTest, RunsOfSeveralSources) {
  make_folder(folder / "a", shape);
  FolderShape other;
  other.base = 5000;
  other.shards = 1;
  make_folder(folder / "b", other);
  for (const std::int64_t run : {1, 7, 32}) {
    StreamConfig config = config_of();
    config.shuffle_run = run;
    config.sources = {{folder / "a", 3}, {folder / "b", 1}};
    const Batch batch = LatentStream(config).read(0, 432);
    std::map<std::int64_t, int> shown;
    for (std::size_t i = 0; i < 432; ++i) {
      ++shown[batch.sample[i]];
      ASSERT_EQ(batch.latents[i * 256] >= 5000, batch.sample[i] >= 108);
    }
    EXPECT_EQ(shown.size(), 144U);
    for (const auto& [sample, count] : shown) EXPECT_EQ(count, 3) << sample;
    for (const std::int64_t at : {0, 13, 200}) {
      const Batch part = LatentStream(config).read(at, 31);
      EXPECT_TRUE(std::equal(part.sample.begin(), part.sample.end(), batch.sample.begin() + at));
      EXPECT_TRUE(std::equal(part.text.begin(), part.text.end(), batch.text.begin() + at * 96));
    }
  }
}

TEST_F(SourcesTest, AGrownFolderKeepsItsOldGeneration) {
  make_folder(folder / "a", shape);
  StreamConfig config = config_of();
  const LatentStream before(config);
  const Batch batch = before.read(0, 108);
  FolderShape grown = shape;
  grown.shards = 5;
  grow_folder(folder / "a", grown, 3);
  EXPECT_EQ(LatentStream(config).num_samples(), 180);
  EXPECT_EQ(LatentStream(config).pins()[0]["generation"], 2);
  config.sources[0].generation = 1;
  const LatentStream pinned(config);
  EXPECT_EQ(pinned.pins(), before.pins());
  EXPECT_EQ(pinned.read(0, 108).sample, batch.sample);
  EXPECT_EQ(pinned.read(0, 108).latents, batch.latents);
  config.sources[0].generation = 3;
  EXPECT_THROW(LatentStream{config}, core::UserError);
}

TEST_F(SourcesTest, FoldersThatCannotBeOpenedSayWhatHelps) {
  make_folder(folder / "a", shape);
  const auto message = [&] { return message_of<core::UserError>([&] { LatentStream stream(config_of()); }); };
  const std::string index = core::read_text(folder / "a" / "index.1.bin");
  std::filesystem::remove(folder / "a" / "index.1.bin");
  EXPECT_THAT(message(), AllOf(HasSubstr("index.1.bin: is missing"), HasSubstr("precompute")));
  make_folder(folder / "b", [&] {
    FolderShape other = shape;
    other.codec = "codec-b";
    return other;
  }());
  std::filesystem::copy_file(folder / "b" / "index.1.bin", folder / "a" / "index.1.bin");
  EXPECT_THAT(message(), HasSubstr("belongs to another manifest"));
  core::atomic_write(folder / "a" / "index.1.bin", index);
  flip_bit(folder / "a" / "index.1.bin", index.size() / 2);
  EXPECT_THAT(message(), AllOf(HasSubstr("index.1.bin: damaged"), HasSubstr("precompute")));
  core::atomic_write(folder / "a" / "index.1.bin", index);
  EXPECT_NO_THROW(LatentStream{config_of()});
  flip_bit(folder / "a" / "manifest.jsonl", 40);
  EXPECT_THAT(message(), HasSubstr("manifest.jsonl"));
}

}  // namespace
}  // namespace microdit::stream
