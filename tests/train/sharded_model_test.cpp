// Blocks recomputed, gathered and freed against the same net left alone: losses and gradients to the bit.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "nn/autocast.h"
#include "train/recomputed_block.h"
#include "train/sharded_training.h"

namespace microdit::train {
namespace {

models::DenoiserConfig config_of(const std::string& kind) {
  models::DenoiserConfig c;
  c.kind = kind;
  c.input_size = 8;
  c.in_channels = 4;
  if (kind == "unet") {
    c.caption_channels = 24;
    c.unet.block_out_channels = {16, 32};
    c.unet.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
    c.unet.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D"};
    c.unet.norm_num_groups = 4;
    c.unet.transformer_layers_per_block = {2};  // text rows are used twice in a block
    return c;
  }
  c.dim = 64;
  c.depth = 3;
  c.caption_channels = kind == "microdit" ? 24 : 0;
  c.num_classes = kind == "class_dit" ? 5 : 0;
  c.num_heads = 4;
  c.head_dim = 32;
  c.multiple_of = 32;
  c.patch_mixer_depth = 2;
  c.patch_mixer_dim = 32;
  c.num_experts = 2;
  return c;
}

struct Outcome {
  std::vector<double> losses;
  std::vector<torch::Tensor> weights;
  double norm2 = 0;
};

/// Two steps of two microbatches or one.
Outcome train(const std::string& kind, const ShardedTraining::Options& options, bool bf16 = false) {
  const models::DenoiserConfig config = config_of(kind);
  const auto net = models::make_denoiser(config, 3);
  {
    const torch::NoGradGuard no_grad;
    torch::manual_seed(5);
    for (const torch::Tensor& p : net->parameters()) p.add_(0.02 * torch::randn_like(p));
  }
  const auto comm = comm::make_local_communicator();
  ShardedTraining training(*net, net->blocks(), *comm, options);
  net->set_block_runner(training.model.block_runner());
  torch::manual_seed(7);
  Outcome outcome;
  const int microbatches = options.model.accumulates ? 2 : 1;
  for (int step = 1; step <= 2; ++step) {
    training.model.begin_step();
    double sum = 0;
    for (int i = 0; i < microbatches; ++i) {
      const torch::Tensor x = torch::randn({3, 4, 8, 8}), label = torch::rand({3});
      const models::Condition condition = config.takes_classes()
                                              ? models::Condition{.class_B = torch::tensor({0, 3, 1})}
                                              : models::Condition{.text_BLD = torch::randn({3, 5, 24})};
      training.model.begin_microbatch(i + 1 == microbatches);
      torch::Tensor loss;
      {
        const nn::Autocast autocast(bf16, torch::kCPU);
        loss = net->forward(x, label, condition).prediction_BCHW.to(torch::kFloat32).square().mean();
      }
      loss.backward();
      sum += loss.item<double>();
    }
    outcome.norm2 = training.model.finish_step();
    training.optimizer.update({.lr = 1e-3, .weight_decay = 0.1, .step = step});
    outcome.losses.push_back(sum);
  }
  training.model.with_own_weights([&] {
    for (const torch::Tensor& p : net->parameters()) outcome.weights.push_back(p.detach().clone());
  });
  net->set_block_runner({});
  return outcome;
}

void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norm2, b.norm2);
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    EXPECT_TRUE(torch::equal(a.weights[i], b.weights[i])) << i;
}

class Kinds : public testing::TestWithParam<const char*> {};

TEST_P(Kinds, EveryWayOfHoldingTheWeightsGivesTheSameBits) {
  for (const bool accumulates : {false, true}) {
    // Small buckets: several in flight, and slots that are used again.
    const ShardedTraining::Options resident{.bucket_bytes = 1 << 12, .model = {.accumulates = accumulates}};
    const Outcome left_alone = train(GetParam(), resident);
    for (const std::int64_t every : {1, 2}) {
      SCOPED_TRACE(every);
      ShardedTraining::Options recompute = resident;
      recompute.model.recompute_every = every;
      expect_same(train(GetParam(), recompute), left_alone);
    }
    ShardedTraining::Options full = resident;
    full.sharding = "full";
    expect_same(train(GetParam(), full), left_alone);
    full.bucket_bytes = std::int64_t{1} << 30;
    expect_same(train(GetParam(), full), train(GetParam(), {.model = {.accumulates = accumulates}}));
  }
}

