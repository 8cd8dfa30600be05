// One flat buffer of weights: the optimizer's kernel is training's.
#include "explain/toy_net.h"

#include <torch/csrc/autograd/grad_mode.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/log.h"
#include "core/seed.h"
#include "diffusion/noise.h"
#include "nn/kernels/adamw.h"
#include "nn/timestep.h"

namespace microdit::explain {
namespace {

constexpr std::int64_t kLabel = 32;    // numbers that a noise label becomes
constexpr std::int64_t kHidden = 128;  // width
constexpr std::int64_t kBatch = 256;
constexpr double kRate = 3e-3;
constexpr double kDropped = 0.15;  // part of the classes that training leaves out

/// Sizes of the layers, input first. `classes`: those of the data and the null, or 0.
std::vector<std::int64_t> layers(std::int64_t classes) {
  return {2 + kLabel + classes, kHidden, kHidden, kHidden, 2};
}

std::int64_t count_weights(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) count += (sizes[i] + 1) * sizes[i + 1];
  return count;
}

/// Normal, of variance 1 / inputs; biases zero, and the last layer, so that the first guess is 0.
torch::Tensor drawn_weights(const std::vector<std::int64_t>& sizes, std::uint64_t seed) {
  torch::Tensor weights = torch::zeros({count_weights(sizes)});
  std::int64_t at = 0;
  for (std::size_t i = 0; i + 2 < sizes.size(); ++i) {
    core::CounterRng rng(seed, core::Purpose::init, i);
    const std::int64_t count = sizes[i] * sizes[i + 1];
    float* const values = weights.data_ptr<float>() + at;
    rng.fill_normal({values, static_cast<std::size_t>(count)});
    for (std::int64_t k = 0; k < count; ++k) values[k] /= std::sqrt(static_cast<float>(sizes[i]));
    at += count + sizes[i + 1];
  }
  return weights;
}

}  // namespace

ToyModel::ToyModel(const ToyOrder& order, const core::StopFlag& stop)
    : objective_(order.objective), classes_(order.data.class_B.defined() ? kArms + 1 : 0) {
  train(order, stop);
}

torch::Tensor ToyModel::forward(const torch::Tensor& weights, const diffusion::DenoiseInput& input) const {
  const std::int64_t rows = input.x_BCHW.size(0);
  std::vector<torch::Tensor> seen = {input.x_BCHW.view({rows, 2}), nn::sinusoid(input.noise_label_B, kLabel)};
  if (classes_ > 0)
    seen.push_back(torch::zeros({rows, classes_}).scatter_(1, input.condition.class_B.unsqueeze(1), 1));
  torch::Tensor x = torch::cat(seen, 1);
  const std::vector<std::int64_t> sizes = layers(classes_);
  std::int64_t at = 0;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const std::int64_t in = sizes[i], out = sizes[i + 1];
    x = torch::addmm(weights.narrow(0, at + in * out, out), x,
                     weights.narrow(0, at, in * out).view({in, out}));
    if (i + 2 < sizes.size()) x = torch::silu(x);
    at += (in + 1) * out;
  }
  return x.view({rows, 2, 1, 1});
}

void ToyModel::train(const ToyOrder& order, const core::StopFlag& stop) {
  weights_ = drawn_weights(layers(classes_), order.seed);
  torch::Tensor weights = weights_.clone().requires_grad_(true);
  torch::Tensor first = torch::zeros_like(weights_), second = torch::zeros_like(weights_);
  const std::int64_t points = order.data.x_B211.size(0);
  const diffusion::DenoiseFn network = [&](const diffusion::DenoiseInput& input) {
    return diffusion::DenoiseOutput{forward(weights, input), {}};
  };
  double sum = 0;
  const std::int64_t counted = std::max<std::int64_t>(1, order.steps / 10);
  for (std::int64_t step = 0; step < order.steps; ++step) {
    if (stop.requested()) throw core::Stopped();
    std::vector<diffusion::NoiseKey> keys;
    for (std::int64_t i = 0; i < kBatch; ++i)
      keys.push_back({.seed = order.seed, .a = static_cast<std::uint64_t>(step * kBatch + i)});
    core::CounterRng rng(order.seed, core::Purpose::order, static_cast<std::uint64_t>(step));
    std::vector<std::int64_t> chosen;
    for (std::int64_t i = 0; i < kBatch; ++i)
      chosen.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(points))));
    const torch::Tensor rows = torch::tensor(chosen, torch::kLong);
    diffusion::Condition condition;
    if (classes_ > 0) {
      std::vector<float> drop(kBatch);
      core::CounterRng(order.seed, core::Purpose::caption_drop, static_cast<std::uint64_t>(step))
          .fill_uniform(drop);
      condition.class_B = torch::where(torch::tensor(drop) < kDropped, null(kBatch).class_B,
                                       order.data.class_B.index_select(0, rows));
    }
    const torch::Tensor loss =
        objective_.loss(network, order.data.x_B211.index_select(0, rows), condition,
                        diffusion::draw_noise(keys, objective_.time_draw(), {2, 1, 1}), 0, 1);
    loss.backward();
    if (step >= order.steps - counted) sum += loss.item<double>();
    const double along = static_cast<double>(step) / static_cast<double>(order.steps);
    nn::adamw_cpu(
        {weights.data_ptr<float>(), weights.mutable_grad().data_ptr<float>(), first.data_ptr<float>(),
         second.data_ptr<float>(), weights_.data_ptr<float>(), weights_.numel()},
        {.lr = kRate * 0.5 * (1 + std::cos(along * std::acos(-1.0))),  // to zero along a cosine
         .step = step + 1,
         .ema_decay = std::min(0.995, static_cast<double>(step + 1) / static_cast<double>(step + 10))});
    weights.mutable_grad().zero_();
    if ((step + 1) % 1000 == 0)
      core::log_info("{}: step {} of {}, loss {:.4f}", order.name, step + 1, order.steps,
                     loss.item<double>());
  }
  final_loss_ = sum / static_cast<double>(counted);
}

diffusion::DenoiseFn ToyModel::denoise_fn() const {
  return [this](const diffusion::DenoiseInput& input) {
    return diffusion::DenoiseOutput{forward(weights_, input), {}};
  };
}

diffusion::Condition ToyModel::null(std::int64_t count) const {
  if (classes_ == 0) return {};
  return {.class_B = torch::full({count}, classes_ - 1, torch::kLong)};
}

}  // namespace microdit::explain
