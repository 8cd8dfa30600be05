// Prompts -> pictures with a given denoiser: text encoder, sampler and codec as a run's facts name them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/sampler.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "eval/run_facts.h"
#include "image/image.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// What to paint and how. Prompt i starts from noise keyed by seeds[i] alone.
struct PaintOrder {
  std::vector<std::string> prompts;
  std::vector<std::uint64_t> seeds;
  std::string negative{};    ///< what guidance leads away from; empty = the model's null condition
  std::string class_name{};  ///< of a model of text and classes: the class of all pictures; empty = none
  diffusion::SamplerConfig sampler;
  std::int64_t batch =
      32;  ///< rows at a time; the last batch is filled up, so that bits do not depend on its size
  bool bf16 = false;
  std::int64_t trajectory =
      0;  ///< so many states on the way are kept, from the noise to the picture; 0 or at least 2
  diffusion::KeepGoing keep_going{};
};

/// All that went into the pictures and came out, fp32 on the CPU.
struct Painting {
  torch::Tensor unit_BCHW;     ///< the unit-normal start noise
  torch::Tensor text_BLD;      ///< what the network was given of the prompts; or
  torch::Tensor class_B;       ///< the classes that they name (fp32 whole numbers)
  torch::Tensor text_mask_BL;  ///< fp32, 1 for rows that are tokens; undefined where the model takes no mask
  torch::Tensor negative_BLD, negative_mask_BL,
      negative_class_B;  ///< the same of the negative prompt, one row of them per prompt; undefined without
  torch::Tensor tokens_BL,
      negative_tokens_BL;     ///< of a text_conditioner, fp32 whole numbers: what the rows were made of
  torch::Tensor sample_BCHW;  ///< scaled latents; undefined when keep_going said no
  torch::Tensor
      states_BKCHW;  ///< PaintOrder::trajectory of them, each brought to the root mean square of the sample: to be looked at
};

/// What of a painting is written and gathered, a row for each picture: all but the states, which are large and shown alone.
inline constexpr torch::Tensor Painting::*kPaintingRows[] = {
    &Painting::unit_BCHW,        &Painting::text_BLD,         &Painting::class_B,
    &Painting::text_mask_BL,     &Painting::tokens_BL,        &Painting::negative_BLD,
    &Painting::negative_mask_BL, &Painting::negative_class_B, &Painting::negative_tokens_BL,
    &Painting::sample_BCHW};

/// UserError: guidance of a model that has no null condition to lead away from; one of text and classes that is given no class and
/// has learned none.
void demand_paintable(const diffusion::SamplerConfig& sampler, const models::DenoiserConfig& model,
                      bool with_class = false);

class Painter {
 public:
  /// Finds the encoders wherever they lie now (encoders/encoder_facts.h). UserError when they are not found
  /// or not those of the facts. Throws core::Stopped when `stop` is seen while weights are read.
  Painter(const RunFacts& facts, const std::filesystem::path& run_folder, torch::Device device,
          const core::StopFlag& stop = core::StopFlag());

  /// One warning per prompt that is longer than the text rows, with the part that is not seen. UserError: of a model that takes
  /// classes, a prompt that is neither the name of one nor its number; a class beside prompts that the model takes none of.
  void warn_of_cut(const std::vector<std::string>& prompts, const std::string& class_name = "") const;
  /// `model` in evaluation mode on the painter's device.
  Painting paint(models::Denoiser& model, const diffusion::Objective& objective,
                 const PaintOrder& order) const;
  /// Pictures of scaled latents; fewer when keep_going said no. `batch`: as PaintOrder's; 0 = not filled up.
  std::vector<image::Image> decode(const torch::Tensor& latents, std::int64_t batch = 0,
                                   const diffusion::KeepGoing& keep_going = {}) const;

 private:
  diffusion::Condition encode(const std::vector<std::string>& prompts, const std::string& class_name) const;

  torch::Device device_;
  std::int64_t channels_, latent_size_, text_length_;
  std::shared_ptr<encoders::ImageCodec> codec_;
  std::unique_ptr<encoders::TextEncoder>
      text_encoder_;  ///< null: the prompts are classes, the model takes none, or makes its own rows of tokens:
  std::unique_ptr<encoders::Tokenizer> tokenizer_;
  const models::DenoiserConfig model_;
  const std::vector<std::string> classes_;  ///< names
};

/// unit, text, class, negative (and masks, where there are any) and sample of the pictures, for comparison with other
/// implementations.
void write_latents(const std::filesystem::path& file, const Painting& painting);

/// A uint8 tensor [B,H,W,3] on the CPU as pictures.
std::vector<image::Image> to_images(const torch::Tensor& pixels_BHW3);

}  // namespace microdit::eval
