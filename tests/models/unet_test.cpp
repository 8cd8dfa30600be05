// U-Nets against what diffusers gave (scripts/make_unet_goldens.py), what they are conditioned on, and configs that cannot be.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "models/denoiser.h"
#include "models/small_unet.h"
#include "nn/state_dict.h"

namespace microdit::models {
namespace {

constexpr double kBar = 2e-5;
const std::string kGoldens = MICRODIT_SOURCE_DIR "/tests/parity/goldens/unet/";

torch::Tensor flat_index(std::int64_t count) {
  return torch::arange(count, torch::kDouble);
}

/// tests/parity/formulas.py, with all inputs of a convolution counted.
torch::Tensor filled(const std::string& name, const torch::Tensor& tensor) {
  const torch::Tensor k = flat_index(tensor.numel());
  int letters = 0;
  for (const char c : name) letters += static_cast<unsigned char>(c);
  const torch::Tensor values = torch::cos(0.37 * k + 0.0137 * k * k + letters % 97).view(tensor.sizes());
  if (tensor.dim() == 1) return name.ends_with("bias") ? 0.2 * values : 1 + 0.2 * values;
  return values * std::sqrt(2.0 * static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.numel()));
}

torch::Tensor digest(const torch::Tensor& gradient) {
  const torch::Tensor g = gradient.to(torch::kDouble).flatten(), k = flat_index(g.numel());
  const torch::Tensor first = torch::cos(0.61 * k + 0.0031 * k * k),
                      second = torch::sin(0.43 * k + 0.0071 * k * k);
  return torch::stack({g.norm(), g.dot(first / first.norm()), g.dot(second / second.norm())});
}

Condition condition_of(const nn::StateDict& golden) {
  const auto get = [&](const char* name) {
    const auto found = golden.find(name);
    return found == golden.end() ? torch::Tensor() : found->second;
  };
  const torch::Tensor mask = get("text_mask");
  return {get("text"), mask.defined() ? mask != 0 : mask, get("class")};
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  Golden()
      : config(core::load<ModelFile>(kGoldens + GetParam() + ".yaml").model),
        net(make_uninitialized_denoiser(config)),
        golden(nn::load_tensors(kGoldens + GetParam() + ".safetensors")) {
    const torch::NoGradGuard no_grad;
    for (auto& item : net->named_parameters()) item.value().copy_(filled(item.key(), item.value()));
  }
  torch::Tensor predict() {
    return net->forward(golden.at("x_t"), golden.at("t"), condition_of(golden)).prediction_BCHW;
  }
  DenoiserConfig config;
  std::shared_ptr<Denoiser> net;
  nn::StateDict golden;
};

TEST_P(Golden, NamesAndShapes) {
  const core::Json all = core::read_json(kGoldens + "names_and_shapes.json");
  std::map<std::string, std::vector<std::int64_t>> ours;
  for (const auto& [name, tensor] : nn::state_dict(*net)) ours[name] = tensor.sizes().vec();
  EXPECT_EQ(ours, (all.at(GetParam()).get<std::map<std::string, std::vector<std::int64_t>>>()));
}

TEST_P(Golden, PredictionLossAndEveryGradient) {
  const torch::Tensor out = predict(), theirs = golden.at("sample");
  EXPECT_LE(((out - theirs).norm() / theirs.norm()).item<double>(), kBar);
  const torch::Tensor loss = (out - golden.at("noise")).square().mean();
  EXPECT_NEAR(loss.item<double>() / golden.at("loss").item<double>(), 1, kBar);
  loss.backward();
  double whole = 0;
  for (const auto& [name, tensor] : golden)
    if (name.starts_with("digest.")) whole = std::hypot(whole, tensor[0].item<double>());
  for (const auto& item : net->named_parameters()) {
    const torch::Tensor expected = golden.at("digest." + item.key());
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    // Of keys' bias the gradient is rounding alone.
    const double size = std::max(expected[0].item<double>(), 1e-3 * whole);
    EXPECT_LE((digest(item.value().grad()) - expected).abs().max().item<double>() / size, kBar) << item.key();
  }
}

TEST_P(Golden, EveryConditionReachesTheOutput) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor before = predict();
  const auto changes = [&](const char* name,
                           const std::function<torch::Tensor(const torch::Tensor&)>& change) {
    if (!golden.contains(name)) return;
    const torch::Tensor kept = golden[name];
    golden[name] = change(kept);
    // Of every sample: each depends on its own row.
    const torch::Tensor moved = (predict() - before).flatten(1).norm(2, 1) / before.flatten(1).norm(2, 1);
    EXPECT_GT(moved.min().item<double>(), 1e-4) << name;
    golden[name] = kept;
  };
  changes("t", [](const torch::Tensor& t) { return t + 1; });
  changes("class", [&](const torch::Tensor& c) { return (c + 1).remainder(config.num_classes); });
  changes("text", [](const torch::Tensor& text) { return text + 0.1; });
  changes("text_mask", [](const torch::Tensor& mask) { return 1 - mask; });
}

