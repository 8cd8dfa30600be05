// A U-Net's settings as diffusers writes them beside its weights.
#pragma once

#include "core/json.h"
#include "models/denoiser.h"

namespace microdit::models {

/// config.json of diffusers' UNet2DConditionModel or UNet2DModel (0.42), which makes of it the network that `model` is, tensor by
/// tensor of the same names. UserError: another kind of network, with what there is instead.
core::Json diffusers_config(const DenoiserConfig& model);

}  // namespace microdit::models
