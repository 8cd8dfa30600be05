// Training steps of the demonstration's net on random latents: forward, backward, clip, AdamW. Prints
// images/s, GFLOP an image and GFLOP/s of the fastest matrix product. Usage: train_step_bench [threads] [steps] [config] [fp32 | bf16], also under mpirun, whose ranks share
// the batch
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "demonstration_model.h"
#include "diffusion/objective.h"
#include "eval/compute.h"
#include "nn/autocast.h"
#include "nn/flop_counter.h"
#include "nn/peak.h"
#include "nn/state_dict.h"
#include "train/sharded_training.h"

namespace {

using namespace microdit;

constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kTextRows = 24;

struct Measured {
  double step_s = 0, gflop_per_image = 0, peak_gflops = 0;
};

Measured measure(int steps, const models::DenoiserConfig& config, bool bf16, comm::Communicator& comm) {
  const auto net = models::make_denoiser(config, 1);
  const std::int64_t rows = kBatch / comm.size();
  train::ShardedTraining training(*net, net->blocks(), comm,
                                  {.model = {.compute = bf16 ? torch::kBFloat16 : torch::kFloat32}});
  net->set_block_runner(training.model.block_runner());
  const diffusion::Objective objective({.sigma_data = 0.5});
  const diffusion::DenoiseFn denoise = [&](const diffusion::DenoiseInput& in) {
    return diffusion::DenoiseOutput{
        net->forward(in.x_BCHW, in.noise_label_B, {in.condition.text_BLD}).prediction_BCHW, {}};
  };
  const torch::Tensor x0 = nn::counter_normal({rows, 4, 8, 8}, 1, 6, 0);
  const torch::Tensor text = nn::counter_normal({rows, kTextRows, 384}, 1, 6, 1);
  const auto loss = [&](std::uint64_t index) {
    const diffusion::NoiseDraw draw{
        nn::counter_normal({rows}, 1, 5, index), nn::counter_normal({rows, 4, 8, 8}, 1, 6, 2, index), {}};
    const nn::Autocast autocast(bf16, torch::kCPU);
    return objective.loss(denoise, x0, {text}, draw, 0, net->patch_size());
  };
  nn::AdamWStep adamw{.lr = 6e-4, .weight_decay = 0.01};
  std::vector<double> seconds;
  constexpr int kWarmUp = 3;
  for (int step = 0; step < steps + kWarmUp; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    training.model.begin_step();
    training.model.begin_microbatch(true);
    loss(static_cast<std::uint64_t>(step)).backward();
    double norm2[] = {training.model.finish_step()};
    comm.all_reduce_sum(norm2);
    const double norm = std::sqrt(norm2[0]);
    adamw.step = step + 1;
    adamw.gradient_scale = std::min(1.0, 1.0 / (norm + 1e-6));
    training.optimizer.update(adamw);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    if (step >= kWarmUp) seconds.push_back(elapsed.count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + steps / 2, seconds.end());
  nn::FlopCounter counter;
  loss(0);
  counter.stop();
  comm.barrier();
  double peak[] = {nn::measure_peak(counter, torch::kCPU, bf16) / 1e9};
  comm.all_reduce_sum(peak);
  return {seconds[static_cast<std::size_t>(steps / 2)], counter.training() / 1e9 / static_cast<double>(rows),
          peak[0]};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 2);
  const int steps = argc > 2 ? std::atoi(argv[2]) : 10;
  const char* config = argc > 3 ? argv[3] : "configs/models/emoji.yaml";
  const bool bf16 = argc > 4 && std::string_view(argv[4]) == "bf16";
  eval::prepare_process(at::get_num_threads(), true);
  const auto comm = comm::make_communicator();
  const Measured found = measure(steps, bench::demonstration_model(config), bf16, *comm);
  if (comm->rank() != 0) return 0;
  fmt::print("{:.2f} {:.4f} {:.1f}\n", static_cast<double>(kBatch) / found.step_s, found.gflop_per_image,
             found.peak_gflops);
}
