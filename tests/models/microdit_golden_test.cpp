// Numbers that the original's code gave for one net (CPU, fp32): forward, guidance, EDM loss, sampler.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "golden_config.h"
#include "models/denoiser.h"
#include "nn/position.h"
#include "nn/timestep.h"

namespace microdit::models {
namespace {

constexpr double kTolerance = 1e-4;

/// 0.05 cos(0.37 k + numel mod 7), plus 1 for parameters with "norm" in their name.
std::shared_ptr<Denoiser> golden_net() {
  const auto net = make_uninitialized_denoiser(golden_config());
  const torch::NoGradGuard no_grad;
  for (auto& item : net->named_parameters()) {
    const std::int64_t count = item.value().numel();
    torch::Tensor values =
        0.05 * torch::cos(0.37 * torch::arange(count, torch::kDouble) + static_cast<double>(count % 7));
    if (item.key().find("norm") != std::string::npos) values += 1;
    item.value().copy_(values.view(item.value().sizes()));
  }
  return net;
}

torch::Tensor waves(at::IntArrayRef shape, double step, torch::Tensor (*wave)(const torch::Tensor&)) {
  const std::int64_t count = c10::multiply_integers(shape);
  return wave(step * torch::arange(count, torch::kDouble)).view(shape).to(torch::kFloat);
}

struct Golden : testing::Test {
  std::shared_ptr<Denoiser> net = golden_net();
  torch::Tensor x = waves({2, 4, 8, 8}, 0.1, torch::sin);
  torch::Tensor text = waves({2, 7, 24}, 0.05, torch::cos);
  torch::Tensor label = torch::tensor({-0.4F, 0.7F});
  torch::Tensor run() { return net->forward(x, label, {text}).prediction_BCHW.detach(); }
};

double at(const torch::Tensor& t, std::initializer_list<at::indexing::TensorIndex> where) {
  return t.index(where).item<double>();
}

TEST_F(Golden, Size) {
  std::int64_t parameters = 0;
  for (const auto& p : net->parameters()) parameters += p.numel();
  EXPECT_EQ(parameters, 561904);
  EXPECT_EQ(net->parameters().size() + net->buffers().size(), 114U);
}

TEST_F(Golden, Sinusoid) {
  const torch::Tensor s = nn::sinusoid(torch::tensor({0.7F}), 512);
  const std::pair<int, double> expected[] = {{0, .764842},   {1, .780542},   {255, 1.0},
                                             {256, .644218}, {257, .625103}, {511, .000073}};
  for (const auto& [index, value] : expected) EXPECT_NEAR(at(s, {0, index}), value, 1e-6);
}

TEST_F(Golden, PositionEmbedding) {
  const torch::Tensor table = net->named_buffers()["pos_embed"];
  EXPECT_NEAR(table.sum().item<double>(), 525.978444, 1e-3);
  EXPECT_NEAR(at(table, {0, 1, 0}), .841471, 1e-6);
  EXPECT_NEAR(at(table, {0, 1, 1}), .533168, 1e-6);
  EXPECT_NEAR(at(table, {0, 1, 2}), .310984, 1e-6);
  EXPECT_NEAR(at(table, {0, 6, 0}), .909297, 1e-6);
  EXPECT_NEAR(at(table, {0, 6, 16}), -.416147, 1e-6);
  EXPECT_NEAR(at(table, {0, 6, 32}), .841471, 1e-6);
  EXPECT_NEAR(at(table, {0, 6, 48}), .540302, 1e-6);
}

TEST_F(Golden, Forward) {
  const torch::Tensor out = run();
  EXPECT_NEAR(out.sum().item<double>(), -0.163674, kTolerance);
  EXPECT_NEAR(out.abs().sum().item<double>(), 27.063757, kTolerance);
  const double first[] = {.044339, .022963, .059026, .035392},
               last[] = {-.014231, -.055173, -.016565, -.053489};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(at(out, {0, 0, 0, i}), first[i], 1e-5);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(at(out, {1, 3, 7, 4 + i}), last[i], 1e-5);
}

TEST_F(Golden, NullTextAndGuidance) {
  const torch::Tensor null = net->forward(x, label, {torch::zeros_like(text)}).prediction_BCHW.detach();
  const torch::Tensor out = null + 5 * (run() - null);
  EXPECT_NEAR(out.sum().item<double>(), 2.401008, 2 * kTolerance);
  EXPECT_NEAR(out.abs().sum().item<double>(), 25.151788, 2 * kTolerance);
  const double first[] = {.017298, -.023558, .03236, -.007307};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(at(out, {0, 0, 0, i}), first[i], 2e-5);
}

}  // namespace
}  // namespace microdit::models
