// Samples with and without a class, in runs of classes and in others.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "stream/latent_stream.h"
#include "stream/row_source.h"

namespace microdit::stream {
namespace {

/// Sample i shows i; every third has a class, i % 2.
class SomeClasses : public RowSource {
 public:
  explicit SomeClasses(bool any = true) : any_(any) { facts_["classes"] = {"even", "odd"}; }
  std::string name() const override { return "some"; }
  std::int64_t num_samples() const override { return 30; }
  const RowShape& shape() const override { return shape_; }
  const core::Json& facts() const override { return facts_; }
  core::Json pin() const override { return core::Json::object(); }
  void read(std::span<RowWish> wishes) const override {
    for (RowWish& wish : wishes) {
      const auto i = static_cast<std::uint16_t>(wish.sample);
      std::memcpy(wish.latents, &i, sizeof i);
      wish.no_caption = wish.drop_caption || wish.sample % 2 == 0;
      wish.class_number = any_ && wish.sample % 3 == 0 ? static_cast<std::int32_t>(wish.sample % 2) : -1;
    }
  }

 private:
  bool any_;
  RowShape shape_{1, 1, 1, 1};
  core::Json facts_;
};

TEST(Classes, WhatHasNoClassIsPassedOverInAClassRun) {
  StreamConfig config;
  config.size = 8;
  config.text = false;
  config.classes = true;
  config.sources.resize(1);
  config.sources[0].make = [] { return std::make_unique<SomeClasses>(); };
  const LatentStream stream(config);
  const Batch batch = stream.read(0, 60);
  for (std::size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(batch.latents[i] % 3, 0) << "one that has a class is shown";
    EXPECT_EQ(batch.classes[i], batch.latents[i] % 2);
  }
  EXPECT_EQ(batch.text.size() + batch.ids.size(), 0U);
  EXPECT_EQ(batch.captioned, std::vector<std::uint8_t>(60, 1))
      << "a caption that is missing is no dropped one";
  config.caption_drop = 0.3;
  EXPECT_NEAR(static_cast<double>(std::ranges::count(LatentStream(config).read(0, 300).captioned, 0)) / 300,
              0.3, 0.1);
  config.caption_drop = 0;
  const Batch later = stream.read(17, 3);
  EXPECT_TRUE(std::equal(later.latents.begin(), later.latents.end(), batch.latents.begin() + 17))
      << "by the sample alone";
  config.classes = false;
  EXPECT_GT(std::ranges::count(LatentStream(config).read(0, 60).classes, -1), 0)
      << "a run without any condition is shown all";
  config.classes = true;
  config.sources[0].make = [] { return std::make_unique<SomeClasses>(false); };
  EXPECT_THROW(LatentStream(config).read(0, 1), core::UserError);
}

}  // namespace
}  // namespace microdit::stream
