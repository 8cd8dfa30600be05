// Roles by name.
#include "nn/parameter_role.h"

#include <algorithm>
#include <cctype>

namespace microdit::nn {

Role role_of(std::string_view name, const torch::Tensor& parameter) {
  std::string small(name);
  std::ranges::transform(small, small.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto has = [&](std::string_view part) { return small.find(part) != small.npos; };
  if (parameter.dim() <= 1) return small.ends_with("bias") ? Role::bias : Role::norm;
  if (has("adaln") || has("time_emb_proj")) return Role::adaln;
  if (has("embed") || has("null_text")) return Role::embedding;
  return parameter.dim() == 3 ? Role::expert : Role::matrix;
}

}  // namespace microdit::nn
