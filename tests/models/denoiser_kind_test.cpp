// Kinds of networks beside ours, in a program that was linked with some: this one.
#include "models/denoiser_kind.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/denoiser.h"

namespace microdit::models {
namespace {

/// A network that answers with its input times a number.
class Scaled : public Denoiser {
 public:
  Scaled(std::int64_t channels, double scale) : channels_(channels) {
    scale_ = register_parameter("scale", torch::full({1}, scale));
  }
  Prediction forward(const torch::Tensor& x, const torch::Tensor&, const Condition&,
                     const std::optional<Mask>&) override {
    return {x * scale_, {}};
  }
  Condition null_like(const Condition& condition) const override { return condition; }
  bool supports_masking() const override { return false; }
  std::int64_t patch_size() const override { return 1; }
  void initialize(std::uint64_t) override {}
  std::int64_t channels() const { return channels_; }

 private:
  std::int64_t channels_;
  torch::Tensor scale_;
};

struct ScaledKeys : KindKeys {
  double scale = 2;
  void fields(core::Fields& f) override { f.field("scale", scale, {.min = 0, .help = "of the input"}); }
  std::shared_ptr<Denoiser> make(const DenoiserConfig& common) const override {
    return std::make_shared<Scaled>(common.in_channels, scale);
  }
};

DenoiserKind kind(std::string name, Takes takes = {}) {
  return {.name = std::move(name), .takes = takes, .keys = [] { return std::make_shared<ScaledKeys>(); }};
}

}  // namespace

/// As microdit_programs() generates it.
std::vector<DenoiserKind> more_denoisers() {
  return {kind("scaled", {.text = true, .classes = true}), kind("bare"),
          kind("masked", {.text = true, .text_mask = true})};
}

namespace {

struct File {
  DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

DenoiserConfig read(const std::vector<std::string>& words) {
  return core::load<File>(core::ConfigTree::of_overrides(words)).model;
}

std::string refused(const std::vector<std::string>& words) {
  try {
    read(words);
  } catch (const core::UserError& error) {
    return error.what();
  }
  return "";
}

TEST(DenoiserKind, IsBuiltFromItsKeysAndTheDatas) {
  DenoiserConfig config = read({"model.kind=scaled", "model.scale=3", "model.input_size=2",
                                "model.in_channels=4", "model.caption_channels=8"});
  const auto net = make_denoiser(config);
  const torch::Tensor x = torch::ones({1, 4, 2, 2});
  EXPECT_TRUE(torch::equal(net->forward(x, {}, {}).prediction_BCHW, 3 * x));
  EXPECT_EQ(dynamic_cast<const Scaled&>(*net).channels(), 4);
  const core::Json printed = core::to_json(config);
  EXPECT_EQ(printed, core::to_json(read({"model=" + printed.dump()}))) << "read back as printed";
  EXPECT_EQ(printed["scale"], 3);
  EXPECT_FALSE(printed.contains("dim")) << "keys of other kinds";
  // A config that was copied and read anew is another's no more.
  const DenoiserConfig copy = config;
  config = read({"model.kind=scaled", "model.scale=5"});
  EXPECT_EQ(core::to_json(copy)["scale"], 3);
  DenoiserConfig plain;  // as code makes one, without reading
  plain.kind = "bare";
  plain.input_size = 2;
  plain.in_channels = 1;
  EXPECT_TRUE(torch::equal(make_denoiser(plain)->forward(x, {}, {}).prediction_BCHW, 2 * x));
}

TEST(DenoiserKind, TakesWhatItSays) {
  const DenoiserConfig text = read({"model.kind=scaled"}),
                       both = read({"model.kind=scaled", "model.num_classes=3"}),
                       bare = read({"model.kind=bare"});
  EXPECT_TRUE(text.takes_text() && !text.takes_classes() && text.has_null());
  EXPECT_TRUE(both.takes_text() && both.takes_classes());
  EXPECT_FALSE(bare.takes_text() || bare.takes_classes() || bare.has_null());
  EXPECT_THROW(make_denoiser(text), core::UserError) << "no in_channels";
}

TEST(DenoiserKind, StrictAsOurs) {
  EXPECT_NE(refused({"model.kind=scaled", "model.scael=3"}).find("scale"), std::string::npos);
  EXPECT_NE(refused({"model.kind=scaled", "model.scale=-1"}).find("out of range"), std::string::npos);
  EXPECT_NE(refused({"model.kind=bare", "model.num_classes=3"}).find("unknown key"), std::string::npos);
  EXPECT_NE(refused({"model.kind=scaled", "model.text_conditioner={width: 8, depth: 1, heads: 2}"})
                .find("takes no text_mask"),
            std::string::npos)
      << "it would attend to rows that are no tokens";
  EXPECT_NE(refused({"model.scale=3"}).find("unknown key"), std::string::npos) << "of microdit";
  const std::string said = refused({"model.kind=scalde"});
  for (const char* name : {"microdit", "class_dit", "unet", "scaled", "bare"})
    EXPECT_NE(said.find(name), std::string::npos) << said;
  const std::string help = describe_kinds();
  EXPECT_NE(help.find("kind: scaled\n"), std::string::npos);
  EXPECT_NE(help.find("of the input"), std::string::npos);
  EXPECT_NE(help.find("kind: unet\n"), std::string::npos);
}

TEST(DenoiserKind, ATextConditionerInsideIsDrawn) {
  const DenoiserConfig config =
      read({"model.kind=masked", "model.input_size=2", "model.in_channels=4",
            "model.text_conditioner={width: 8, depth: 1, heads: 2, vocabulary: 50, length: 4}"});
  // `initialize` of this network does nothing.
  const auto one = make_denoiser(config, 1), again = make_denoiser(config, 1),
             other = make_denoiser(config, 2);
  std::size_t differ = 0, drawn = 0;
  for (const auto& item : one->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), again->named_parameters()[item.key()])) << item.key();
    drawn += item.key().starts_with("text_conditioner.") ? 1 : 0;
    differ += torch::equal(item.value(), other->named_parameters()[item.key()]) ? 0 : 1;
  }
  EXPECT_GT(drawn, 5u);
  EXPECT_GT(differ, 2u);
}

TEST(DenoiserKind, NamesAreThereOnce) {
  EXPECT_EQ(kinds_fault({kind("a"), kind("b")}), "");
  EXPECT_NE(kinds_fault({kind("a"), kind("b"), kind("a")}).find("two networks called \"a\""),
            std::string::npos);
  EXPECT_NE(kinds_fault({kind("unet")}).find("two networks called \"unet\""), std::string::npos);
  EXPECT_NE(kinds_fault({kind("")}), "");
  EXPECT_NE(kinds_fault({DenoiserKind{.name = "a", .takes = {}, .keys = nullptr}}), "");
}

}  // namespace
}  // namespace microdit::models
