// The stream: same samples for any slicing, resume, captions, several sources, damage.
#include "stream/latent_stream.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void expect_same(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.count, b.count);
  EXPECT_EQ(a.sample, b.sample);
  EXPECT_EQ(a.position, b.position);
  EXPECT_EQ(a.latents, b.latents);
  EXPECT_EQ(a.text, b.text);
}

template <class T>
void append(HostBuffer<T>& all, const HostBuffer<T>& part) {
  HostBuffer<T> both;
  both.resize(all.size() + part.size(), allocate_on_host);
  std::copy(all.begin(), all.end(), both.data());
  std::copy(part.begin(), part.end(), both.data() + all.size());
  all = std::move(both);
}

void append(Batch& all, const Batch& part) {
  all.count += part.count;
  all.sample.insert(all.sample.end(), part.sample.begin(), part.sample.end());
  all.position.insert(all.position.end(), part.position.begin(), part.position.end());
  append(all.latents, part.latents);
  append(all.text, part.text);
}

class LatentStreamTest : public StreamFolder {
 protected:
  void SetUp() override { make_folder(folder / "a", shape); }
};

TEST_F(LatentStreamTest, RowsBelongToTheirSampleAndCaption) {
  for (const std::string split : {"train", "held_out"}) {
    StreamConfig config = config_of();
    config.split = split;
    const LatentStream stream(config);
    EXPECT_EQ(stream.num_samples(), split == "train" ? 108 : 12);
    const Batch batch = stream.read(0, 50, true);
    for (std::size_t i = 0; i < 50; ++i) {
      const int number = number_of(static_cast<int>(batch.sample[i]), split == "held_out");
      for (std::size_t k = 0; k < 256; ++k) ASSERT_EQ(batch.latents[i * 256 + k], number);
      const int code = batch.text[i * 96] - 1, shard = number / shape.rows;
      EXPECT_EQ(code / 1000, shard);
      const int caption = (code % 1000 - number % shape.text_rows + shape.text_rows) % shape.text_rows;
      EXPECT_LT(caption, 1 + number % 3) << "a caption of this sample";
      for (std::size_t k = 0; k < 96; ++k) ASSERT_EQ(batch.text[i * 96 + k], code + 1);
      EXPECT_EQ(batch.captions[i], std::to_string(shard) + "/" + std::to_string(code % 1000));
    }
  }
}

TEST_F(LatentStreamTest, FactsAndOtherSize) {
  StreamConfig config = config_of();
  config.size = 128;
  const LatentStream stream(config);
  EXPECT_EQ(stream.facts().shape.channels, 4);
  EXPECT_EQ(stream.facts().shape.latent_size, 16);
  EXPECT_EQ(stream.facts().shape.text_length, 3);
  EXPECT_EQ(stream.facts().shape.text_width, 32);
  EXPECT_EQ(stream.facts().facts["dataset"], "numbers");
  const Batch batch = stream.read(0, 4);
  EXPECT_EQ(batch.latents.size(), 4u * 4 * 16 * 16);
  EXPECT_EQ(batch.latents[1024], number_of(static_cast<int>(batch.sample[1]), false));
}

