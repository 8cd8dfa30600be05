// The tensors of a frozen network and their places.
#include "encoders/text_net.h"

#include <fmt/format.h>

#include "core/error.h"

namespace microdit::encoders {

torch::Tensor FrozenNet::hold(at::IntArrayRef shape, torch::ScalarType type) {
  return register_parameter(fmt::format("{}", num_tensors_++), torch::empty(shape, matrices_.dtype(type)),
                            false);
}

torch::Tensor FrozenNet::tensor(const std::string& name, at::IntArrayRef shape, torch::ScalarType type) {
  torch::Tensor held = hold(shape, type);
  slots_.emplace(name, held);
  return held;
}

torch::Tensor FrozenNet::matrix(const std::string& name, std::int64_t out, std::int64_t in) {
  return tensor(name, {out, in}, c10::typeMetaToScalarType(matrices_.dtype()));
}

Linear FrozenNet::linear(const std::string& name, std::int64_t in, std::int64_t out, bool bias) {
  return {matrix(name + ".weight", out, in), bias ? tensor(name + ".bias", {out}) : torch::Tensor()};
}

Linear FrozenNet::stacked(const std::vector<std::string>& names, std::int64_t in, std::int64_t out,
                          bool bias) {
  const auto count = static_cast<std::int64_t>(names.size());
  const Linear all{hold({count * out, in}, c10::typeMetaToScalarType(matrices_.dtype())),
                   bias ? hold({count * out}, torch::kFloat) : torch::Tensor()};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string& name = names[static_cast<std::size_t>(i)];
    slots_.emplace(name + ".weight", all.weight.narrow(0, i * out, out));
    if (bias) slots_.emplace(name + ".bias", all.bias.narrow(0, i * out, out));
  }
  return all;
}

LayerNorm FrozenNet::norm(const std::string& name, std::int64_t width, double eps) {
  return {tensor(name + ".weight", {width}), tensor(name + ".bias", {width}), eps};
}

void check_heads(std::int64_t width, std::int64_t heads, const std::filesystem::path& file) {
  if (width % heads != 0)
    core::user_error("{}: {} attention heads do not divide the width {}", file.string(), heads, width);
}

}  // namespace microdit::encoders
