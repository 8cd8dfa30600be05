// The EDM objective: time law, loss by its formula, masked averaging, and the numbers near sigma 0.
#include "diffusion/objective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "diffusion/prediction.h"

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
  for (std::int64_t i = 0; i < 3; ++i) {
    const double sigma = batch.sigma[i].item<double>();
    const torch::Tensor x0 =
        objective.denoised(perfect, x_t.to(torch::kDouble), {sigma, {1, sigma}}, {batch.text});
    EXPECT_TRUE(torch::allclose(x0[i].to(torch::kFloat), batch.x0[i], 1e-4, 1e-5));
  }
}

TEST(Objective, RefusesUnknownFamilies) {
  EXPECT_THROW(Objective({.path = "flow"}), core::UserError);
  EXPECT_THROW(Objective({.path = "edn"}), core::UserError);
  EXPECT_THROW(Objective({.prediction = "v"}), core::UserError);
  EXPECT_THROW(Objective({.path = "linear", .prediction = "v", .time_law = "logit_normal"}), core::UserError);
}

/// Everything that is legal: path and prediction.
std::vector<ObjectiveConfig> all_objectives() {
  std::vector<ObjectiveConfig> all;
  for (const Family& family : families())
    for (const std::string& path : family.paths)
      for (const std::string& prediction : family.predictions)
        all.push_back({.path = path, .prediction = prediction, .sigma_data = 0.6});
  return all;
}

torch::Tensor some_times(const std::string& path) {
  if (path == "edm") return torch::tensor({0.05, 0.7, 9.0}, torch::kDouble);
  if (path == "flow") return torch::tensor({0.02, 0.4, 0.97}, torch::kDouble);
  return torch::tensor({3.0, 250.0, 990.0}, torch::kDouble);
}

TEST(Predictions, FourNumbersAreOneEquation) {
  for (const ObjectiveConfig& config : all_objectives()) {
    const Objective objective(config);
    const Levels levels = objective.path().at(some_times(config.path));
    const Prediction f = prediction_at(config.prediction, levels, config.sigma_data);
    // x0 = a (alpha x0 + sigma n) + b (p x0 + q n) for every x0 and n
    const torch::Tensor of_x0 = f.a * levels.alpha_B + f.b * f.p, of_n = f.a * levels.sigma_B + f.b * f.q;
    EXPECT_TRUE(torch::allclose(of_x0, torch::ones_like(of_x0), 0, 1e-12))
        << config.path << config.prediction;
    EXPECT_TRUE(torch::allclose(of_n, torch::zeros_like(of_n), 0, 1e-9)) << config.path << config.prediction;
  }
}

TEST(Objective, APerfectNetworkHasNoLossAndGivesTheData) {
  const Batch batch;
  for (const ObjectiveConfig& config : all_objectives()) {
    const Objective objective(config);
    const torch::Tensor times = some_times(config.path);
    const Levels levels = objective.path().at(times);
    const Prediction f = prediction_at(config.prediction, levels, config.sigma_data);
    const auto wide = [](const torch::Tensor& values) { return values.view({-1, 1, 1, 1}); };
    const torch::Tensor target = wide(f.p) * batch.x0 + wide(f.q) * batch.noise;
    DenoiseInput seen;
    const DenoiseFn perfect = [&](const DenoiseInput& in) {
      seen = in;
      return DenoiseOutput{target.to(torch::kFloat), {}};
    };
    EXPECT_LT(objective.loss_at(perfect, batch.x0, {batch.text}, times, batch.noise, {}, 0, 2).item<double>(),
              1e-7)
        << config.path << config.prediction;
    const torch::Tensor x_t = wide(levels.alpha_B) * batch.x0 + wide(levels.sigma_B) * batch.noise;
    EXPECT_TRUE(torch::allclose(
        seen.x_BCHW, (wide(objective.path().input_scale(levels)) * x_t).to(torch::kFloat), 1e-5, 1e-6));
    const double label = config.path == "edm" ? std::log(0.7) / 4 : config.path == "flow" ? 400 : 250;
    EXPECT_NEAR(seen.noise_label_B[1].item<double>(), label, 1e-4);
    const torch::Tensor x0 =
        objective.denoised(perfect, x_t, objective.path().moment(times[1].item<double>()), {batch.text});
    EXPECT_TRUE(torch::allclose(x0[1], batch.x0[1].to(torch::kDouble), 1e-4, 1e-4))
        << config.path << config.prediction;
  }
}

double loss_of(const Batch& batch, const ObjectiveConfig& config) {
  const torch::Tensor times = some_times(config.path);
  return Objective(config)
      .loss_at(batch.network(), batch.x0, {batch.text}, times, batch.noise, {}, 0, 2)
      .item<double>();
}

TEST(Objective, LossFunctionsAreTorchs) {
  const Batch batch;
  ObjectiveConfig config{.path = "vp_cosine", .prediction = "eps"};
  const auto near = [&](const torch::Tensor& expected) {
    EXPECT_NEAR(loss_of(batch, config) / expected.item<double>(), 1, 1e-5) << config.loss;
  };
  near(at::mse_loss(batch.output, batch.noise));
  config.loss = "l1";
  near(at::l1_loss(batch.output, batch.noise));
  config.loss = "smooth_l1";
  config.loss_delta = 0.5;
  near(at::smooth_l1_loss(batch.output, batch.noise, at::Reduction::Mean, 0.5));
  config.loss = "huber";
  near(at::huber_loss(batch.output, batch.noise, at::Reduction::Mean, 0.5));
}

