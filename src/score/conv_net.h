// Frozen convolutional networks: convolutions whose batch norms are folded in, filled from a file of weights.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nn/state_dict.h"

namespace microdit::score {

enum class Activation { none, relu, relu6 };

/// Convolution without bias, batch norm by its running statistics, activation.
struct ConvNorm {
  std::string conv, norm;  ///< names in the file: conv.weight, norm.{weight,bias,running_mean,running_var}
  std::int64_t in = 0, out = 0;
  std::array<std::int64_t, 2> kernel{1, 1}, padding{0, 0};
  std::int64_t stride = 1, groups = 1;
  bool same = false;  ///< TensorFlow's SAME padding by the input's size, instead of `padding`
  Activation activation = Activation::relu;
  torch::Tensor weight{}, bias{};  ///< folded

  torch::Tensor operator()(const torch::Tensor& x_BCHW) const;
};

/// The layers of one network, in a place that does not move.
class ConvLayers {
 public:
  explicit ConvLayers(double norm_eps) : norm_eps_(norm_eps) {}
  const ConvNorm* add(ConvNorm layer);
  /// Copies the weights. UserError lists tensors that are missing, of other shapes, and those that nobody wants and whose names
  /// begin with none of `unused`.
  void load(const nn::StateDict& state, const std::vector<std::string>& unused, const std::string& origin);
  void to(torch::Device device);
  /// Name -> shape of every tensor that load() wants.
  std::map<std::string, std::vector<std::int64_t>> shapes() const;

 private:
  double norm_eps_;
  std::deque<ConvNorm> layers_;
};

}  // namespace microdit::score