TEST_F(LatentStreamTest, EveryEpochShowsEverySampleOnceInItsOwnOrder) {
  const LatentStream stream(config_of());
  std::vector<std::int64_t> epochs[2];
  for (int epoch : {0, 1}) {
    for (std::int64_t i = 0; i < 108; ++i) epochs[epoch].push_back(stream.sample_at(epoch * 108 + i));
    EXPECT_EQ(std::set<std::int64_t>(epochs[epoch].begin(), epochs[epoch].end()).size(), 108u);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  StreamConfig other = config_of();
  other.seed = 12;
  EXPECT_NE(LatentStream(other).read(0, 20).sample, stream.read(0, 20).sample);
  other.shuffle = false;
  EXPECT_EQ(LatentStream(other).read(107, 3).sample, (std::vector<std::int64_t>{107, 0, 1}));
}

TEST_F(LatentStreamTest, AnySlicingShowsTheSame) {
  StreamConfig config = config_of();
  config.caption_drop = 0.3;
  const Batch whole = LatentStream(config).read(0, 240);
  // World sizes and local batches with the same global batch of 24; and thread counts.
  for (const std::int64_t world : {1, 2, 3, 8})
    for (const std::int64_t threads : {1, 3}) {
      config.reading.threads = threads;
      std::vector<Batch> ranks(static_cast<std::size_t>(world));
      const std::int64_t local = 24 / world;
      std::vector<std::vector<Batch>> slices;
      for (std::int64_t rank = 0; rank < world; ++rank) {
        LatentStream stream(config);
        stream.start(rank * local, local, 24, 3);
        slices.emplace_back();
        for (int step = 0; step < 10; ++step) {
          slices.back().push_back(stream.next());
          stream.recycle(stream.read(step, local));  // memory that holds something else
        }
        EXPECT_GE(stream.waited_s(), 0);
      }
      Batch all;
      for (std::size_t step = 0; step < 10; ++step)
        for (const auto& rank : slices) append(all, rank[step]);
      expect_same(all, whole);
    }
}

TEST_F(LatentStreamTest, ResumesAnywhere) {
  StreamConfig config = config_of();
  config.caption_drop = 0.3;
  const Batch whole = LatentStream(config).read(0, 300);
  for (const std::int64_t at : {0, 1, 107, 108, 109, 250}) {
    LatentStream stream(config);
    stream.start(at, 7, 7);
    Batch rest = stream.next();
    append(rest, stream.next());
    Batch expected = LatentStream(config).read(at, 14);
    expect_same(rest, expected);
    EXPECT_TRUE(std::equal(rest.sample.begin(), rest.sample.end(), whole.sample.begin() + at));
    EXPECT_TRUE(std::equal(rest.text.begin(), rest.text.end(), whole.text.begin() + at * 96));
  }
  LatentStream again(config);
  again.start(5, 7, 7);
  again.next();
  again.start(0, 7, 7);  // a second start drops the first
  expect_same(again.next(), LatentStream(config).read(0, 7));
}

TEST_F(LatentStreamTest, CaptionChoiceAndDrop) {
  StreamConfig config = config_of();
  const std::int64_t n = 108 * 40;
  std::map<std::pair<std::int64_t, int>, int> chosen;
  const Batch batch = LatentStream(config).read(0, n);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    ++chosen[{batch.sample[i], batch.text[i * 96]}];
  int three = 0;
  for (std::int64_t sample = 0; sample < 108; ++sample) {
    const int captions = 1 + number_of(static_cast<int>(sample), false) % 3;
    int seen = 0;
    for (const auto& [pair, count] : chosen) seen += pair.first == sample;
    EXPECT_EQ(seen, captions);
    three += captions == 3;
  }
  EXPECT_GT(three, 30);

  config.caption_drop = 0.25;
  const Batch dropped = LatentStream(config).read(0, n, true);
  std::int64_t zeros = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const bool zero =
        std::all_of(&dropped.text[i * 96], &dropped.text[i * 96] + 96, [](auto x) { return x == 0; });
    zeros += zero;
    EXPECT_EQ(zero, dropped.captions[i].empty());
    if (!zero) {
      ASSERT_EQ(dropped.text[i * 96], batch.text[i * 96]) << "dropping changes no choice";
    }
  }
  EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(n), 0.25, 4 * std::sqrt(0.25 * 0.75 / 4320));
  config.caption_drop = 1;
  const Batch none = LatentStream(config).read(0, 30);
  EXPECT_TRUE(std::all_of(none.text.begin(), none.text.end(), [](auto x) { return x == 0; }));
  EXPECT_EQ(none.captioned, std::vector<std::uint8_t>(30, 0));
}

