// Which distribution each parameter of MicroDiT has at the start, by its name.
#include "models/microdit_init.h"

#include <cmath>
#include <string_view>

#include "models/drawn.h"

namespace microdit::models {

namespace {

constexpr double kStd = 0.02;

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

}  // namespace

void initialize_microdit(torch::nn::Module& net, const DenoiserConfig& config, std::uint64_t seed) {
  draw_parameters(net, seed, [&](std::string_view name, const torch::Tensor& parameter) {
    return rule_of(name, parameter, config);
  });
}

}  // namespace microdit::models
