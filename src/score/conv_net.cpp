// Folding: w' = w g / sqrt(var + eps), b' = b - mean g / sqrt(var + eps), in fp64.
#include "score/conv_net.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>

#include "core/error.h"

namespace microdit::score {
namespace {

/// TensorFlow's: as many zeros as make ceil(size / stride) outputs, the odd one behind.
torch::Tensor padded(const torch::Tensor& x_BCHW, std::array<std::int64_t, 2> kernel, std::int64_t stride) {
  std::array<std::int64_t, 2> all{};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t size = x_BCHW.size(static_cast<std::int64_t>(axis) + 2);
    const std::int64_t outputs = (size + stride - 1) / stride;
    all[axis] = std::max<std::int64_t>((outputs - 1) * stride + kernel[axis] - size, 0);
  }
  if (all[0] == 0 && all[1] == 0) return x_BCHW;
  return at::constant_pad_nd(x_BCHW, {all[1] / 2, all[1] - all[1] / 2, all[0] / 2, all[0] - all[0] / 2});
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

}  // namespace

torch::Tensor ConvNorm::operator()(const torch::Tensor& x_BCHW) const {
  const torch::Tensor x = same ? padded(x_BCHW, kernel, stride) : x_BCHW;
  torch::Tensor y = at::conv2d(x, weight, bias, stride, padding, 1, groups);
  if (activation == Activation::relu) y.relu_();
  if (activation == Activation::relu6) y.clamp_(0, 6);
  return y;
}

const ConvNorm* ConvLayers::add(ConvNorm layer) {
  layers_.push_back(std::move(layer));
  return &layers_.back();
}

void ConvLayers::load(const nn::StateDict& state, const std::vector<std::string>& unused,
                      const std::string& origin) {
  std::string faults;
  const auto wanted = shapes();
  std::map<std::string, torch::Tensor> taken;
  for (const auto& [name, shape] : wanted) {
    const auto found = state.find(name);
    if (found == state.end())
      faults += fmt::format("\n  {} is missing", name);
    else if (found->second.sizes() != at::IntArrayRef(shape) || !found->second.is_floating_point())
      faults += fmt::format("\n  {} is {} of {}, wanted {}", name, shape_text(found->second.sizes()),
                            torch::toString(found->second.scalar_type()), shape_text(shape));
    else
      taken[name] = found->second.to(torch::kDouble);
  }
  for (const auto& [name, tensor] : state) {
    const bool known = wanted.contains(name) || name.ends_with(".num_batches_tracked") ||
                       std::any_of(unused.begin(), unused.end(),
                                   [&](const std::string& begin) { return name.starts_with(begin); });
    if (!known) faults += fmt::format("\n  {} belongs to no layer", name);
  }
  if (!faults.empty())
    core::user_error("{}: weights of another network:{}", origin,
                     faults.size() > 2000 ? faults.substr(0, 2000) + "\n  ..." : faults);
  for (ConvNorm& layer : layers_) {
    const auto norm = [&](const char* name) { return taken.at(layer.norm + name); };
    const torch::Tensor scale = norm(".weight") / (norm(".running_var") + norm_eps_).sqrt();
    layer.weight = (taken.at(layer.conv + ".weight") * scale.view({-1, 1, 1, 1}))
                       .to(torch::kFloat)
                       .contiguous(at::MemoryFormat::ChannelsLast);
    layer.bias = (norm(".bias") - norm(".running_mean") * scale).to(torch::kFloat);
  }
}

std::map<std::string, std::vector<std::int64_t>> ConvLayers::shapes() const {
  std::map<std::string, std::vector<std::int64_t>> all;
  for (const ConvNorm& layer : layers_) {
    all[layer.conv + ".weight"] = {layer.out, layer.in / layer.groups, layer.kernel[0], layer.kernel[1]};
    for (const char* name : {".weight", ".bias", ".running_mean", ".running_var"})
      all[layer.norm + name] = {layer.out};
  }
  return all;
}

void ConvLayers::to(torch::Device device) {
  for (ConvNorm& layer : layers_) {
    layer.weight = layer.weight.to(device);
    layer.bias = layer.bias.to(device);
  }
}

}  // namespace microdit::score