INSTANTIATE_TEST_SUITE_P(Unet, Golden,
                         testing::Values("sd_odd_sizes", "text_and_classes", "classes_without_text", "ddpm",
                                         "plain_classes", "plain_without_attention"));

TEST(Unet, HiddenRowsHaveNoPart) {
  const auto net = make_denoiser(small(), 3);
  const torch::Tensor x = torch::randn({2, 3, 4, 6}), t = torch::tensor({1.0F, 500.0F});
  Condition text{.text_BLD = torch::randn({2, 3, 6}),
                 .text_mask_BL = torch::tensor({{1, 1, 0}, {1, 0, 0}}).to(torch::kBool)};
  const torch::Tensor seen = net->forward(x, t, text).prediction_BCHW;
  text.text_BLD[0][2].fill_(std::nan(""));
  EXPECT_TRUE(torch::equal(net->forward(x, t, text).prediction_BCHW, seen));
  // The null condition: the same whatever the text was, and that of zero rows.
  const torch::Tensor null = net->forward(x, t, net->null_like(text)).prediction_BCHW;
  EXPECT_TRUE(null.isfinite().all().item<bool>());
  EXPECT_TRUE(torch::allclose(null, net->forward(x, t, {.text_BLD = torch::zeros({2, 3, 6})}).prediction_BCHW,
                              1e-4, 1e-5));
  EXPECT_FALSE(torch::allclose(null, seen));
}

TEST(Unet, ItsNullClassIsLearned) {
  const auto net = make_denoiser(small({"num_class_embeds=5", "learned_null=true"}), 3);
  EXPECT_EQ(net->named_parameters()["class_embedding.weight"].size(0), 6);
  const Condition given{.text_BLD = torch::randn({2, 3, 6}), .class_B = torch::tensor({0, 4}, torch::kLong)};
  const Condition null = net->null_like(given);
  EXPECT_TRUE(torch::equal(null.class_B, torch::full({2}, 5, torch::kLong)));
  EXPECT_EQ(null.text_BLD.abs().max().item<float>(), 0);
  // Of a class that has no null, guidance leads along the text.
  const auto keeps = make_denoiser(small({"num_class_embeds=5"}), 3);
  EXPECT_TRUE(torch::equal(keeps->null_like(given).class_B, given.class_B));
}

TEST(Unet, BeginsAsTorchLeavesSuchLayers) {
  const auto net = make_denoiser(small({"num_class_embeds=50"}), 3);
  for (const auto& item : net->named_parameters()) {
    const torch::Tensor& p = item.value();
    const double largest = p.abs().max().item<double>();
    if (item.key().find("norm") != std::string::npos) {
      EXPECT_TRUE((p == (item.key().ends_with("weight") ? 1 : 0)).all().item<bool>()) << item.key();
    } else if (item.key().starts_with("class_embedding")) {
      EXPECT_NEAR(p.std().item<double>(), 1, 0.1);
    } else {
      EXPECT_GT(largest, 0) << item.key();
      if (p.dim() > 1) {
        EXPECT_NEAR(largest * std::sqrt(static_cast<double>(p.numel() / p.size(0))), 1, 0.1) << item.key();
      }
    }
  }
}