TEST(Objective, WeightsCountTheErrorOfX0) {
  const Batch batch;
  for (const char* prediction : {"eps", "v", "x0"}) {
    for (const char* weight : {"min_snr", "edm"}) {
      ObjectiveConfig config{
          .path = "scaled_linear", .prediction = prediction, .weight = weight, .snr_gamma = 2};
      const Objective objective(config);
      const Levels levels = objective.path().at(some_times(config.path));
      const Prediction f = prediction_at(prediction, levels, 0.9);
      const torch::Tensor snr = (levels.alpha_B / levels.sigma_B).square();
      const torch::Tensor of_x0 =
          std::string(weight) == "edm" ? snr + 1 / 0.81 : snr.clamp_max(2);  // 1/sigma^2 + 1/data^2
      const auto wide = [](const torch::Tensor& values) { return values.view({-1, 1, 1, 1}); };
      const torch::Tensor x_t = wide(levels.alpha_B) * batch.x0 + wide(levels.sigma_B) * batch.noise;
      const torch::Tensor estimate = wide(f.a) * x_t + wide(f.b) * batch.output;
      const double expected = (wide(of_x0) * (estimate - batch.x0).square()).mean().item<double>();
      EXPECT_NEAR(loss_of(batch, config) / expected, 1, 1e-4) << prediction << weight;
    }
  }
  EXPECT_NEAR(loss_of(batch, {.weight = "edm"}), loss_of(batch, {}), 1e-12)
      << "edm's own weight is 1 on what it predicts";
}

TEST(Objective, EdmsWeightIsFiniteAtBothEnds) {
  const Batch batch;
  const auto at_ends = [&](const ObjectiveConfig& config, double last) {
    const torch::Tensor times = torch::tensor({0.0, 0.5 * last, last}, torch::kDouble);
    return Objective(config)
        .loss_at(batch.network(), batch.x0, {batch.text}, times, batch.noise, {}, 0, 2)
        .item<double>();
  };
  for (const char* prediction : {"eps", "v"})
    EXPECT_TRUE(std::isfinite(at_ends(
        {.path = "vp_cosine", .prediction = prediction, .time_law = "uniform", .weight = "edm"}, 1000)))
        << prediction;
  // sigma^2 / data^2 + alpha^2, at t = 0, 1/2, 1: 1, 1 / 4 + 1 / 4 / 0.81, 1 / 0.81
  const torch::Tensor each =
      (batch.output - (batch.noise - batch.x0)).square().mean({1, 2, 3}).to(torch::kDouble);
  const torch::Tensor weights = torch::tensor({1.0, 0.25 + 0.25 / 0.81, 1 / 0.81}, torch::kDouble);
  EXPECT_NEAR(at_ends({.path = "flow", .prediction = "velocity", .weight = "edm"}, 1) /
                  (each * weights).mean().item<double>(),
              1, 1e-5);
}

TEST(Objective, TimeLaws) {
  const torch::Tensor u = torch::tensor({0.0, 0.25, 0.9995}, torch::kDouble),
                      z = torch::tensor({-1.0, 0.0, 2.0}, torch::kDouble);
  const auto times = [](const ObjectiveConfig& config, const torch::Tensor& draw, std::int64_t side = 8) {
    const Objective objective(config);
    EXPECT_EQ(objective.time_draw() == TimeDraw::normal, config.time_law == "logit_normal");
    return objective.times(draw, side);
  };
  const auto equal = [](const torch::Tensor& ours, const std::vector<double>& expected) {
    EXPECT_TRUE(torch::allclose(ours, torch::tensor(expected, torch::kDouble), 1e-12, 1e-12)) << ours;
  };
  equal(times({.path = "vp_cosine", .prediction = "v"}, u), {0, 250, 1000});  // 0 ... T, as nano-diffusion
  equal(times({.path = "vp_cosine", .prediction = "v", .time_law = "uniform"}, u), {0, 250, 999.5});
  equal(times({.path = "linear", .prediction = "v"}, u), {0, 250, 999});
  equal(times({.path = "flow", .prediction = "velocity"}, u), {0, 0.25, 0.9995});
  equal(times({.path = "flow", .prediction = "velocity", .time_law = "uniform_discrete"}, u),
        {0.001, 0.251, 1});
  const ObjectiveConfig logit{.path = "flow",
                              .prediction = "velocity",
                              .time_law = "logit_normal",
                              .logit_mean = 0.5,
                              .logit_std = 2};
  equal(times(logit, z), {1 / (1 + std::exp(1.5)), 1 / (1 + std::exp(-0.5)), 1 / (1 + std::exp(-4.5))});
  equal(times({.path = "flow", .prediction = "velocity", .shift = 3}, u),
        {0, 0.5, 3 * 0.9995 / (1 + 2 * 0.9995)});
  const ObjectiveConfig by_side{.path = "flow", .prediction = "velocity", .shift = 1.5, .shift_side = 32};
  equal(times(by_side, u, 64), {0, 0.5, 3 * 0.9995 / (1 + 2 * 0.9995)});
}

}  // namespace
}  // namespace microdit::diffusion
