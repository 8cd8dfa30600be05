// What a batch of the data says to the network.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "diffusion/denoise_fn.h"
#include "eval/caption_encoder.h"
#include "models/denoiser.h"
#include "stream/latent_stream.h"

namespace microdit::eval {

/// Rows [first, first + count) of fp16 values as a tensor over the same memory.
torch::Tensor half_rows(const stream::HostBuffer<std::uint16_t>& values, std::int64_t first,
                        at::IntArrayRef shape);

/// Of rows [first, first + count): 1 where there is a caption, or a class, that was not dropped; uint8.
torch::Tensor captioned_rows(const stream::Batch& batch, std::int64_t first, std::int64_t count);

/// The condition of rows [first, first + count), as far as the model takes it: classes, text rows fp32 and which of them are tokens (where the model asks); a
/// dropped caption is the null class, or zero rows (with_learned_null knows better ones). `encoder`: of latents that hold token ids alone; of a model
/// with a text_conditioner the tokens themselves. UserError: a sample without a class, or of one that the model does not have.
diffusion::Condition batch_condition(const stream::Batch& batch, std::int64_t first, std::int64_t count,
                                     const stream::RowShape& shape, const models::DenoiserConfig& model,
                                     CaptionEncoder* encoder, torch::Device device);

diffusion::Condition on_device(const diffusion::Condition& condition, torch::Device device);

}  // namespace microdit::eval
