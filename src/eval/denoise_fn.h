// Where networks and objectives meet: a denoiser as diffusion sees it.
#pragma once

#include "diffusion/denoise_fn.h"
#include "models/denoiser.h"

namespace microdit::eval {

/// `model` must outlive the callable.
diffusion::DenoiseFn denoise_fn(models::Denoiser& model);

/// The model's "no condition" for a batch like that of `condition`.
diffusion::Condition null_like(const models::Denoiser& model, const diffusion::Condition& condition);

}  // namespace microdit::eval
