// Samples with and without a class: what a stream of classes shows, and which sources it mixes.
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Classes : public StreamFolder {
 protected:
  Classes() {
    shape.shards = 4;
    shape.rows = 500;
    shape.classes = {"even", "odd"};
  }

  StreamConfig classes_of(const std::string& name) const {
    StreamConfig config = config_of(name);
    config.text = false;
    config.classes = true;
    return config;
  }

  /// The samples' own numbers, as their latents say them, of positions [first, first + count).
  std::vector<int> shown(const LatentStream& stream, std::int64_t first, std::int64_t count) const {
    const Batch batch = stream.read(first, count);
    const auto each = static_cast<std::size_t>(shape.channels * shape.side * shape.side);
    std::vector<int> numbers;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      numbers.push_back(batch.latents[i * each]);
      EXPECT_EQ(batch.classes[i], shape.class_of(numbers.back()));
      EXPECT_EQ(batch.captioned[i], 1) << "a caption that is missing is no dropped one";
    }
    EXPECT_EQ(batch.text.size() + batch.ids.size(), 0U);
    return numbers;
  }

  std::set<int> labelled(bool held_out) const {
    std::set<int> numbers;
    for (int sample = 0; sample < shape.shards * shape.rows; ++sample)
      if ((sample % shape.held_out_every == shape.held_out_every - 1) == held_out &&
          shape.class_of(sample) >= 0)
        numbers.insert(sample);
    return numbers;
  }
};

// Few at random, nearly all in one block, shards without any: an epoch shows each sample that has a class once, and no other.
TEST_F(Classes, AnEpochShowsEachThatHasAClassOnce) {
  const std::map<std::string, std::function<std::int32_t(int)>> rules = {
      {"few", [](int s) { return s * 7919 % 1009 < 13 ? s % 2 : -1; }},
      {"block", [](int s) { return s < 1800 ? s % 2 : -1; }},
      {"one shard", [](int s) { return s >= 1000 && s < 1450 ? s % 2 : -1; }},
      {"one", [](int s) { return s == 1710 ? 0 : -1; }}};
  for (const auto& [name, rule] : rules) {
    shape.class_of = rule;
    make_folder(folder / name, shape);
    const std::set<int> wanted = labelled(false);
    for (const std::int64_t run : {1, 32}) {
      StreamConfig config = classes_of(name);
      config.shuffle_run = run;
      const LatentStream stream(config);
      const std::int64_t count = stream.num_samples();
      ASSERT_EQ(count, std::ssize(wanted)) << name;
      EXPECT_EQ(stream.pins()[0]["rows"], count);
      for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
        const std::vector<int> all = shown(stream, epoch * count, count);
        EXPECT_EQ(std::set<int>(all.begin(), all.end()), wanted) << name << ", runs of " << run;
      }
      const std::vector<int> all = shown(stream, 0, count), later = shown(LatentStream(config), count / 3, 1);
      EXPECT_EQ(later[0], all[static_cast<std::size_t>(count / 3)]) << "by the position alone";
    }
    StreamConfig config = classes_of(name);
    config.split = "held_out";
    if (labelled(true).empty())
      EXPECT_THAT(message_of<EmptySplit>([&] { LatentStream stream(config); }),
                  HasSubstr("no samples in split `held_out` that have a class"));
    else
      EXPECT_EQ(LatentStream(config).num_samples(), std::ssize(labelled(true))) << name;
    config.classes = false;
    config.split = "train";
    EXPECT_EQ(LatentStream(config).num_samples(), 1800) << "a run without classes is shown all";
  }
}

TEST_F(Classes, AShareIsTheNullConditionAndTheFirstFewCanBeTaken) {
  shape.class_of = [](int s) { return s % 3 == 0 ? s % 2 : -1; };
  make_folder(folder / "a", shape);
  StreamConfig config = classes_of("a");
  config.sources[0].limit = 50;
  const LatentStream few(config);
  EXPECT_EQ(few.num_samples(), 50);
  for (const int number : shown(few, 0, 50)) EXPECT_LE(number, 3 * 50 * 10 / 9 + 3);
  config.caption_drop = 0.3;
  EXPECT_NEAR(static_cast<double>(std::ranges::count(LatentStream(config).read(0, 300).captioned, 0)) / 300,
              0.3, 0.1);
}

// An index from before it counted classes serves whoever asks for none; precompute writes it anew.
TEST_F(Classes, AnOlderIndexIsNamedAndMended) {
  shape.shards = 1;
  shape.class_of = [](int s) { return s % 5 - 1; };
  make_folder(folder / "a", shape);
  const std::filesystem::path file = folder / "a" / "index.1.bin";
  const std::string good = core::read_text(file);
  store::LatentIndex index = store::parse_latent_index(good, "index");
  EXPECT_TRUE(index.counts_classes);
  index.counts_classes = false;
  for (store::IndexedShard& shard : index.shards) shard.classed.clear();
  for (const char* name : {"index.1.bin", "index.bin"})
    core::atomic_write(folder / "a" / name, store::to_bytes(index));
  StreamConfig config = classes_of("a");
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              AllOf(HasSubstr((folder / "a").string()), HasSubstr("run precompute again")));
  config.classes = false;
  EXPECT_EQ(LatentStream(config).num_samples(), 450);
  ASSERT_TRUE(store::mend_latent_index(folder / "a"));
  EXPECT_EQ(core::read_text(file), good);
  config.classes = true;
  EXPECT_EQ(LatentStream(config).num_samples(), std::ssize(labelled(false)));
}

// What a run does not take is not compared: classes are of the runs that take them alone.
TEST_F(Classes, MixedWhereTheRunTakesNone) {
  shape.shards = 1;
  shape.class_of = [](int s) { return s % 2; };
  make_folder(folder / "named", shape);
  shape.classes = {"odd", "even"};
  make_folder(folder / "others", shape);
  shape.classes.clear();
  shape.class_of = [](int) { return -1; };
  make_folder(folder / "without", shape);  // as of Parquet files without labels: [] in its facts
  shape.class_of = {};
  make_folder(folder / "none", shape);
  for (const std::string other : {"others", "without", "none"})
    for (const bool text : {false, true}) {
      StreamConfig config = classes_of("named");
      config.sources.push_back({folder / other, 1.0});
      config.text = text;
      const std::string said = message_of<core::UserError>([&] { LatentStream stream(config); });
      if (other == "none")
        EXPECT_THAT(said, AllOf(HasSubstr((folder / other).string()), HasSubstr("the data have no classes")));
      else if (other == "without")
        EXPECT_THAT(said, AllOf(HasSubstr((folder / other).string()), HasSubstr("that have a class")));
      else
        EXPECT_THAT(said, HasSubstr("cannot be mixed: `classes` is"));
      config.classes = false;
      EXPECT_EQ(LatentStream(config).num_samples(), 900) << other << text;
    }
}

}  // namespace
}  // namespace microdit::stream
