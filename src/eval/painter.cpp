// Sampling with a denoiser and its encoders.
#include "eval/painter.h"

#include <torch/utils.h>
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::eval {
namespace {

void check_identity(const core::Json& wanted, const core::Json& found, const std::string& what) {
  if (wanted.at("sha256") == found.at("sha256")) return;
  core::user_error(
      "{} {}: its weights have SHA-256 {}, the run was trained with {}; restore them or point the facts "
      "to the right folder",
      what, found.at("folder").get<std::string>(), found.at("sha256").get<std::string>(),
      wanted.at("sha256").get<std::string>());
}

torch::Tensor start_noise(const std::vector<std::uint64_t>& seeds, std::int64_t channels, std::int64_t size) {
  torch::Tensor noise = torch::empty({static_cast<std::int64_t>(seeds.size()), channels, size, size});
  const std::int64_t count = channels * size * size;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    core::CounterRng rng(seeds[i], core::Purpose::sampler);
    rng.fill_normal(
        {noise.data_ptr<float>() + static_cast<std::int64_t>(i) * count, static_cast<std::size_t>(count)});
  }
  return noise;
}

/// Fresh churn noise per picture: keyed by its seed and the step, so a picture does not depend on its batch.
torch::Tensor churn_noise(const std::vector<std::uint64_t>& seeds, std::int64_t step, std::int64_t channels,
                          std::int64_t size) {
  torch::Tensor noise = torch::empty({static_cast<std::int64_t>(seeds.size()), channels, size, size});
  const std::int64_t count = channels * size * size;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    core::CounterRng rng(seeds[i], core::Purpose::churn, static_cast<std::uint64_t>(step));
    rng.fill_normal(
        {noise.data_ptr<float>() + static_cast<std::int64_t>(i) * count, static_cast<std::size_t>(count)});
  }
  return noise;
}

}  // namespace

diffusion::DenoiseFn denoise_fn(models::Denoiser& model) {
  return [&model](const diffusion::DenoiseInput& input) {
    std::optional<models::Mask> mask;
    if (input.mask_ratio > 0) mask = models::Mask{input.mask_ratio, input.mask_noise_BT};
    const models::Prediction out = model.forward(input.x_BCHW, input.noise_label_B, {input.text_BLD}, mask);
    return diffusion::DenoiseOutput{out.prediction_BCHW, out.kept_BT};
  };
}

Painter::Painter(const core::Json& facts, torch::Device device)
    : device_(device),
      channels_(facts.at("channels").get<std::int64_t>()),
      latent_size_(facts.at("latent_size").get<std::int64_t>()),
      text_length_(facts.at("text_length").get<std::int64_t>()),
      codec_(encoders::load_image_codec(facts.at("codec").at("folder").get<std::string>())),
      text_encoder_(encoders::load_text_encoder(facts.at("text_encoder").at("folder").get<std::string>())) {
  check_identity(facts.at("codec"), codec_->describe(), "codec");
  check_identity(facts.at("text_encoder"), text_encoder_->describe(), "text encoder");
  codec_->to(device);
  text_encoder_->to(device);
}

torch::Tensor Painter::encode(const std::vector<std::string>& prompts) const {
  // Through fp16, as the training rows were stored.
  return text_encoder_->encode(prompts, text_length_)
      .states_BLD.to(torch::kFloat16)
      .to(torch::kFloat32)
      .to(device_);
}

torch::Tensor Painter::latents(models::Denoiser& model, const diffusion::Objective& objective,
                               const std::vector<std::string>& prompts,
                               const std::vector<std::uint64_t>& seeds,
                               const diffusion::SamplerConfig& sampler, std::int64_t batch) const {
  core::check(prompts.size() == seeds.size(), "{} prompts, {} seeds", prompts.size(), seeds.size());
  torch::NoGradGuard no_grad;
  const auto fn = diffusion::guided(denoise_fn(model), sampler.guidance);
  std::vector<torch::Tensor> pieces;
  const auto total = static_cast<std::int64_t>(prompts.size());
  for (std::int64_t first = 0; first < total; first += batch) {
    const std::int64_t last = std::min(total, first + batch);
    const std::vector<std::string> some_prompts(prompts.begin() + first, prompts.begin() + last);
    const std::vector<std::uint64_t> some_seeds(seeds.begin() + first, seeds.begin() + last);
    const auto churn = [&](std::int64_t step) {
      return churn_noise(some_seeds, step, channels_, latent_size_).to(device_);
    };
    const torch::Tensor unit = start_noise(some_seeds, channels_, latent_size_).to(device_);
    pieces.push_back(diffusion::sample(objective, fn, unit, encode(some_prompts), sampler, churn));
  }
  return torch::cat(pieces);
}

std::vector<image::Image> Painter::decode(const torch::Tensor& latents) const {
  torch::NoGradGuard no_grad;
  std::vector<image::Image> pictures;
  constexpr std::int64_t kBatch = 16;
  for (std::int64_t first = 0; first < latents.size(0); first += kBatch) {
    const auto some = latents.narrow(0, first, std::min(kBatch, latents.size(0) - first));
    for (image::Image& picture : to_images(codec_->decode(some))) pictures.push_back(std::move(picture));
  }
  return pictures;
}

std::vector<image::Image> to_images(const torch::Tensor& pixels_BHW3) {
  const torch::Tensor pixels = pixels_BHW3.to(torch::kCPU).contiguous();
  std::vector<image::Image> pictures;
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    image::Image picture(pixels.size(1), pixels.size(2));
    std::memcpy(picture.pixels.data(), pixels[i].data_ptr<std::uint8_t>(), picture.pixels.size());
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace microdit::eval
