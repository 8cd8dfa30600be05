// Where networks and objectives meet: a denoiser as diffusion sees it.
#pragma once

#include "diffusion/denoise_fn.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// `model` must outlive the callable.
diffusion::DenoiseFn denoise_fn(models::Denoiser& model);

/// The model's "no condition" for a batch like that of `condition`.
diffusion::Condition null_like(const models::Denoiser& model, const diffusion::Condition& condition);

/// `condition` with the model's learned null in the rows without a caption (`captioned_B`: uint8, on the CPU). A null that is not learned is
/// there already (batch_condition): zero rows, a class of its own.
diffusion::Condition with_learned_null(const models::Denoiser& model, const models::DenoiserConfig& config,
                                       diffusion::Condition condition, const torch::Tensor& captioned_B);

}  // namespace microdit::eval
