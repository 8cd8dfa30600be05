// DenoiserConfig -> diffusers' config.json.
#include "models/unet_diffusers.h"

#include "core/atomic_file.h"
#include "core/config.h"
#include "core/error.h"
#include "core/shell_line.h"

namespace microdit::models {
namespace {

using core::Json;

Json one_or_list(const std::vector<std::int64_t>& values) {
  return values.size() == 1 ? Json(values[0]) : Json(values);
}

/// What 0 says here, null says there.
Json null_for_0(std::int64_t value) {
  return value == 0 ? Json(nullptr) : Json(value);
}

}  // namespace

Json diffusers_config(const DenoiserConfig& model) {
  if (model.kind != "unet")
    core::user_error(
        "model.kind {}: diffusers has no such network; without format=diffusers its weights become one file "
        "(--output FILE.safetensors)",
        model.kind);
  const UnetConfig& c = model.unet;
  Json json;
  json["_class_name"] = c.class_name;
  json["act_fn"] = c.act_fn;
  json["attention_head_dim"] = c.attention_head_dim == std::vector<std::int64_t>{0}
                                   ? Json(nullptr)
                                   : one_or_list(c.attention_head_dim);
  json["block_out_channels"] = c.block_out_channels;
  json["center_input_sample"] = c.center_input_sample;
  json["down_block_types"] = c.down_block_types;
  json["downsample_padding"] = c.downsample_padding;
  json["flip_sin_to_cos"] = c.flip_sin_to_cos;
  json["freq_shift"] = c.freq_shift;
  json["in_channels"] = model.in_channels;
  json["layers_per_block"] = one_or_list(c.layers_per_block);
  json["mid_block_scale_factor"] = c.mid_block_scale_factor;
  json["mid_block_type"] = c.mid_block_type == "none" ? Json(nullptr) : Json(c.mid_block_type);
  json["norm_eps"] = c.norm_eps;
  json["norm_num_groups"] = c.norm_num_groups;
  json["num_class_embeds"] = null_for_0(model.num_classes + (model.learned_null ? 1 : 0));
  json["out_channels"] = model.in_channels;
  json["resnet_time_scale_shift"] = c.resnet_time_scale_shift;
  json["sample_size"] = null_for_0(model.input_size);
  json["time_embedding_dim"] = null_for_0(c.time_embedding_dim);
  json["up_block_types"] = c.up_block_types;
  if (c.is_plain()) {
    json["add_attention"] = c.add_attention;
    json["attn_norm_num_groups"] = null_for_0(c.attn_norm_num_groups);
    return json;
  }
  if (model.takes_text()) json["cross_attention_dim"] = model.caption_channels;
  json["transformer_layers_per_block"] = one_or_list(c.transformer_layers_per_block);
  json["use_linear_projection"] = c.use_linear_projection;
  return json;
}

void demand_same_network(const std::filesystem::path& file, const DenoiserConfig& model) {
  Json keys = core::parse_foreign_json(core::read_text(file), file.string());
  if (!keys.is_object() || !keys.contains("_class_name")) return;  // none of theirs
  keys["kind"] = "unet";
  const Json theirs =
      diffusers_config(core::load<DenoiserConfig>(core::ConfigTree::of_json(keys, file.string())));
  const Json ours = diffusers_config(model);
  std::vector<std::string> words;
  for (const auto& [key, value] : theirs.items())
    if (key != "sample_size" && ours.value(key, Json()) != value)  // the size is the latents'
      words.push_back(fmt::format("model.{}={}", key, value.dump()));
  for (const auto& [key, value] : ours.items())
    if (!theirs.contains(key)) words.push_back(fmt::format("~model.{}", key));
  if (!words.empty())
    core::user_error("model: {} describes another network; its weights want {}", file.string(),
                     core::shell_line(words));
}

}  // namespace microdit::models
