// Sizes of the presets, initial weights, and configs that cannot be.
#include "models/denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <numeric>

#include "core/error.h"
#include "models/microdit_block.h"
#include "nn/state_dict.h"

namespace microdit::models {
namespace {

struct ModelFile {
  DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

DenoiserConfig preset(const std::string& name, std::int64_t input_size, std::int64_t channels,
                      std::int64_t caption) {
  DenoiserConfig c = core::load<ModelFile>(MICRODIT_SOURCE_DIR "/configs/models/" + name + ".yaml").model;
  c.input_size = input_size;
  c.in_channels = channels;
  c.caption_channels = caption;
  return c;
}

std::int64_t count(const DenoiserConfig& config) {
  std::int64_t total = 0;
  for (const auto& p : make_uninitialized_denoiser(config)->parameters()) total += p.numel();
  return total;
}

DenoiserConfig small() {
  DenoiserConfig c = preset("emoji", 8, 4, 24);
  c.dim = 64;
  c.patch_mixer_dim = 32;
  c.head_dim = 16;
  c.multiple_of = 32;
  c.depth = 4;
  return c;
}

TEST(Presets, ParameterCounts) {
  EXPECT_EQ(count(preset("tiny_2", 32, 4, 1024)), 200'692'752);
  EXPECT_EQ(count(preset("xl_2", 32, 4, 1024)), 1'165'442'320);
  EXPECT_EQ(count(preset("xl_2", 32, 16, 1024)), 1'165'540'672);
  EXPECT_EQ(count(preset("emoji", 8, 4, 384)), 8'282'512);
}

TEST(Linspace, EndsAndMiddle) {
  EXPECT_EQ(linspace({0.5, 4.0}, 1), std::vector<double>{0.5});
  const std::vector<double> values = linspace({0.5, 1.0}, 6);
  EXPECT_EQ(values.back(), 1.0);
  EXPECT_DOUBLE_EQ(values[1], 0.6);
}

TEST(Widths, ThinBlocksAndExperts) {
  const std::vector<BlockSizes> blocks = backbone_sizes(preset("xl_2", 32, 4, 1024));
  EXPECT_EQ(blocks[0].attention_width, 512);
  EXPECT_EQ(blocks[0].hidden, 512);  // 2/3 of 512 is 341
  EXPECT_EQ(blocks[0].num_experts, 0);
  EXPECT_EQ(blocks[1].num_experts, 8);
  EXPECT_EQ(blocks[27].num_experts, 0);  // never the last block
  EXPECT_EQ(blocks[27].attention_width, 1024);
}

TEST(Initialize, SameSeedSameWeightsForAnyThreadCount) {
  DenoiserConfig wide = small();
  wide.dim = 384;  // matrices of more values than a thread takes, and an odd rest
  wide.caption_channels = 1031;
  const auto drawn = [&](int threads, std::uint64_t seed) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    auto net = make_denoiser(wide, seed);
    at::set_num_threads(before);
    return net->named_parameters();
  };
  const auto a = drawn(1, 5), other = drawn(1, 6);
  for (const int threads : {2, 3})
    for (const auto& item : drawn(threads, 5))
      EXPECT_TRUE(torch::equal(item.value(), a[item.key()])) << item.key();
  EXPECT_FALSE(torch::equal(a["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"]));
  EXPECT_FALSE(torch::equal(a["blocks.0.norm1.weight"], a["blocks.0.attn.qkv.weight"][0]));
}

TEST(Initialize, FollowsTheOriginalsDistributions) {
  DenoiserConfig config = small();
  config.dim = 128;
  const auto net = make_denoiser(config, 1);
  const auto p = net->named_parameters();
  for (const auto& item : p) {
    ASSERT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
    const bool zero = item.value().abs().sum().item<double>() == 0;
    const bool should = (item.key().ends_with(".bias") && item.key() != "x_embedder.proj.bias") ||
                        item.key().find("adaLN_modulation") != std::string::npos ||
                        item.key() == "final_layer.linear.weight" ||
                        item.key() == "y_emb_preprocess.attn.proj.weight" ||
                        item.key() == "y_emb_preprocess.mlp.w3.weight";
    EXPECT_EQ(zero, should) << item.key();
  }
  const auto std_of = [&](const std::string& name) { return p[name].std().item<double>(); };
  EXPECT_NEAR(std_of("blocks.2.attn.qkv.weight"), 0.02, 5e-4);
  EXPECT_NEAR(std_of("blocks.2.attn.proj.weight"), 0.02 / std::sqrt(6.0), 5e-4);
  EXPECT_NEAR(std_of("blocks.1.mlp.w1"), 0.02, 5e-4);
  EXPECT_NEAR(std_of("blocks.1.mlp.w2"), 0.02 / 2, 5e-4);
  EXPECT_NEAR(std_of("patch_mixer.1.cross_attn.proj.weight"), 0.02 / std::sqrt(8.0), 5e-4);
  EXPECT_NEAR(std_of("t_embedder.mlp.0.weight"), 0.02, 5e-4);
  EXPECT_NEAR(std_of("y_emb_preprocess.mlp.w2.weight"), 0.02, 5e-4);
  const double bound = std::sqrt(6.0 / (128 + 32));
  EXPECT_NEAR(p["patch_mixer_map_xin.1.weight"].abs().max().item<double>(), bound, 0.01 * bound);
  EXPECT_NEAR(std_of("x_embedder.proj.weight"), std::sqrt(6.0 / (128 + 16)) / std::sqrt(3.0), 0.01);
  EXPECT_LE(p["x_embedder.proj.bias"].abs().max().item<double>(), 0.25);
  EXPECT_TRUE((p["blocks.0.norm2.weight"] == 1).all().item<bool>());
  EXPECT_TRUE((p["patch_mixer_map_y.0.weight"] == 1).all().item<bool>());
}

TEST(Forward, StartsAtZeroAndKeepsTheMaskToken) {
  const auto net = make_denoiser(small(), 1);
  const torch::NoGradGuard no_grad;
  net->named_buffers()["mask_token"].fill_(7);
  const torch::Tensor noise = torch::sin(torch::arange(32) * 1.7).view({2, 16});
  const Prediction out = net->forward(torch::ones({2, 4, 8, 8}), torch::zeros({2}), {torch::ones({2, 3, 24})},
                                      Mask{0.75, noise});
  EXPECT_EQ(out.kept_BT.sum().item<double>(), 8);
  EXPECT_EQ(out.prediction_BCHW.sum().item<double>(),
            7 * 4 * 4 * 2 * 12);  // 12 of 16 patches dropped, kept ones zero
  const torch::Tensor lowest = std::get<1>(noise.topk(4, 1, /*largest=*/false));
  EXPECT_TRUE((out.kept_BT.gather(1, lowest) == 1).all().item<bool>());
}

TEST(Forward, RefusesWrongShapes) {
  const auto net = make_denoiser(small(), 1);
  const torch::Tensor x = torch::ones({2, 4, 8, 8}), label = torch::zeros({2}),
                      text = torch::ones({2, 3, 24});
  EXPECT_THROW(net->forward(torch::ones({2, 3, 8, 8}), label, {text}), core::UserError);
  EXPECT_THROW(net->forward(x, torch::zeros({3}), {text}), core::UserError);
  EXPECT_THROW(net->forward(x, label, {torch::ones({2, 3, 23})}), core::UserError);
  EXPECT_THROW(net->forward(x, label, {text}, Mask{0.5, torch::ones({2, 15})}), core::UserError);
  EXPECT_THROW(net->forward(x, label, {text}, Mask{0.99, torch::ones({2, 16})}), core::UserError);
}

TEST(Config, ImpossibleOnesAreRefused) {
  const auto refused = [](void (*change)(DenoiserConfig&), const std::string& key) {
    DenoiserConfig c = small();
    change(c);
    EXPECT_THAT([&] { make_uninitialized_denoiser(c); },
                testing::ThrowsMessage<core::UserError>(testing::HasSubstr(key)));
  };
  refused([](DenoiserConfig& c) { c.input_size = 0; }, "input_size");
  refused([](DenoiserConfig& c) { c.input_size = 9; }, "patch_size");
  refused([](DenoiserConfig& c) { c.head_dim = 24; }, "head_dim");
  refused([](DenoiserConfig& c) { c.kind = "u_net"; }, "u_net");
}

TEST(Blocks, RunThroughTheHookInOrder) {
  const DenoiserConfig config = small();
  const auto net = make_denoiser(config, 3);
  const torch::NoGradGuard no_grad;
  for (const torch::Tensor& p : net->parameters()) p.add_(0.01);  // an untrained net gives zeros
  const torch::Tensor x = torch::ones({2, 4, 8, 8}), label = torch::zeros({2}),
                      text = torch::ones({2, 3, 24});
  const auto predict = [&] { return net->forward(x, label, {text}).prediction_BCHW; };
  const torch::Tensor plain = predict();
  std::vector<std::int64_t> seen;
  net->set_block_runner([&](std::int64_t block, const BlockFn& fn, const std::vector<torch::Tensor>& inputs) {
    seen.push_back(block);
    fn(inputs);  // a block is a function of its inputs: once more gives the same
    return fn(inputs);
  });
  EXPECT_TRUE(torch::equal(predict(), plain));
  std::vector<std::int64_t> all(
      static_cast<std::size_t>(1 + config.patch_mixer_depth + config.depth));  // the text's first
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  seen.clear();
  net->forward(x, label, {text}, Mask{0.5, torch::rand({2, 16})});
  EXPECT_EQ(seen, all);
  net->set_block_runner([&](std::int64_t block, const BlockFn& fn, const std::vector<torch::Tensor>& inputs) {
    return block == 1 ? inputs[0] : fn(inputs);
  });
  EXPECT_FALSE(torch::equal(predict(), plain));
  net->set_block_runner({});
  EXPECT_TRUE(torch::equal(predict(), plain));
}

TEST(Condition, MicroditsNullIsZeroRowsWithoutTokens) {
  const auto net = make_uninitialized_denoiser(small());
  const torch::Tensor text = torch::ones({2, 3, 24}), mask = torch::ones({2, 3}, torch::kBool);
  const Condition null = net->null_like({text, mask});
  EXPECT_TRUE(torch::equal(null.text_BLD, torch::zeros_like(text)));
  EXPECT_TRUE(torch::equal(null.text_mask_BL, torch::zeros_like(mask)));
  EXPECT_FALSE(net->null_like({text}).text_mask_BL.defined());
}

DenoiserConfig small_class_dit() {
  DenoiserConfig c;
  c.kind = "class_dit";
  c.input_size = 4;
  c.in_channels = 3;
  c.dim = 16;
  c.depth = 2;
  c.num_heads = 2;
  c.num_classes = 5;
  return c;
}

TEST(ClassDit, ItsNullIsAClassOfItsOwn) {
  DenoiserConfig c = small_class_dit();
  c.learned_null = true;
  const auto net = make_denoiser(c, 3);
  const torch::Tensor x = torch::randn({2, 3, 4, 4}), t = torch::tensor({1.0F, 500.0F});
  const Condition classes{.class_B = torch::tensor({0, 4}, torch::kLong)};
  const Condition null = net->null_like(classes);
  EXPECT_TRUE(torch::equal(null.class_B, torch::full({2}, 5, torch::kLong)));
  EXPECT_FALSE(
      torch::allclose(net->forward(x, t, classes).prediction_BCHW, net->forward(x, t, null).prediction_BCHW));
  EXPECT_THROW(make_denoiser(small_class_dit(), 3)->null_like(classes), std::logic_error);
}

TEST(ClassDit, TakesTextRowsInsteadOfClasses) {
  DenoiserConfig c = small_class_dit();
  c.num_classes = 0;
  c.caption_channels = 6;
  c.text_mask = c.learned_null = true;
  const auto net = make_denoiser(c, 3);
  const torch::Tensor x = torch::randn({2, 3, 4, 4}), t = torch::tensor({1.0F, 500.0F});
  Condition text{.text_BLD = torch::randn({2, 3, 6}),
                 .text_mask_BL = torch::tensor({{1, 1, 0}, {1, 0, 0}}).to(torch::kBool)};
  const torch::Tensor seen = net->forward(x, t, text).prediction_BCHW;
  text.text_BLD[0][2].fill_(std::nan(""));  // behind the last token
  EXPECT_TRUE(torch::equal(net->forward(x, t, text).prediction_BCHW, seen));
  text.text_BLD[0][1].add_(1);
  EXPECT_FALSE(torch::allclose(net->forward(x, t, text).prediction_BCHW[0], seen[0]));
  // The null is a learned row, the same whatever the text was.
  const torch::Tensor null = net->forward(x, t, net->null_like(text)).prediction_BCHW;
  text.text_BLD = torch::zeros({2, 3, 6});
  EXPECT_TRUE(torch::equal(net->forward(x, t, net->null_like(text)).prediction_BCHW, null));
  EXPECT_FALSE(torch::allclose(net->forward(x, t, text).prediction_BCHW, null));
}

TEST(ClassDit, BeginsAsTorchLeavesSuchLayers) {
  const auto net = make_denoiser(small_class_dit(), 3);
  for (const auto& item : net->named_parameters()) {
    const torch::Tensor& p = item.value();
    const bool zero = p.abs().max().item<float>() == 0;
    const bool table = item.key().ends_with("layer_embeddings") || item.key().ends_with("in_proj_bias") ||
                       item.key().ends_with("out_proj.bias");
    EXPECT_EQ(zero, table) << item.key();
  }
  EXPECT_EQ(nn::distinct_parameters(*net).size(), 2U + 3U + 1U + 2U * (1U + 4U + 4U) + 1U + 2U);
  EXPECT_FALSE(net->supports_masking());
}

TEST(ClassDit, LoadsNanoDiffusionsCheckpoints) {
  // Real ones, as its own code wrote them (scripts/make_nano_training_goldens.py), plain and compiled.
  const std::filesystem::path folder =
      std::filesystem::path(MICRODIT_SOURCE_DIR) / "tests/train/goldens/nano_checkpoints";
  for (const bool average : {false, true}) {
    const nn::StateDict expected =
        nn::load_tensors(folder / (average ? "mean.safetensors" : "raw.safetensors"));
    for (const char* file : {"plain_checkpoint_epoch_0001.pt", "compiled_checkpoint_epoch_0001.pt"}) {
      const nn::StateDict state = nn::load_network(folder / file, average);
      DenoiserConfig c = small_class_dit();
      const torch::Tensor table = state.at("adaln_single.layer_embeddings"),
                          patch = state.at("patch_embedding.lin_projection.weight");
      c.depth = table.size(0);
      c.dim = patch.size(0);
      c.patch_size = 2;
      c.in_channels = patch.size(1) / 4;
      c.num_classes = state.at("context_embedding.weight").size(0);
      c.norm = state.contains("reshaper.normalization_layer.bias") ? "layer" : "rms";
      const auto net = make_uninitialized_denoiser(c);
      nn::load_state_dict(*net, state, file);
      std::size_t compared = 0;
      for (const auto& [name, tensor] : nn::state_dict(*net)) {
        const auto found = expected.find(name);
        if (found == expected.end()) continue;
        EXPECT_TRUE(torch::equal(tensor, found->second)) << file << " " << name;
        ++compared;
      }
      EXPECT_GT(compared, 10U);
    }
  }
}

TEST(ClassDit, RefusesWhatItDoesNotKnow) {
  const auto net = make_denoiser(small_class_dit(), 3);
  const torch::Tensor x = torch::randn({2, 3, 4, 4}), t = torch::tensor({1.0F, 500.0F});
  for (const torch::Tensor& classes :
       {torch::tensor({0, 5}, torch::kLong), torch::tensor({-1, 0}, torch::kLong),
        torch::tensor({0}, torch::kLong), torch::tensor({0.0F, 1.0F}), torch::Tensor()})
    EXPECT_THROW(net->forward(x, t, {.class_B = classes}), core::UserError);
  DenoiserConfig c = small_class_dit();
  c.num_heads = 3;
  EXPECT_THROW(make_denoiser(c), core::UserError);
  c = small_class_dit();
  c.num_classes = 0;
  EXPECT_THROW(make_denoiser(c), core::UserError) << "neither classes nor a width of text";
}

}  // namespace
}  // namespace microdit::models
