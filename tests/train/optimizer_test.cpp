// The fused optimizer pass and the flat buffers against torch's own AdamW and clipping.
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/optim.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "comm/communicator.h"
#include "nn/kernels/adamw.h"
#include "nn/state_dict.h"
#include "train/flat_parameters.h"
#include "train/sharding.h"

namespace microdit::train {
namespace {

torch::nn::Sequential make_net() {
  torch::manual_seed(3);
  return torch::nn::Sequential(torch::nn::Linear(7, 33), torch::nn::GELU(), torch::nn::Linear(33, 5));
}

torch::Tensor batch(int step) {
  return torch::sin(torch::arange(11 * 7, torch::kFloat32).view({11, 7}) * (0.1 + step));
}

TEST(OptimizerTest, equals_torch_adamw_with_clipping) {
  auto reference = make_net();
  auto ours = make_net();
  torch::optim::AdamW adamw(reference->parameters(),
                            torch::optim::AdamWOptions(3e-2).betas({0.9, 0.99}).eps(1e-8).weight_decay(0.1));
  auto comm = comm::make_local_communicator();
  FlatParameters flat(*ours, 1, 1 << 10, torch::kCPU);
  ShardedOptimizer optimizer(flat, *comm, {.with_ema = true});
  for (int step = 1; step <= 12; ++step) {
    adamw.zero_grad();
    reference->forward(batch(step)).square().mean().mul(50).backward();
    const double norm = torch::nn::utils::clip_grad_norm_(reference->parameters(), 0.5);
    adamw.step();

    flat.zero_gradients();
    ours->forward(batch(step)).square().mean().mul(50).backward();
    const double our_norm = std::sqrt(optimizer.reduce_gradients());
    EXPECT_NEAR(our_norm / norm, 1, 1e-5);
    EXPECT_GT(norm, 0.5) << "the clip must act for this test to see it";
    optimizer.update({.lr = 3e-2,
                      .beta1 = 0.9,
                      .beta2 = 0.99,
                      .eps = 1e-8,
                      .weight_decay = 0.1,
                      .step = step,
                      .gradient_scale = std::min(1.0, 0.5 / (our_norm + 1e-6)),
                      .ema_decay = 0.5});
  }
  for (std::size_t i = 0; i < reference->parameters().size(); ++i) {
    EXPECT_TRUE(torch::allclose(reference->parameters()[i], ours->parameters()[i], 1e-5, 1e-6)) << i;
  }
}

TEST(FlatParametersTest, shared_parameters_are_placed_once_and_stay_shared) {
  struct Twice : torch::nn::Module {
    torch::nn::Linear one{3, 3};
    Twice() {
      register_module("first", one);
      register_module("second", one);
      register_module("own", torch::nn::Linear(3, 1));
    }
  } net;
  ASSERT_EQ(net.named_parameters().size(), 6U) << "torch lists a shared parameter under each name";
  const auto distinct = nn::distinct_parameters(net);
  ASSERT_EQ(distinct.size(), 4U);
  EXPECT_EQ(distinct[0].name, "first.weight");
  EXPECT_EQ(distinct[0].aliases, std::vector<std::string>{"second.weight"});
  EXPECT_TRUE(distinct[2].aliases.empty());

  FlatParameters flat(net, 1, 1 << 10, torch::kCPU);
  EXPECT_EQ(flat.num_parameters(), 9 + 3 + 3 + 1);
  ASSERT_EQ(flat.placements().size(), 4U);
  // What is written to the buffer is what every name shows; gradients of both uses add up in one place.
  flat.weights().narrow(0, flat.placements()[0].offset, 9).fill_(2);
  const auto named = net.named_parameters();
  EXPECT_TRUE(torch::equal(named["first.weight"], torch::full({3, 3}, 2.0F)));
  EXPECT_TRUE(torch::equal(named["second.weight"], named["first.weight"]));
  flat.zero_gradients();
  (named["first.weight"].sum() + 3 * named["second.weight"].sum()).backward();
  EXPECT_TRUE(
      torch::equal(flat.gradients().narrow(0, flat.placements()[0].offset, 9), torch::full({9}, 4.0F)));
}

TEST(OptimizerTest, ema_follows_the_weights_and_swaps_in_and_out) {
  auto net = make_net();
  auto comm = comm::make_local_communicator();
  FlatParameters flat(*net, 1, 1 << 20, torch::kCPU);
  ShardedOptimizer optimizer(flat, *comm, {.with_ema = true});
  const torch::Tensor start = flat.weights().clone();
  flat.gradients().fill_(1);
  optimizer.update({.lr = 0.1, .weight_decay = 0, .step = 1, .ema_decay = 0.75});
  const torch::Tensor moved = flat.weights().clone();
  ASSERT_FALSE(torch::equal(start, moved));
  bool averaged = false;
  optimizer.with_average(
      [&] { averaged = torch::allclose(flat.weights(), 0.75 * start + 0.25 * moved, 1e-6, 1e-7); });
  EXPECT_TRUE(averaged);
  EXPECT_TRUE(torch::equal(flat.weights(), moved));
  EXPECT_THROW(optimizer.with_average([] { throw std::runtime_error("paint"); }), std::runtime_error);
  EXPECT_TRUE(torch::equal(flat.weights(), moved));
}

TEST(OptimizerTest, bits_do_not_depend_on_where_the_buffer_is_cut) {
  const std::int64_t n = 100'003;
  const auto make = [&] {
    torch::manual_seed(1);
    return std::vector<torch::Tensor>{torch::randn(n), torch::randn(n), torch::randn(n), torch::rand(n),
                                      torch::randn(n)};
  };
  auto whole = make();
  auto pieces = make();
  const nn::AdamWStep step{
      .lr = 1e-3, .weight_decay = 0.1, .step = 5, .gradient_scale = 0.3, .ema_decay = 0.9};
  const auto run = [&](std::vector<torch::Tensor>& t, std::int64_t from, std::int64_t count) {
    nn::adamw_cpu(
        {t[0].data_ptr<float>() + from, t[1].data_ptr<float>() + from, t[2].data_ptr<float>() + from,
         t[3].data_ptr<float>() + from, t[4].data_ptr<float>() + from, count},
        step);
  };
  run(whole, 0, n);
  for (std::int64_t at = 0; at < n; at += 777) run(pieces, at, std::min<std::int64_t>(777, n - at));
  for (const int i : {0, 2, 3, 4}) EXPECT_TRUE(torch::equal(whole[i], pieces[i])) << i;
  EXPECT_FALSE(torch::equal(whole[0], make()[0])) << "the pass must change something";
}

TEST(FlatParametersTest, gradients_accumulate_in_place_and_buckets_divide) {
  auto net = make_net();
  const auto before = net->parameters()[0].clone();
  FlatParameters flat(*net, 3, 64, torch::kCPU);
  EXPECT_TRUE(torch::equal(before, net->parameters()[0]));
  EXPECT_EQ(flat.num_parameters(), 7 * 33 + 33 + 33 * 5 + 5);
  std::int64_t at = 0;
  for (const Bucket& bucket : flat.buckets()) {
    EXPECT_EQ(bucket.offset, at);
    EXPECT_EQ(bucket.count % 48, 0);
    at += bucket.count;
  }
  EXPECT_EQ(at, flat.total());
  net->forward(batch(1)).sum().backward();
  const torch::Tensor once = flat.gradients().clone();
  net->forward(batch(1)).sum().backward();
  EXPECT_TRUE(torch::allclose(flat.gradients(), 2 * once));
  EXPECT_GT(once.abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace microdit::train
