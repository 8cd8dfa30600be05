// Which distribution each parameter of MicroDiT has at the start, by its name.
#include "models/microdit_init.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <cmath>
#include <span>
#include <string_view>

#include "core/error.h"
#include "core/hash.h"
#include "core/seed.h"

namespace microdit::models {

namespace {

enum class Law { zeros, ones, normal, uniform };

struct Rule {
  Law law;
  double scale = 0;  ///< standard deviation of normal, half width of uniform
};

constexpr double kStd = 0.02;

Rule xavier(const torch::Tensor& weight) {
  const std::int64_t out = weight.size(0), in = weight.numel() / out;
  return {Law::uniform, std::sqrt(6.0 / static_cast<double>(in + out))};
}

/// "blocks.7.attn.proj.weight" -> block 7, "attn.proj.weight".
struct BlockName {
  std::int64_t index;
  std::string_view rest;
};
BlockName split_block(std::string_view name, std::string_view list) {
  const std::string_view tail = name.substr(list.size());
  const std::size_t dot = tail.find('.');
  return {std::stoll(std::string(tail.substr(0, dot))), tail.substr(dot + 1)};
}

/// Layers that write to the residual stream start smaller. The original truncates its normals at +-2, a
/// hundred standard deviations: no draw is ever cut.
Rule block_rule(std::string_view rest, double output_std) {
  if (rest.starts_with("norm")) return {Law::ones};
  if (rest.starts_with("adaLN_modulation.")) return {Law::zeros};
  for (const std::string_view first :
       {"attn.qkv.", "cross_attn.q_linear.", "cross_attn.kv_linear.", "mlp.gate.", "mlp.w1"}) {
    if (rest.starts_with(first)) return {Law::normal, kStd};
  }
  return {Law::normal, output_std};
}

Rule rule_of(std::string_view name, const torch::Tensor& parameter, const DenoiserConfig& config) {
  if (name.starts_with("blocks.")) {
    const BlockName block = split_block(name, "blocks.");
    return block_rule(block.rest, kStd / std::sqrt(2.0 * static_cast<double>(block.index + 1)));
  }
  if (name.starts_with("patch_mixer.")) {
    return block_rule(split_block(name, "patch_mixer.").rest,
                      kStd / std::sqrt(2.0 * static_cast<double>(config.depth)));
  }
  if (name == "x_embedder.proj.weight") return xavier(parameter);
  if (name == "x_embedder.proj.bias") {  // torch's default for a convolution
    const std::int64_t fan_in = config.in_channels * config.patch_size * config.patch_size;
    return {Law::uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
  }
  if (name.ends_with(".bias") || name.starts_with("final_layer.linear.") ||
      name.starts_with("final_layer.adaLN")) {
    return {Law::zeros};
  }
  if (name == "y_emb_preprocess.attn.proj.weight" || name == "y_emb_preprocess.mlp.w3.weight")
    return {Law::zeros};
  if (name.find("norm") != std::string_view::npos ||
      (name.starts_with("patch_mixer_map_") && name.ends_with(".0.weight"))) {
    return {Law::ones};
  }
  if (name.starts_with("patch_mixer_map_")) return xavier(parameter);
  return {Law::normal, kStd};  // time and caption embeddings, caption attention and feed-forward
}

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

/// A parameter in pieces of fixed length, each with its own counter: threads share the work, the bits stay.
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

void initialize_microdit(torch::nn::Module& net, const DenoiserConfig& config, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  for (auto& item : net.named_parameters()) {
    torch::Tensor& parameter = item.value();
    const Rule rule = rule_of(item.key(), parameter, config);
    if (rule.law == Law::zeros) {
      parameter.zero_();
    } else if (rule.law == Law::ones) {
      parameter.fill_(1);
    } else {
      const bool in_place =
          parameter.is_cpu() && parameter.scalar_type() == torch::kFloat && parameter.is_contiguous();
      torch::Tensor drawn = in_place ? parameter.detach() : torch::empty(parameter.sizes(), torch::kFloat);
      draw_parallel(drawn, rule, seed, core::xxh3_64(std::as_bytes(std::span(item.key()))));
      if (!in_place) parameter.copy_(drawn);
    }
  }
}

}  // namespace microdit::models
