// First weights: a distribution for each parameter, drawn by counter so that every rank gets the same.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <string_view>

namespace microdit::models {

enum class Law { zeros, ones, normal, uniform };

struct Rule {
  Law law;
  double scale = 0;  ///< standard deviation of normal, half width of uniform
};

/// Glorot & Bengio 2010, of a matrix [out, in...].
Rule xavier(const torch::Tensor& weight);

/// Draws every parameter of the module, each once, from (seed, its first name). The number of threads does not matter.
void draw_parameters(
    torch::nn::Module& net, std::uint64_t seed,
    const std::function<Rule(std::string_view name, const torch::Tensor& parameter)>& rule_of);

/// The text conditioner's parameters alone, as draw_parameters draws them: of a network whose own rules do not reach it.
void draw_text_conditioner(torch::nn::Module& net, std::uint64_t seed);

}  // namespace microdit::models
