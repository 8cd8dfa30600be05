// Prompts -> pictures with a given denoiser: text encoder, sampler and codec as a run's facts name them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "diffusion/sampler.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "image/image.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// A denoiser as diffusion sees it; `model` must outlive the callable.
diffusion::DenoiseFn denoise_fn(models::Denoiser& model);

class Painter {
 public:
  /// `facts`: a run's facts.json (codec and text_encoder with folder and sha256, channels, latent_size,
  /// text_length). UserError when a folder is missing or its weights are not those of the facts.
  Painter(const core::Json& facts, torch::Device device);

  /// Text rows [n, L, D] fp32 on the device.
  torch::Tensor encode(const std::vector<std::string>& prompts) const;
  /// Scaled latents [n, C, h, w], fp32. Row i starts from noise keyed by seeds[i] alone. Runs in batches of
  /// `batch`.
  torch::Tensor latents(models::Denoiser& model, const diffusion::Objective& objective,
                        const std::vector<std::string>& prompts, const std::vector<std::uint64_t>& seeds,
                        const diffusion::SamplerConfig& sampler, std::int64_t batch = 32) const;
  /// Pictures of scaled latents.
  std::vector<image::Image> decode(const torch::Tensor& latents) const;
  std::int64_t latent_size() const { return latent_size_; }

 private:
  torch::Device device_;
  std::int64_t channels_, latent_size_, text_length_;
  std::shared_ptr<encoders::ImageCodec> codec_;
  std::unique_ptr<encoders::TextEncoder> text_encoder_;
};

/// A uint8 tensor [B,H,W,3] on the CPU as pictures.
std::vector<image::Image> to_images(const torch::Tensor& pixels_BHW3);

}  // namespace microdit::eval
