// A text_conditioner in every kind of network: what its rows depend on, what they do not, and configs that cannot be. Its numbers are compared
// with torch's TransformerEncoder in tests/parity/text_conditioner_parity_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <algorithm>

#include "core/error.h"
#include "models/denoiser.h"
#include "nn/state_dict.h"

namespace microdit::models {
namespace {

using testing::HasSubstr;

struct ModelFile {
  DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

const std::map<std::string, std::vector<std::string>> kKinds = {
    {"unet",
     {"kind=unet", "block_out_channels=[8, 16]", "norm_num_groups=4",
      "down_block_types=[DownBlock2D, CrossAttnDownBlock2D]",
      "up_block_types=[CrossAttnUpBlock2D, UpBlock2D]", "attention_head_dim=2", "layers_per_block=1"}},
    {"class_dit", {"kind=class_dit", "dim=16", "depth=2", "num_heads=2", "patch_size=2"}},
    {"microdit",
     {"dim=32", "depth=2", "head_dim=16", "multiple_of=16", "patch_mixer_dim=32", "patch_mixer_depth=1",
      "num_experts=2", "experts_every_n=2"}}};

DenoiserConfig config_of(const std::string& kind, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = kKinds.at(kind);
  for (const char* word :
       {"input_size=4", "in_channels=3", "text_conditioner.vocabulary=11", "text_conditioner.length=6",
        "text_conditioner.width=8", "text_conditioner.depth=2", "text_conditioner.heads=2"})
    words.emplace_back(word);
  words.insert(words.end(), more.begin(), more.end());
  for (std::string& word : words) word = "model." + word;
  return core::load<ModelFile>(core::ConfigTree::of_overrides(words)).model;
}

/// Every parameter drawn, so that layers which begin at zero hide nothing.
std::shared_ptr<Denoiser> drawn(const DenoiserConfig& config) {
  torch::manual_seed(5);
  const torch::NoGradGuard no_grad;
  auto net = make_denoiser(config, 3);
  for (auto& item : net->named_parameters()) item.value().add_(0.3 * torch::randn(item.value().sizes()));
  return net;
}

torch::Tensor mask_of(const std::vector<std::int64_t>& lengths, std::int64_t length) {
  return torch::arange(length) < torch::tensor(lengths, torch::kLong).unsqueeze(1);
}

class EveryKind : public testing::TestWithParam<std::string> {
 protected:
  torch::Tensor predict(const torch::Tensor& tokens, const torch::Tensor& mask) const {
    const TextRows text = net->text_conditioner()->forward(tokens, mask);
    return net->forward(x, t, {text.rows_BLW, text.seen_BL, {}}).prediction_BCHW;
  }
  const DenoiserConfig config = config_of(GetParam(), {"caption_channels=12"});
  const std::shared_ptr<Denoiser> net = drawn(config);
  const torch::Tensor x = torch::randn({2, 3, 4, 4}), t = torch::tensor({3.0F, 500.0F});
  const torch::Tensor tokens = torch::tensor({{4, 9, 1, 0, 0}, {7, 2, 10, 3, 1}}, torch::kLong);
  const torch::Tensor mask = mask_of({3, 5}, 5);
};

TEST_P(EveryKind, EachTokenReachesThePicture) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor before = predict(tokens, mask);
  for (std::int64_t at = 0; at < 3; ++at) {
    torch::Tensor other = tokens.clone();
    other[0][at] = 5;
    const torch::Tensor after = predict(other, mask);
    EXPECT_GT((after - before)[0].abs().max().item<double>(), 1e-5) << at;
    EXPECT_TRUE(torch::equal(after[1], before[1])) << "the other caption has no part";
  }
  torch::Tensor turned = tokens.clone();  // positions count, not only which tokens there are
  turned[0][0] = 9;
  turned[0][1] = 4;
  EXPECT_GT((predict(turned, mask) - before)[0].abs().max().item<double>(), 1e-5);
}

TEST_P(EveryKind, WhatLiesBehindTheLastTokenChangesNoBit) {
  const torch::NoGradGuard no_grad;
  torch::Tensor other = tokens.clone();
  other[0][3] = 8;
  other[0][4] = -1'000'000;  // not even looked up
  EXPECT_TRUE(torch::equal(predict(other, mask), predict(tokens, mask)));
  // Nor does how many there are, to rounding.
  const torch::Tensor longer = torch::cat({tokens, torch::zeros({2, 1}, torch::kLong)}, 1);
  const torch::Tensor here = predict(tokens, mask);
  EXPECT_LE((predict(longer, mask_of({3, 5}, 6)) - here).abs().max().item<double>(),
            1e-5 * std::max(1.0, here.abs().max().item<double>()));
}

TEST_P(EveryKind, NoCaptionIsALearnedOne) {
  torch::Tensor none = mask.clone();
  none[0].fill_(false);
  const torch::Tensor out = predict(tokens, none);
  torch::Tensor other = tokens.clone();
  other[0].fill_(6);
  EXPECT_TRUE(torch::equal(predict(other, none), out)) << "whatever the dropped caption was";
  const TextRows null = net->text_conditioner()->null(2, 5);
  const TextRows dropped = net->text_conditioner()->forward(tokens, none);
  EXPECT_TRUE(torch::equal(null.rows_BLW[0], dropped.rows_BLW[0]));
  EXPECT_TRUE(torch::equal(null.seen_BL, mask_of({1, 1}, 5)));
  EXPECT_GT((out - predict(tokens, mask))[0].abs().max().item<double>(), 1e-5);
  out.square().sum().backward();
  const torch::Tensor table = net->named_parameters()["text_conditioner.token_embedding.weight"].grad();
  EXPECT_GT(table[11].abs().max().item<double>(), 0) << "the row behind the vocabulary learns";
  EXPECT_EQ(table[4].abs().max().item<double>(), 0) << "the dropped caption's do not";
}

TEST_P(EveryKind, EveryParameterHasAGradient) {
  predict(tokens, mask).square().sum().backward();
  for (const auto& item : net->named_parameters())
    if (item.key().starts_with("text_conditioner.")) {
      EXPECT_GT(item.value().grad().abs().max().item<double>(), 0) << item.key();
    }
}

TEST_P(EveryKind, FirstWeightsAreAFunctionOfTheSeedAlone) {
  const auto a = make_denoiser(config, 9), b = make_denoiser(config, 9), c = make_denoiser(config, 10);
  const auto others = c->named_parameters(), same = b->named_parameters();
  for (const auto& item : a->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), same[item.key()])) << item.key();
    EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
    if (item.key().ends_with("token_embedding.weight")) {
      EXPECT_FALSE(torch::equal(item.value(), others[item.key()]));
    }
  }
  // The network's own weights are those that it has without.
  DenoiserConfig without = config;
  without.text_conditioner.reset();
  without.learned_null = config.kind == "class_dit" ? false : config.learned_null;
  const auto plain = make_denoiser(without, 9);
  for (const auto& item : plain->named_parameters())
    EXPECT_TRUE(torch::equal(item.value(), a->named_parameters()[item.key()])) << item.key();
}

