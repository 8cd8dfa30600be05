// Pieces of fixed length, each with its own counter.
#include "models/drawn.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/utils.h>

#include <cmath>
#include <span>

#include "core/hash.h"
#include "core/seed.h"
#include "models/text_conditioner.h"
#include "nn/state_dict.h"

namespace microdit::models {
namespace {

void draw(std::span<float> out, const Rule& rule, core::CounterRng rng) {
  const auto scale = static_cast<float>(rule.scale);
  if (rule.law == Law::normal) {
    rng.fill_normal(out);
    for (float& value : out) value *= scale;
  } else {
    rng.fill_uniform(out);
    for (float& value : out) value = (2 * value - 1) * scale;
  }
}

/// Threads share the work, the bits stay.
void draw_parallel(torch::Tensor& target, const Rule& rule, std::uint64_t seed, std::uint64_t name_hash) {
  constexpr std::int64_t kPiece = std::int64_t{1} << 16;
  float* data = target.mutable_data_ptr<float>();
  const std::int64_t count = target.numel(), pieces = (count + kPiece - 1) / kPiece;
  at::parallel_for(0, pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t length = std::min(kPiece, count - i * kPiece);
      draw({data + i * kPiece, static_cast<std::size_t>(length)}, rule,
           core::CounterRng(seed, core::Purpose::init, name_hash, static_cast<std::uint64_t>(i)));
    }
  });
}

}  // namespace

Rule xavier(const torch::Tensor& weight) {
  const std::int64_t out = weight.size(0), in = weight.numel() / out;
  return {Law::uniform, std::sqrt(6.0 / static_cast<double>(in + out))};
}

namespace {

const std::string kConditioner = fmt::format("{}.", TextConditioner::kName);

void draw_one(nn::DistinctParameter& one, std::uint64_t seed, const Rule& rule) {
  torch::Tensor& parameter = one.tensor;
  if (rule.law == Law::zeros) {
    parameter.zero_();
  } else if (rule.law == Law::ones) {
    parameter.fill_(1);
  } else {
    const bool in_place =
        parameter.is_cpu() && parameter.scalar_type() == torch::kFloat && parameter.is_contiguous();
    torch::Tensor drawn = in_place ? parameter.detach() : torch::empty(parameter.sizes(), torch::kFloat);
    draw_parallel(drawn, rule, seed, core::xxh3_64(std::as_bytes(std::span(one.name))));
    if (!in_place) parameter.copy_(drawn);
  }
}

}  // namespace

void draw_text_conditioner(torch::nn::Module& net, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  for (nn::DistinctParameter& one : nn::distinct_parameters(net))
    if (one.name.starts_with(kConditioner))
      draw_one(one, seed,
               conditioner_rule(std::string_view(one.name).substr(kConditioner.size()), one.tensor));
}

void draw_parameters(
    torch::nn::Module& net, std::uint64_t seed,
    const std::function<Rule(std::string_view name, const torch::Tensor& parameter)>& rule_of) {
  const torch::NoGradGuard no_grad;
  for (nn::DistinctParameter& one : nn::distinct_parameters(net))
    if (!one.name.starts_with(kConditioner)) draw_one(one, seed, rule_of(one.name, one.tensor));
  draw_text_conditioner(net, seed);  // by its own rules, whichever network it is in
}

}  // namespace microdit::models
