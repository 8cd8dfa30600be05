// A codec's config.json: what it says goes into latents and facts, and what is refused.
#include "encoders/codec_config.h"

#include <gmock/gmock.h>

#include "encoders/codec_folder.h"

namespace microdit::encoders {
namespace {

using testing::HasSubstr;

TEST_F(CodecFolder, StatisticsScaleEachChannelAsDiffusersPipelinesDo) {
  edit_config([](core::Json& json) {
    json["shift_factor"] = nullptr;
    json["latents_mean"] = {-1.5, 0.25, 2};
    json["latents_std"] = {8, 0.5, 1};
  });
  const auto codec = load_image_codec(folder());
  const torch::NoGradGuard no_grad;
  const auto mean = torch::tensor({-1.5F, 0.25F, 2.0F}).view({1, 3, 1, 1});
  const auto std_dev = torch::tensor({8.0F, 0.5F, 1.0F}).view({1, 3, 1, 1});
  const auto image = pixels_.to(torch::kFloat32).permute({0, 3, 1, 2}) / 127.5 - 1;
  const auto z = net_->encode_moments(image).narrow(1, 0, 3);
  EXPECT_LT((codec->encode(pixels_) - (z - mean) * 1.25 / std_dev).abs().max().item<double>(), 1e-5);
  const auto latents = torch::randn({2, 3, 4, 6});
  const auto expected = net_->decode(latents * std_dev / 1.25 + mean);
  EXPECT_LT((codec->picture(latents) - expected).abs().max().item<double>(), 1e-5);
}

TEST_F(CodecFolder, StatisticsAreItsIdentityAndOlderFactsHaveNone) {
  const CodecFacts before = describe_image_codec(folder());
  EXPECT_FALSE(core::to_json(before).contains("latents_mean"));  // the text of older manifests
  const auto with = [&](const char* mean) {
    edit_config([&](core::Json& json) {
      json["shift_factor"] = nullptr;
      json["latents_mean"] = core::Json::parse(mean);
      json["latents_std"] = {8, 0.5, 1};
    });
    return describe_image_codec(folder());
  };
  const CodecFacts facts = with("[1, 2, 3]");
  const core::Json said = core::to_json(facts);
  EXPECT_EQ(said["latents_mean"], (core::Json{1, 2, 3}));
  EXPECT_EQ(said["latents_std"], (core::Json{8, 0.5, 1}));
  const auto read = core::load<CodecFacts>(core::ConfigTree::of_json(said, "facts"));
  EXPECT_EQ(read.latents_std, facts.latents_std);
  EXPECT_EQ(find_image_codec(read)->net()->config().latents_mean, facts.latents_mean);
  EXPECT_THAT(message_of<core::UserError>([&] { find_image_codec(before); }), HasSubstr("latents_mean"));
  with("[1, 2, 4]");
  EXPECT_THAT(message_of<core::UserError>([&] { find_image_codec(facts); }), HasSubstr("latents_mean"));
}

TEST_F(CodecFolder, StatisticsOutliveBeingSaved) {
  net_->config().shift_factor = 0;
  net_->config().latents_mean = {1, 2, 3};
  net_->config().latents_std = {4, 5, 6};
  save_autoencoder(folder(), *net_, false);
  EXPECT_EQ(load_image_codec(folder())->net()->config().latents_std, net_->config().latents_std);
}

TEST_F(CodecFolder, ConfigSaysWhatDiffusersNeeds) {
  const core::Json json = core::read_json(folder() / "config.json");
  EXPECT_EQ(json["_class_name"], "AutoencoderKL");
  EXPECT_EQ(json["sample_size"], load_image_codec(folder())->net()->config().sample_size);
  core::Json wider = json;
  wider["out_channels"] = 4;
  core::write_json(folder() / "config.json", wider);
  EXPECT_THAT(message_of<core::UserError>([&] { load_image_codec(folder()); }), HasSubstr("conv_out"));
  EXPECT_EQ(json["down_block_types"], (core::Json{"DownEncoderBlock2D", "DownEncoderBlock2D"}));
  EXPECT_EQ(json["up_block_types"], (core::Json{"UpDecoderBlock2D", "UpDecoderBlock2D"}));
}

TEST_F(CodecFolder, NumbersBeyondTheirTypeAreNamed) {
  edit_config([](core::Json& json) { json["latent_channels"] = std::uint64_t{1} << 63; });
  EXPECT_THAT(message_of<core::UserError>([&] { read_codec_config(folder()); }),
              testing::AllOf(HasSubstr("config.json"), HasSubstr("latent_channels")));
}

TEST_F(CodecFolder, RefusesAMissingScalingFactor) {
  edit_config([](core::Json& json) { json.erase("scaling_factor"); });
  EXPECT_THAT(refusal(), HasSubstr("scaling_factor"));
}

TEST_F(CodecFolder, RefusesStatisticsThatSayNothing) {
  const core::Json original = core::read_json(folder() / "config.json");
  const auto refused = [&](const char* shift, const char* mean, const char* std_dev) {
    core::Json json = original;
    json["shift_factor"] = core::Json::parse(shift);
    json["latents_mean"] = core::Json::parse(mean);
    json["latents_std"] = core::Json::parse(std_dev);
    core::write_json(folder() / "config.json", json);
    return refusal();
  };
  EXPECT_THAT(refused("null", "[1, 2, 3]", "null"), HasSubstr("latents_std is missing"));
  EXPECT_THAT(refused("0", "null", "[1, 2, 3]"), HasSubstr("latents_mean is missing"));
  EXPECT_THAT(refused("0.5", "[1, 2, 3]", "[1, 2, 3]"), HasSubstr("shift_factor is 0.5"));
  EXPECT_THAT(refused("null", "[1, 2]", "[1, 2, 3]"), HasSubstr("latents_mean is [1,2]"));
  EXPECT_THAT(refused("null", "[1, 2, \"3\"]", "[1, 2, 3]"), HasSubstr("3 latent_channels"));
  EXPECT_THAT(refused("null", "[1, 2, 3]", "[1, 0, 3]"), HasSubstr("latents_std has 0"));
}

TEST_F(CodecFolder, RefusesWhatItDoesNotImplement) {
  const core::Json original = core::read_json(folder() / "config.json");
  const std::vector<std::pair<const char*, core::Json>> changes = {
      {"_class_name", "AutoencoderTiny"},
      {"act_fn", "gelu"},
      {"down_block_types", {"AttnDownEncoderBlock2D"}},
      {"latents_mean", {0.0}},
      {"layers_per_block", 1000},
      {"block_out_channels", std::vector<std::int64_t>(70, 8)},
      {"block_out_channels", std::vector<std::int64_t>(original["block_out_channels"].size(), 16384)},
      {"latent_channels", std::int64_t{1} << 40},
      {"norm_num_groups", 3},
      {"layers_per_block", "two"},
      {"unheard_of", 1}};
  for (const auto& [key, value] : changes) {
    core::write_json(folder() / "config.json", original);
    edit_config([&](core::Json& json) { json[key] = value; });
    EXPECT_THAT(refusal(), HasSubstr(key));
  }
  core::write_json(folder() / "config.json", original);
  edit_config([](core::Json& json) { json["_whatever"] = 1; });
  EXPECT_NO_THROW(load_image_codec(folder()));
}

}  // namespace
}  // namespace microdit::encoders