INSTANTIATE_TEST_SUITE_P(TextConditioner, EveryKind, testing::Values("unet", "class_dit", "microdit"),
                         [](const auto& info) { return info.param; });

TEST(TextConditioner, RowsHaveItsOwnWidthUnlessTheNetworkWantsAnother) {
  const DenoiserConfig own = config_of("unet");
  EXPECT_EQ(own.caption_channels, 8);
  EXPECT_TRUE(own.text_mask);
  EXPECT_TRUE(own.has_null());
  EXPECT_FALSE(make_denoiser(own)->named_parameters().contains("text_conditioner.projection.weight"));
  const DenoiserConfig other = config_of("unet", {"cross_attention_dim=12"});
  EXPECT_EQ(make_denoiser(other)->named_parameters()["text_conditioner.projection.weight"].sizes(),
            (std::vector<std::int64_t>{12, 8}));
}

TEST(TextConditioner, ReadsBackWhatItPrints) {
  const ModelFile file{config_of("class_dit")};
  const std::string yaml = core::to_yaml(file);
  EXPECT_THAT(yaml, HasSubstr("text_conditioner:"));
  EXPECT_EQ(core::to_yaml(core::load<ModelFile>(core::ConfigTree::parse(yaml))), yaml);
}

TEST(TextConditioner, RefusesWhatCannotBe) {
  const auto refused = [](const std::string& kind, const std::vector<std::string>& more, const char* why) {
    try {
      make_denoiser(config_of(kind, more));
      ADD_FAILURE() << why;
    } catch (const core::UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  };
  refused("unet", {"text_conditioner.heads=3"}, "do not divide the width 8");
  refused("unet", {"text_conditioner.vocabulary=0"}, "model.text_conditioner.vocabulary");
  refused("unet", {"text_conditioner.length=0"}, "model.text_conditioner.length");
  refused("unet", {"text_mask=false"}, "which of its rows are tokens");
  refused("class_dit", {"learned_null=true"}, "has learned its own");
  refused("class_dit", {"num_classes=4"}, "takes none");
  refused("unet", {"text_conditioner.widht=3"}, "width");
}

TEST(TextConditioner, RefusesTokensThatItDoesNotKnow) {
  const auto net = make_denoiser(config_of("unet"));
  const auto refused = [&](const torch::Tensor& tokens, const char* why) {
    try {
      net->text_conditioner()->forward(tokens, torch::ones(tokens.sizes(), torch::kBool));
      ADD_FAILURE() << why;
    } catch (const core::UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  };
  refused(torch::tensor({{3, 11}}, torch::kLong), "token 11 of a caption: the model knows 11 tokens");
  refused(torch::tensor({{3, -2}}, torch::kLong), "token -2");
  refused(torch::zeros({1, 7}, torch::kLong), "[B, 1 to 6]");
  refused(torch::zeros({1, 0}, torch::kLong), "[B, 1 to 6]");
  refused(torch::zeros({1, 3}), "int64");
}

}  // namespace
}  // namespace microdit::models
