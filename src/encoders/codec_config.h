// config.json of a diffusers AutoencoderKL <-> AutoencoderConfig.
#pragma once

#include "encoders/image_codec.h"

namespace microdit::encoders {

/// folder/config.json. UserError names the key: one that is needed and absent (scaling_factor), or that says what this codec does
/// not do.
AutoencoderConfig read_codec_config(const std::filesystem::path& folder);

/// What diffusers reads.
core::Json to_diffusers(const AutoencoderConfig& config);

}  // namespace microdit::encoders
