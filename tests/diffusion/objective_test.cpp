// The EDM objective: time law, loss by its formula, masked averaging, and the numbers near sigma 0.
#include "diffusion/objective.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace microdit::diffusion {
namespace {

torch::Tensor waves(at::IntArrayRef shape, double phase) {
  return torch::sin(torch::arange(c10::multiply_integers(shape), torch::kDouble) * 0.83 + phase)
      .view(shape)
      .to(torch::kFloat);
}

struct Batch {
  torch::Tensor x0 = waves({3, 4, 8, 8}, 1), text = waves({3, 2, 5}, 2), noise = waves({3, 4, 8, 8}, 3);
  torch::Tensor sigma = torch::tensor({0.05F, 0.7F, 9.0F});
  torch::Tensor output = waves({3, 4, 8, 8}, 4);
  torch::Tensor kept = (waves({3, 16}, 5) > 0).to(torch::kFloat);
  mutable DenoiseInput seen{};

  DenoiseFn network() const {
    return [this](const DenoiseInput& in) {
      seen = in;
      return DenoiseOutput{output, in.mask_ratio > 0 ? kept : torch::Tensor()};
    };
  }
  /// Squared error (F - F*)^2 in double.
  torch::Tensor exact_error(double sigma_data) const {
    const torch::Tensor s = sigma.to(torch::kDouble).view({-1, 1, 1, 1}),
                        d2 = torch::full({1}, sigma_data * sigma_data, torch::kDouble);
    const torch::Tensor x_t = x0.to(torch::kDouble) + s * noise.to(torch::kDouble), total2 = s.square() + d2;
    const torch::Tensor target = (x0 - d2 / total2 * x_t) * total2.sqrt() / (s * sigma_data);
    return (output.to(torch::kDouble) - target).square();
  }
};

TEST(Objective, LossIsTheMeanSquaredErrorOfTheNetwork) {
  const Batch batch;
  const Objective objective({.sigma_data = 0.6});
  const double loss =
      objective.loss_at(batch.network(), batch.x0, {batch.text}, batch.sigma, batch.noise, {}, 0, 2)
          .item<double>();
  EXPECT_NEAR(loss / batch.exact_error(0.6).mean().item<double>(), 1, 1e-6);
}

TEST(Objective, NetworkSeesScaledInputAndNoiseLabel) {
  const Batch batch;
  Objective({.sigma_data = 0.6})
      .loss_at(batch.network(), batch.x0, {batch.text}, batch.sigma, batch.noise, {}, 0, 2);
  EXPECT_TRUE(torch::allclose(batch.seen.noise_label_B, batch.sigma.log() / 4));
  const torch::Tensor s = batch.sigma.view({-1, 1, 1, 1});
  EXPECT_TRUE(torch::allclose(batch.seen.x_BCHW, (batch.x0 + s * batch.noise) / (s.square() + 0.36).sqrt(),
                              1e-5, 1e-6));
}

TEST(Objective, MaskedLossAveragesKeptPatchesPerSample) {
  const Batch batch;
  const torch::Tensor mask_noise = waves({3, 16}, 6);
  const double loss =
      Objective({})
          .loss_at(batch.network(), batch.x0, {batch.text}, batch.sigma, batch.noise, mask_noise, 0.5, 2)
          .item<double>();
  const torch::Tensor patches =
      batch.exact_error(0.9).mean(1).unfold(1, 2, 2).unfold(2, 2, 2).mean({3, 4}).flatten(1);
  const torch::Tensor kept = batch.kept.to(torch::kDouble);
  const torch::Tensor per_sample = (patches * kept).sum(1) / kept.sum(1);
  EXPECT_NEAR(loss / per_sample.mean().item<double>(), 1, 1e-6);
  EXPECT_EQ(batch.seen.mask_ratio, 0.5);
  EXPECT_TRUE(torch::equal(batch.seen.mask_noise_BT, mask_noise));
}

TEST(Objective, TimeLawIsLogNormal) {
  const Batch batch;
  const NoiseDraw draw{torch::tensor({-1.0F, 0.0F, 2.0F}), batch.noise, {}};
  Objective({.p_mean = 0.3, .p_std = 0.5}).loss(batch.network(), batch.x0, {batch.text}, draw, 0, 2);
  EXPECT_TRUE(torch::allclose(batch.seen.noise_label_B, torch::tensor({-0.2F, 0.3F, 1.3F}) / 4, 1e-5, 1e-6));
}

TEST(Objective, StaysAccurateAtSmallSigma) {
  Batch batch;
  batch.sigma = torch::full({3}, 0.002F);
  const double loss =
      Objective({})
          .loss_at(batch.network(), batch.x0, {batch.text}, batch.sigma, batch.noise, {}, 0, 2)
          .item<double>();
  EXPECT_NEAR(loss / batch.exact_error(0.9).mean().item<double>(), 1, 2e-5);
}

TEST(Objective, DenoisedUndoesTheNoiseForAPerfectNetwork) {
  const Batch batch;
  const Objective objective({});
  const torch::Tensor s = batch.sigma.view({-1, 1, 1, 1}), x_t = batch.x0 + s * batch.noise,
                      total2 = s.square() + 0.81;
  const torch::Tensor target = (batch.x0 - 0.81 / total2 * x_t) * total2.sqrt() / (0.9 * s);
  const DenoiseFn perfect = [&](const DenoiseInput&) { return DenoiseOutput{target, {}}; };
  EXPECT_TRUE(
      torch::allclose(objective.denoised(perfect, x_t, batch.sigma, {batch.text}), batch.x0, 1e-4, 1e-5));
}

TEST(Objective, RefusesUnknownFamilies) {
  EXPECT_THROW(Objective({.path = "flow"}), core::UserError);
}

}  // namespace
}  // namespace microdit::diffusion