TEST(Unet, BlocksRunThroughTheHookInOrder) {
  const auto net = make_denoiser(small(), 3);
  const torch::Tensor x = torch::randn({1, 3, 4, 4}), t = torch::tensor({7.0F});
  const Condition text{.text_BLD = torch::randn({1, 2, 6})};
  const torch::Tensor plain = net->forward(x, t, text).prediction_BCHW;
  std::vector<std::int64_t> order;
  net->set_block_runner([&](std::int64_t block, const BlockFn& fn, const std::vector<torch::Tensor>& in) {
    order.push_back(block);
    return fn(in);
  });
  EXPECT_TRUE(torch::equal(net->forward(x, t, text).prediction_BCHW, plain));
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(Unet, AConfigComesBackFromItsPrint) {
  ModelFile file{small({"num_class_embeds=5", "attention_head_dim=[1, 2]"})};
  const ModelFile again = core::load<ModelFile>(core::ConfigTree::parse(core::to_yaml(file)));
  EXPECT_EQ(core::to_json(file), core::to_json(again));
  EXPECT_EQ(again.model.caption_channels, 6);
  EXPECT_EQ(again.model.num_classes, 5);
  EXPECT_TRUE(again.model.takes_text() && again.model.takes_classes() && again.model.has_null());
}

TEST(Unet, RefusesWhatItDoesNotKnow) {
  const auto refused = [](const std::string& more, const std::string& key) {
    EXPECT_THAT([&] { make_uninitialized_denoiser(small({more})); },
                testing::ThrowsMessage<core::UserError>(testing::HasSubstr(key)))
        << more;
  };
  refused("norm_num_groups=3", "norm_num_groups");
  refused("block_out_channels=[8]", "down_block_types");
  refused("block_out_channels=[]", "block_out_channels");
  refused("attention_head_dim=3", "attention_head_dim");
  refused("attention_head_dim=[1, 2, 3]", "attention_head_dim");
  refused("layers_per_block=two", "layers_per_block");
  refused("down_block_types=[KDownBlock2D, DownBlock2D]", "down_block_types");
  refused("only_cross_attention=true", "only_cross_attention");
  refused("only_cross_attention=[true, false]", "only_cross_attention");
  for (const char* key :
       {"attention_head_dim", "norm_num_groups", "cross_attention_dim", "act_fn", "flip_sin_to_cos"})
    refused(std::string(key) + "=null", key);
  refused("class_embed_type=timestep", "class_embed_type");
  refused("addition_embed_type=text_time", "addition_embed_type");
  refused("time_embedding_type=fourier", "time_embedding_type");
  refused("dropout=0.1", "dropout");
  refused("out_channels=6", "out_channels");
  refused("learned_null=true", "learned_null");
  refused("caption_channels=7", "cross_attention_dim");
  refused("_class_name=UNet2DModel", "_class_name");
  refused("patch_size=2", "patch_size");
  refused("dim=64", "dim");
  refused("sample_size=[8, 9]", "sample_size");
  DenoiserConfig c = small();
  c.caption_channels = 0;
  EXPECT_THROW(make_uninitialized_denoiser(c), core::UserError);
}

TEST(Unet, RefusesInputsOfOtherShapes) {
  const auto net = make_denoiser(small({"num_class_embeds=5", "downsample_padding=0"}), 3);
  const torch::Tensor x = torch::randn({2, 3, 4, 4}), t = torch::tensor({1.0F, 500.0F}),
                      text = torch::randn({2, 3, 6}), classes = torch::tensor({0, 4}, torch::kLong);
  const auto throws = [&](const torch::Tensor& x_, const torch::Tensor& t_, const Condition& c) {
    EXPECT_THROW(net->forward(x_, t_, c), core::UserError);
  };
  net->forward(x, t, {text, {}, classes});
  throws(torch::randn({2, 4, 4, 4}), t, {text, {}, classes});
  throws(torch::randn({2, 3, 1, 4}), t, {text, {}, classes});
  throws(x, torch::zeros({3}), {text, {}, classes});
  throws(x, t, {torch::randn({2, 3, 7}), {}, classes});
  throws(x, t, {torch::Tensor(), {}, classes});
  throws(x, t, {text, torch::ones({2, 3}), classes});
  throws(x, t, {text, torch::ones({2, 4}, torch::kBool), classes});
  throws(x, t, {text, {}, torch::tensor({0, 5}, torch::kLong)});
  throws(x, t, {text, {}, torch::Tensor()});
}

TEST(Unet, StableDiffusionsSize) {
  std::int64_t total = 0;
  const DenoiserConfig config =
      core::load<ModelFile>(std::filesystem::path(MICRODIT_SOURCE_DIR "/configs/models/unet_sd1.yaml"),
                            {"model.in_channels=4", "model.caption_channels=768"})
          .model;
  const auto net = make_uninitialized_denoiser(config);
  for (const auto& p : net->parameters()) total += p.numel();
  EXPECT_EQ(total, 859'520'964);
  EXPECT_EQ(net->parameters().size(), 686U);
}

}  // namespace
}  // namespace microdit::models
