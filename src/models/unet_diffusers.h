// A U-Net's settings as diffusers writes them beside its weights.
#pragma once

#include <filesystem>

#include "core/json.h"
#include "models/denoiser.h"

namespace microdit::models {

/// config.json of diffusers' UNet2DConditionModel or UNet2DModel (0.42), which makes of it the network that `model` is, tensor by
/// tensor of the same names. UserError: another kind of network, with what there is instead.
core::Json diffusers_config(const DenoiserConfig& model);

/// UserError when `file`, a config.json that diffusers wrote beside weights, describes another network than `model`: the same names and
/// shapes may hide another activation or number of groups. Says what to set. A file without `_class_name` is none of diffusers'.
void demand_same_network(const std::filesystem::path& file, const DenoiserConfig& model);

}  // namespace microdit::models
