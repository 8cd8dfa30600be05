// Seconds per codec training step (MSE + 0.5 L1 + 1e-4 KL, AdamW) on random pictures; codec_step_bench.py
// runs it beside diffusers. Arguments: batch pixels threads steps fp32|bf16. Prints one line per step, in
// milliseconds.
#include <ATen/autocast_mode.h>
#include <torch/optim.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "encoders/image_codec.h"

namespace {

torch::Tensor training_loss(microdit::encoders::Autoencoder& net, const torch::Tensor& image,
                            const torch::Tensor& noise) {
  const auto moments = net.encode_moments(image).chunk(2, 1);
  const torch::Tensor log_variance = moments[1].clamp(-30, 20);
  const torch::Tensor variance = log_variance.exp();
  const torch::Tensor difference = net.decode(moments[0] + log_variance.mul(0.5).exp() * noise) - image;
  const torch::Tensor kl = 0.5 * (moments[0].square() + variance - 1 - log_variance).sum({1, 2, 3}).mean();
  return difference.square().mean() + 0.5 * difference.abs().mean() + 1e-4 * kl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s BATCH PIXELS THREADS STEPS fp32|bf16\n", argv[0]);
    return 2;
  }
  const std::int64_t batch = std::atoll(argv[1]), pixels = std::atoll(argv[2]);
  torch::set_num_threads(std::atoi(argv[3]));
  const bool bf16 = std::string_view(argv[5]) == "bf16";
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  torch::manual_seed(1);
  microdit::encoders::AutoencoderConfig config;
  config.norm_num_groups = 8;
  config.mid_block_add_attention = false;
  microdit::encoders::Autoencoder net(config);
  net.initialize(1);
  torch::optim::AdamW optimizer(net.parameters(), torch::optim::AdamWOptions(1e-4));
  const auto image =
      (torch::rand({batch, 3, pixels, pixels}) * 2 - 1).contiguous(torch::MemoryFormat::ChannelsLast);
  const auto noise = torch::randn({batch, 4, pixels / net.downscale(), pixels / net.downscale()});
  for (int step = -3; step < std::atoi(argv[4]); ++step) {  // the first three warm up
    const auto start = std::chrono::steady_clock::now();
    optimizer.zero_grad();
    at::autocast::set_autocast_enabled(at::kCPU, bf16);
    const torch::Tensor loss = training_loss(net, image, noise);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    loss.backward();
    optimizer.step();
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    if (step >= 0) std::printf("%.3f\n", taken.count());
  }
}
