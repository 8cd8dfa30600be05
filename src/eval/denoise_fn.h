// Where networks and objectives meet: a denoiser as diffusion sees it.
#pragma once

#include "diffusion/denoise_fn.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// `model` must outlive the callable.
diffusion::DenoiseFn denoise_fn(models::Denoiser& model);

/// Of a model with a text_conditioner: `condition` with the rows that it makes of the tokens, and their mask; of any other the
/// condition itself. With gradients where they are on.
diffusion::Condition with_text_rows(const models::Denoiser& model, diffusion::Condition condition);

/// The model's "no condition" for a batch like that of `condition`, which has its text rows.
diffusion::Condition null_like(const models::Denoiser& model, const diffusion::Condition& condition);

/// `condition` with its text rows, and the model's learned null in those without a caption (`captioned_B`: uint8, on the CPU). A null that is
/// not learned is there already (batch_condition): zero rows, a class of its own; a text_conditioner makes its own of no tokens.
diffusion::Condition with_learned_null(const models::Denoiser& model, const models::DenoiserConfig& config,
                                       diffusion::Condition condition, const torch::Tensor& captioned_B);

}  // namespace microdit::eval
