// Training steps of the demonstration's net on random latents: forward, backward, clip, AdamW. Prints
// images/s. Usage: train_step_bench [threads] [steps] [config]
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "demonstration_model.h"
#include "diffusion/objective.h"
#include "nn/state_dict.h"
#include "train/sharding.h"

namespace {

using namespace microdit;

constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kTextRows = 24;

double median_step_s(int steps, const models::DenoiserConfig& config) {
  const auto net = models::make_denoiser(config, 1);
  const auto comm = comm::make_local_communicator();
  train::FlatParameters flat(*net, comm->size(), std::int64_t{64} << 20, torch::kCPU);
  train::ShardedOptimizer optimizer(flat, *comm, {.shard_state = false});
  const diffusion::Objective objective({.sigma_data = 0.5});
  const diffusion::DenoiseFn denoise = [&](const diffusion::DenoiseInput& in) {
    return diffusion::DenoiseOutput{
        net->forward(in.x_BCHW, in.noise_label_B, {in.condition.text_BLD}).prediction_BCHW, {}};
  };
  const torch::Tensor x0 = nn::counter_normal({kBatch, 4, 8, 8}, 1, 6, 0);
  const torch::Tensor text = nn::counter_normal({kBatch, kTextRows, 384}, 1, 6, 1);
  nn::AdamWStep adamw{.lr = 6e-4, .weight_decay = 0.01};
  std::vector<double> seconds;
  constexpr int kWarmUp = 3;
  for (int step = 0; step < steps + kWarmUp; ++step) {
    const auto index = static_cast<std::uint64_t>(step);
    const diffusion::NoiseDraw draw{
        nn::counter_normal({kBatch}, 1, 5, index), nn::counter_normal({kBatch, 4, 8, 8}, 1, 6, 2, index), {}};
    const auto begin = std::chrono::steady_clock::now();
    flat.zero_gradients();
    objective.loss(denoise, x0, {text}, draw, 0, net->patch_size()).backward();
    const double norm = std::sqrt(optimizer.reduce_gradients());
    adamw.step = step + 1;
    adamw.gradient_scale = std::min(1.0, 1.0 / (norm + 1e-6));
    optimizer.update(adamw);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    if (step >= kWarmUp) seconds.push_back(elapsed.count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + steps / 2, seconds.end());
  return seconds[static_cast<std::size_t>(steps / 2)];
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 2);
  const int steps = argc > 2 ? std::atoi(argv[2]) : 10;
  const char* config = argc > 3 ? argv[3] : "configs/models/emoji.yaml";
  fmt::print("{:.2f}\n",
             static_cast<double>(kBatch) / median_step_s(steps, bench::demonstration_model(config)));
}
