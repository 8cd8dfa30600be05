// What a parameter is for: by that its learning rate and decay may differ.
#pragma once

#include <torch/types.h>

#include <array>
#include <string>
#include <string_view>

namespace microdit::nn {

enum class Role { matrix, expert, adaln, embedding, norm, bias };
inline constexpr std::array<const char*, 6> kRoleNames = {"matrix",    "expert", "adaln",
                                                          "embedding", "norm",   "bias"};

/// By name and shape, as our networks and those of diffusers and torch name theirs. Vectors are biases or norms' weights; stacked matrices
/// are experts'; then adaLN's layers (`adaLN_modulation`, `adaln_single`); what makes tokens of patches, time, text or classes
/// (`*embed*`); the rest are matrices.
Role role_of(std::string_view name, const torch::Tensor& parameter);

}  // namespace microdit::nn
