// Forward, EDM loss and every gradient of odd nets against what the original gave (scripts/make_goldens.py).
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "models/denoiser.h"
#include "nn/state_dict.h"

namespace microdit::models {
namespace {

constexpr double kBar = 2e-5;
constexpr double kSigmaData = 0.6;

struct ModelFile {
  DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

torch::Tensor flat_index(std::int64_t count) {
  return torch::arange(count, torch::kDouble);
}

torch::Tensor wave(at::IntArrayRef shape, double step, double phase) {
  return torch::sin(step * flat_index(c10::multiply_integers(shape)) + phase).view(shape);
}

torch::Tensor filled(const std::string& name, const torch::Tensor& tensor) {
  const torch::Tensor k = flat_index(tensor.numel());
  int letters = 0;
  for (const char c : name) letters += static_cast<unsigned char>(c);
  const torch::Tensor values = torch::cos(0.37 * k + 0.0137 * k * k + letters % 97).view(tensor.sizes());
  if (tensor.dim() == 1 && !name.ends_with("bias")) return 1 + 0.2 * values;
  return values * (tensor.dim() == 1 ? 0.2 : std::sqrt(2.0 / static_cast<double>(tensor.size(-1))));
}

torch::Tensor digest(const torch::Tensor& gradient) {
  const torch::Tensor g = gradient.to(torch::kDouble).flatten(), k = flat_index(g.numel());
  const torch::Tensor first = torch::cos(0.61 * k + 0.0031 * k * k),
                      second = torch::sin(0.43 * k + 0.0071 * k * k);
  return torch::stack({g.norm(), g.dot(first / first.norm()), g.dot(second / second.norm())});
}

/// EDM's loss as the paper has it, weight and all.
torch::Tensor edm_loss(const Prediction& out, const torch::Tensor& x0, const torch::Tensor& x_t,
                       const torch::Tensor& sigma, std::int64_t patch_size) {
  const torch::Tensor s2 = sigma.square();
  const double d2 = kSigmaData * kSigmaData;
  const torch::Tensor denoised =
      d2 / (s2 + d2) * x_t + sigma * kSigmaData / (s2 + d2).sqrt() * out.prediction_BCHW;
  const torch::Tensor error = (s2 + d2) / (sigma * kSigmaData).square() * (denoised - x0).square();
  if (!out.kept_BT.defined()) return error.mean();
  const torch::Tensor patches = at::avg_pool2d(error.mean(1, true), patch_size).flatten(1);
  return ((patches * out.kept_BT).sum(1) / out.kept_BT.sum(1)).mean();
}

double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).to(torch::kDouble).norm() / b.to(torch::kDouble).norm()).item<double>();
}

class Parity : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { at::set_num_threads(1); }  // small products: a second thread only waits
  void compare(const std::string& tag, double ratio) {
    const std::string stem = std::string(MICRODIT_SOURCE_DIR "/tests/parity/goldens/") + GetParam();
    const DenoiserConfig config = core::load<ModelFile>(stem + ".yaml").model;
    const nn::StateDict golden = nn::load_tensors(stem + ".safetensors");
    const auto net = make_uninitialized_denoiser(config);
    {
      const torch::NoGradGuard no_grad;
      for (auto& item : net->named_parameters()) item.value().copy_(filled(item.key(), item.value()));
      net->named_buffers()["mask_token"].copy_(filled("mask_token", net->named_buffers()["mask_token"]));
    }
    const std::int64_t side = config.input_size,
                       patches = side / config.patch_size * (side / config.patch_size);
    const std::vector<std::int64_t> shape = {2, config.in_channels, side, side};
    const torch::Tensor x0 = wave(shape, 0.1, 0).to(torch::kFloat),
                        noise = (1.4 * wave(shape, 1.3, 0.5)).to(torch::kFloat);
    const torch::Tensor text = wave({2, 5, config.caption_channels}, 0.7, 0.2).to(torch::kFloat);
    const torch::Tensor mask_noise = (0.5 + 0.5 * wave({2, patches}, 2.1, 0.3)).to(torch::kFloat);
    const torch::Tensor sigma_B = torch::tensor({0.3F, 2.0F}), sigma = sigma_B.view({-1, 1, 1, 1});
    const std::optional<Mask> mask = ratio > 0 ? std::optional(Mask{ratio, mask_noise}) : std::nullopt;

    const torch::Tensor sample = net->forward(x0, sigma_B.log() / 4, {text}, mask).prediction_BCHW.detach();
    EXPECT_LT(relative(sample, golden.at(tag + ".sample")), kBar);

    const torch::Tensor x_t = x0 + noise * sigma;
    const torch::Tensor scaled = x_t / (sigma.square() + kSigmaData * kSigmaData).sqrt();
    const torch::Tensor loss =
        edm_loss(net->forward(scaled, sigma_B.log() / 4, {text}, mask), x0, x_t, sigma, config.patch_size);
    EXPECT_LT(relative(loss.detach(), golden.at(tag + ".loss")), kBar);
    loss.backward();
    std::size_t compared = 0;
    for (const auto& item : net->named_parameters()) {
      const torch::Tensor expected = golden.at(tag + ".digest." + item.key()),
                          ours = digest(item.value().grad());
      const double norm = expected[0].item<double>();
      EXPECT_LE((ours - expected).abs().max().item<double>(), kBar * norm) << tag << " " << item.key();
      ++compared;
    }
    EXPECT_EQ(2 * (compared + 2), golden.size());
  }
};

TEST_P(Parity, Unmasked) {
  compare("full", 0);
}
TEST_P(Parity, Masked) {
  compare("masked", 0.75);
}

INSTANTIATE_TEST_SUITE_P(Nets, Parity,
                         testing::Values("same_width", "every_block_experts", "channels_16_interpolated",
                                         "thin_and_sparse"),
                         [](const auto& net) { return std::string(net.param); });

}  // namespace
}  // namespace microdit::models
