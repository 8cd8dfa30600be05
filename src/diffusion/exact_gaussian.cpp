// The exact network, and samples of it.
#include "diffusion/exact_gaussian.h"

#include <torch/utils.h>

#include "core/seed.h"
#include "diffusion/prediction.h"
#include "diffusion/sampler.h"

namespace microdit::diffusion {

DenoiseFn exact_network(const Objective& objective, Gaussian data) {
  return [&objective, data](const DenoiseInput& in) {
    const ObjectiveConfig& c = objective.config();
    torch::Tensor time = in.noise_label_B.to(torch::kDouble);
    if (c.path == "edm") time = (4 * time).exp();
    if (c.path == "flow") time = time / static_cast<double>(c.num_timesteps);
    const Levels levels = objective.path().at(time);
    const Prediction f = prediction_at(c.prediction, levels, c.sigma_data);
    const auto wide = [](const torch::Tensor& values) { return values.view({-1, 1, 1, 1}); };
    const torch::Tensor x = in.x_BCHW.to(torch::kDouble) / wide(objective.path().input_scale(levels));
    const torch::Tensor a = wide(levels.alpha_B), s = wide(levels.sigma_B);
    const double variance = data.std * data.std;
    const torch::Tensor x0 =
        data.mean + a * variance * (x - a * data.mean) / (a.square() * variance + s.square());
    const torch::Tensor n = torch::where(s > 0, (x - a * x0) / s, 0);
    // p x0 + q n is linear, so the mean of the target is that of the means.
    return DenoiseOutput{(wide(f.p) * x0 + wide(f.q) * n).to(torch::kFloat), {}};
  };
}

Gaussian sampled_gaussian(const Objective& objective, const SamplerConfig& config, Gaussian data) {
  const auto normals = [](std::int64_t stream) {
    torch::Tensor t = torch::empty({16, 4, 8, 8});
    core::CounterRng(11, core::Purpose::sampler, static_cast<std::uint64_t>(stream))
        .fill_normal({t.mutable_data_ptr<float>(), static_cast<std::size_t>(t.numel())});
    return t;
  };
  const torch::Tensor out =
      sample(objective, exact_network(objective, data), config,
             {.unit_BCHW = normals(0), .step_noise = [&](std::int64_t step) { return normals(1 + step); }});
  return {out.mean().item<double>(), out.std().item<double>()};
}

}  // namespace microdit::diffusion
