// Whether our own GPU kernels may be used on this card: only where scripts/gpu_check.sh has passed on its model.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace microdit::nn {

/// `setting` (auto | fused | reference) decided for `device`. auto: the CPU's kernels always (tests prove them); a GPU's
/// where gpu_check.json beside the programs' folder names its model as passed. Says why not, once.
bool use_fused_kernels(const std::string& setting, const c10::Device& device);

/// The card's model; "" for the CPU.
std::string card_name(const c10::Device& device);

}  // namespace microdit::nn
