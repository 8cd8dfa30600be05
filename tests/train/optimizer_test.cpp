// The fused optimizer pass and the flat buffers against torch's own AdamW and clipping.
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/optim.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "comm/communicator.h"
#include "nn/kernels/adamw.h"
#include "nn/state_dict.h"
#include "train/sharded_training.h"

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
  ShardedTraining training(*ours, {}, *comm, {.bucket_bytes = 1 << 10, .optimizer = {.with_ema = true}});
  for (int step = 1; step <= 12; ++step) {
    adamw.zero_grad();
    reference->forward(batch(step)).square().mean().mul(50).backward();
    const double norm = torch::nn::utils::clip_grad_norm_(reference->parameters(), 0.5);
    adamw.step();

    training.model.begin_step();
    training.model.begin_microbatch(true);
    ours->forward(batch(step)).square().mean().mul(50).backward();
    const double our_norm = std::sqrt(training.model.finish_step());
    EXPECT_NEAR(our_norm / norm, 1, 1e-5);
    EXPECT_GT(norm, 0.5) << "the clip must act for this test to see it";
    training.optimizer.update({.lr = 3e-2,
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

TEST(FlatLayoutTest, shared_parameters_are_placed_once_and_stay_shared) {
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

  const auto comm = comm::make_local_communicator();
  ShardedTraining training(net, {}, *comm, {});
  EXPECT_EQ(training.layout.num_parameters(), 9 + 3 + 3 + 1);
  ASSERT_EQ(training.layout.placements().size(), 4U);
  // What is written to the buffer is what every name shows; gradients of both uses add up in one place.
  const std::int64_t at = training.layout.placements()[0].offset;
  training.model.master(0).narrow(0, at, 9).fill_(2);
  const auto named = net.named_parameters();
  EXPECT_TRUE(torch::equal(named["first.weight"], torch::full({3, 3}, 2.0F)));
  EXPECT_TRUE(torch::equal(named["second.weight"], named["first.weight"]));
  training.model.begin_step();
  (named["first.weight"].sum() + 3 * named["second.weight"].sum()).backward();
  EXPECT_TRUE(torch::equal(training.model.gradient(0).narrow(0, at, 9), torch::full({9}, 4.0F)));
}

TEST(OptimizerTest, ema_follows_the_weights_and_swaps_in_and_out) {
  auto net = make_net();
  auto comm = comm::make_local_communicator();
  ShardedTraining training(*net, {}, *comm, {.optimizer = {.with_ema = true}});
  const torch::Tensor weight = net->parameters()[0];
  const torch::Tensor start = weight.detach().clone();
  training.model.gradient(0).fill_(1);
  training.optimizer.update({.lr = 0.1, .weight_decay = 0, .step = 1, .ema_decay = 0.75});
  const torch::Tensor moved = weight.detach().clone();
  ASSERT_FALSE(torch::equal(start, moved));
  bool averaged = false;
  training.optimizer.with_average(
      [&] { averaged = torch::allclose(weight, 0.75 * start + 0.25 * moved, 1e-6, 1e-7); });
  EXPECT_TRUE(averaged);
  EXPECT_TRUE(torch::equal(weight, moved));
  EXPECT_THROW(training.optimizer.with_average([] { throw std::runtime_error("paint"); }),
               std::runtime_error);
  EXPECT_TRUE(torch::equal(weight, moved));
}

TEST(OptimizerTest, roles_change_rate_and_decay_of_their_parameters_alone) {
  const auto comm = comm::make_local_communicator();
  const auto updated = [&](const OptimizerState::Options& options) {
    auto net = make_net();
    ShardedTraining training(*net, {}, *comm, {.optimizer = options});
    for (std::size_t i = 0; i < training.layout.buckets().size(); ++i) training.model.gradient(i).fill_(1);
    training.optimizer.update({.lr = 0.1, .weight_decay = 0.5, .step = 1});
    std::vector<torch::Tensor> values;
    for (const torch::Tensor& p : net->parameters()) values.push_back(p.detach().clone());
    return values;
  };
  OptimizerState::Options still;
  still.roles[static_cast<std::size_t>(nn::Role::bias)].lr = 0;
  const auto all = updated({}), but_biases = updated(still), start = make_net()->parameters();
  for (const std::size_t i : {0, 2}) EXPECT_TRUE(torch::equal(all[i], but_biases[i])) << i;
  for (const std::size_t i : {1, 3}) {
    EXPECT_FALSE(torch::equal(all[i], but_biases[i])) << i;
    EXPECT_TRUE(torch::equal(start[i], but_biases[i])) << i;
  }
  OptimizerState::Options no_decay;
  no_decay.roles[static_cast<std::size_t>(nn::Role::matrix)].weight_decay = 0;
  const auto undecayed = updated(no_decay);
  EXPECT_TRUE(torch::allclose(undecayed[0] - all[0], 0.1 * 0.5 * start[0], 1e-4, 1e-6));
  EXPECT_TRUE(torch::equal(undecayed[1], all[1]));
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

TEST(ShardedModelTest, gradients_accumulate_in_place_and_buckets_divide) {
  auto net = make_net();
  const auto before = net->parameters()[0].detach().clone();
  const FlatLayout layout(*net, {}, 3, 64);
  EXPECT_EQ(layout.num_parameters(), 7 * 33 + 33 + 33 * 5 + 5);
  std::int64_t at = 0;
  for (const Bucket& bucket : layout.buckets()) {
    EXPECT_EQ(bucket.offset, at);
    EXPECT_EQ(bucket.count % 48, 0);
    at += bucket.count;
  }
  EXPECT_EQ(at, layout.total());
  EXPECT_GT(layout.buckets().size(), 1U);

  const auto comm = comm::make_local_communicator();
  ShardedTraining training(*net, {}, *comm, {});
  EXPECT_TRUE(torch::equal(before, net->parameters()[0]));
  net->forward(batch(1)).sum().backward();
  const torch::Tensor once = training.model.gradient(0).clone();
  net->forward(batch(1)).sum().backward();
  EXPECT_TRUE(torch::allclose(training.model.gradient(0), 2 * once));
  EXPECT_GT(once.abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace microdit::train