TEST_P(Kinds, AutocastIsTheSameWhenABlockRunsAgain) {
  // As train does it with bf16 weights, and as train_codec with fp32 ones that are cast.
  for (const torch::ScalarType compute : {torch::kBFloat16, torch::kFloat32}) {
    for (const bool accumulates : {false, true}) {
      const ShardedTraining::Options resident{.bucket_bytes = 1 << 12,
                                              .model = {.accumulates = accumulates, .compute = compute}};
      ShardedTraining::Options recompute = resident, full = resident;
      recompute.model.recompute_every = 1;
      full.sharding = "full";
      const Outcome left_alone = train(GetParam(), resident, true);
      expect_same(train(GetParam(), recompute, true), left_alone);
      expect_same(train(GetParam(), full, true), left_alone);
      EXPECT_NE(left_alone.losses, train(GetParam(), {}).losses)
          << "bf16 must differ for this test to see it";
    }
  }
}

TEST_P(Kinds, BlocksAreBuckets) {
  const models::DenoiserConfig config = config_of(GetParam());
  const auto net = models::make_uninitialized_denoiser(config);
  const FlatLayout layout(*net, net->blocks(), 2, 1);
  ASSERT_GT(layout.num_blocks(), 2);
  for (std::int64_t block = 0; block < layout.num_blocks(); ++block) {
    const Bucket& bucket = layout.buckets()[layout.bucket_of_block(block)];
    EXPECT_EQ(bucket.first_block, block);
    EXPECT_EQ(bucket.last_block, block);
  }
  // What a block uses lies in its bucket, but for what others use, too.
  std::int64_t inside = 0;
  for (const Bucket& bucket : layout.buckets())
    if (bucket.is_of_blocks()) inside += bucket.count;
  EXPECT_GT(inside, layout.total() / 2);
}

INSTANTIATE_TEST_SUITE_P(All, Kinds, testing::Values("microdit", "class_dit", "unet"));

TEST(RecomputedBlock, KeepsNothingButItsInputs) {
  const auto weight = torch::randn({64, 64}).requires_grad_();
  const models::BlockFn fn = [&](const std::vector<torch::Tensor>& in) {
    torch::Tensor x = in[0];
    for (int i = 0; i < 10; ++i) x = torch::matmul(x, weight).tanh();
    return x;
  };
  const torch::Tensor x = torch::randn({4, 64});  // requires no gradient, but the weight does
  const torch::Tensor out = recomputed(fn, {x, {}}, {});
  ASSERT_TRUE(out.requires_grad());
  EXPECT_EQ(out.grad_fn()->name().find("Recomputed") == std::string::npos, false) << out.grad_fn()->name();
  out.sum().backward();
  const torch::Tensor gradient = weight.grad().clone();
  weight.mutable_grad().zero_();
  fn({x, {}}).sum().backward();
  EXPECT_TRUE(torch::equal(weight.grad(), gradient));
}

TEST(ShardedModelTest, WeightsAreNotThereOutsideOfTheirTurn) {
  const models::DenoiserConfig config = config_of("microdit");
  const auto net = models::make_denoiser(config, 3);
  const auto comm = comm::make_local_communicator();
  ShardedTraining training(*net, net->blocks(), *comm, {.sharding = "full", .bucket_bytes = 1});
  net->set_block_runner(training.model.block_runner());
  const auto predict = [&] {
    const torch::NoGradGuard no_grad;
    return net->forward(torch::ones({1, 4, 8, 8}), torch::zeros({1}), {torch::ones({1, 5, 24})})
        .prediction_BCHW;
  };
  EXPECT_THROW(predict(), std::exception) << "a net without its weights must not paint";
  torch::Tensor whole;
  training.model.with_own_weights([&] { whole = predict(); });
  EXPECT_TRUE(torch::equal(whole, [&] {
    const auto fresh = models::make_denoiser(config, 3);
    const torch::NoGradGuard no_grad;
    return fresh->forward(torch::ones({1, 4, 8, 8}), torch::zeros({1}), {torch::ones({1, 5, 24})})
        .prediction_BCHW;
  }()));
  net->set_block_runner({});
}

}  // namespace
}  // namespace microdit::train