TEST_F(LatentStreamTest, CaptionSourcesRestrictTheChoice) {
  StreamConfig config = config_of();
  config.captions.names = {"long"};
  const Batch batch = LatentStream(config).read(0, 108);
  for (std::size_t i = 0; i < 108; ++i) {
    const int number = number_of(static_cast<int>(batch.sample[i]), false);
    // Source 1 is every second caption, so samples with one caption have none of it.
    const int expected =
        number % 3 == 0 ? 0 : number / shape.rows * 1000 + (number + 1) % shape.text_rows + 1;
    EXPECT_EQ(batch.text[i * 96], expected);
  }
  config.captions.names = {"lonk"};
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              AllOf(HasSubstr("`lonk`"), HasSubstr("alt, long")));
}

TEST_F(LatentStreamTest, SourcesMixByProportion) {
  FolderShape small = shape;
  small.base = 5000;
  small.shards = 1;
  make_folder(folder / "b", small);
  StreamConfig config = config_of();
  config.sources = {{folder / "a", 3}, {folder / "b", 1}};
  const LatentStream stream(config);
  EXPECT_EQ(stream.num_samples(), 108 + 36);
  const Batch batch = stream.read(0, 432);
  std::map<std::int64_t, int> shown;
  for (std::size_t i = 0; i < 432; ++i) {
    ++shown[batch.sample[i]];
    EXPECT_EQ(batch.latents[i * 256] >= 5000, batch.sample[i] >= 108);
  }
  // 324 turns of a are 3 epochs, 108 turns of b are 3 epochs.
  for (std::int64_t sample = 0; sample < 144; ++sample) EXPECT_EQ(shown[sample], 3) << sample;
  std::int64_t b = 0;
  for (std::size_t i = 0; i < 40; ++i) b += batch.sample[i] >= 108;
  EXPECT_EQ(b, 10);

  config.sources = {{folder / "a", 0}, {folder / "b", 0}};
  const Batch by_size = LatentStream(config).read(0, 144);
  EXPECT_EQ(std::set<std::int64_t>(by_size.sample.begin(), by_size.sample.end()).size(), 144u);
  config.sources[0].proportion = 1;
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              AllOf(HasSubstr("data[1].proportion"), HasSubstr("data[0]")));
  config.sources[1].proportion = -2;
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              HasSubstr("data[1].proportion: -2"));
}

TEST_F(LatentStreamTest, SourcesMustAgree) {
  FolderShape other = shape;
  other.codec = "codec-b";
  make_folder(folder / "b", other);
  StreamConfig config = config_of();
  config.sources.push_back({folder / "b", 1});
  EXPECT_THAT(message_of<core::UserError>([&] { LatentStream stream(config); }),
              AllOf(HasSubstr("`codec`"), HasSubstr("codec-a"), HasSubstr("codec-b"), HasSubstr("/b")));
}

TEST_F(LatentStreamTest, MistakesAreNamed) {
  const auto message = [&](const auto& change) {
    StreamConfig config = config_of();
    change(config);
    return message_of<core::UserError>([&] { LatentStream stream(config); });
  };
  EXPECT_THAT(message([](auto& c) { c.size = 96; }), HasSubstr("no latents of size 96 (it has [64,128])"));
  EXPECT_THAT(message([](auto& c) { c.split = "test"; }), HasSubstr("`test`"));
  EXPECT_THAT(message([](auto& c) { c.caption_drop = 1.5; }), HasSubstr("caption_drop"));
  EXPECT_THAT(message([](auto& c) { c.sources.clear(); }), HasSubstr("sources"));
  EXPECT_THAT(message([&](auto& c) { c.sources[0].folder = folder / "x"; }), HasSubstr("no such folder"));
  std::filesystem::remove(folder / "a" / "manifest.jsonl");
  EXPECT_THAT(message([](auto&) {}), HasSubstr("6 items are done"));
  make_folder(folder / "all_train", [&] {
    auto s = shape;
    s.held_out_every = 1000;
    return s;
  }());
  EXPECT_THAT(message([&](auto& c) {
                c.sources[0].folder = folder / "all_train";
                c.split = "held_out";
              }),
              HasSubstr("no samples in split `held_out`"));
}

}  // namespace
}  // namespace microdit::stream
