// CLIP's text tower (Radford et al. 2021): all positions after the last layer norm, before any pooling or projection. Of
// open_clip folders (open_clip_config.json) and of transformers' CLIPTextModel and CLIPModel folders (config.json).
#include <fmt/format.h>
#include <torch/utils.h>

#include <array>
#include <vector>

#include "core/error.h"
#include "encoders/text_net.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

struct ClipConfig {
  std::int64_t width, layers, heads, hidden, positions, vocabulary;
  double norm_eps;
  bool quick_gelu;  ///< x sigmoid(1.702 x) for gelu
  bool operator==(const ClipConfig&) const = default;
};

struct Layer {
  LayerNorm attention_norm, mlp_norm;
  Linear attention_in, attention_out, up, down;
};

/// Causal: what follows a position, pads too, changes nothing before it.
class Clip : public TextNet {
 public:
  torch::Tensor forward(const torch::Tensor& ids_BL, const torch::Tensor&) const override {
    torch::Tensor x = at::embedding(words_, ids_BL) + positions_.narrow(0, 0, ids_BL.size(1));
    for (const Layer& layer : layers_) {
      const auto qkv = layer.attention_in(layer.attention_norm(x)).chunk(3, 2);
      x = x + layer.attention_out(join_heads(at::scaled_dot_product_attention(
                  split_heads(qkv[0], heads_), split_heads(qkv[1], heads_), split_heads(qkv[2], heads_), {},
                  /*dropout_p=*/0, /*is_causal=*/true)));
      const torch::Tensor up = layer.up(layer.mlp_norm(x));
      x = x + layer.down(quick_gelu_ ? up * at::sigmoid(up * 1.702) : at::gelu(up));
    }
    return last_norm_(x);
  }

 protected:
  Clip(const ClipConfig& c, torch::TensorOptions matrices)
      : TextNet(matrices), heads_(c.heads), quick_gelu_(c.quick_gelu) {}

  std::int64_t heads_;
  bool quick_gelu_;
  torch::Tensor words_, positions_;
  std::vector<Layer> layers_;
  LayerNorm last_norm_;
};

struct OpenClipText final : Clip {
  OpenClipText(const ClipConfig& c, torch::TensorOptions matrices) : Clip(c, matrices) {
    words_ = tensor("token_embedding.weight", {c.vocabulary, c.width});
    positions_ = tensor("positional_embedding", {c.positions, c.width});
    for (std::int64_t i = 0; i < c.layers; ++i) {
      const std::string at = fmt::format("transformer.resblocks.{}.", i);
      layers_.push_back({norm(at + "ln_1", c.width, c.norm_eps),
                         norm(at + "ln_2", c.width, c.norm_eps),
                         {matrix(at + "attn.in_proj_weight", 3 * c.width, c.width),
                          tensor(at + "attn.in_proj_bias", {3 * c.width})},
                         linear(at + "attn.out_proj", c.width, c.width),
                         linear(at + "mlp.c_fc", c.width, c.hidden),
                         linear(at + "mlp.c_proj", c.hidden, c.width)});
    }
    last_norm_ = norm("ln_final", c.width, c.norm_eps);
  }
};

struct TransformersClipText final : Clip {
  TransformersClipText(const ClipConfig& c, torch::TensorOptions matrices) : Clip(c, matrices) {
    words_ = tensor("embeddings.token_embedding.weight", {c.vocabulary, c.width});
    positions_ = tensor("embeddings.position_embedding.weight", {c.positions, c.width});
    for (std::int64_t i = 0; i < c.layers; ++i) {
      const std::string at = fmt::format("encoder.layers.{}.", i), self = at + "self_attn.";
      layers_.push_back(
          {norm(at + "layer_norm1", c.width, c.norm_eps), norm(at + "layer_norm2", c.width, c.norm_eps),
           stacked({self + "q_proj", self + "k_proj", self + "v_proj"}, c.width, c.width),
           linear(self + "out_proj", c.width, c.width), linear(at + "mlp.fc1", c.width, c.hidden),
           linear(at + "mlp.fc2", c.hidden, c.width)});
    }
    last_norm_ = norm("final_layer_norm", c.width, c.norm_eps);
  }
};

bool is_quick(const core::Json& json, const char* fallback, const fs::path& file) {
  const std::string activation = config_text(json, "hidden_act", fallback, file);
  if (activation != "quick_gelu" && activation != "gelu")
    core::user_error("{}: hidden_act is \"{}\"; \"quick_gelu\" and \"gelu\" are supported", file.string(),
                     activation);
  return activation == "quick_gelu";
}

/// What is absent has transformers' defaults.
ClipConfig parse_text_config(const core::Json& json, const fs::path& file) {
  const ClipConfig c{config_count(json, "hidden_size", file, 512),
                     config_count(json, "num_hidden_layers", file, 12, kMostLayers),
                     config_count(json, "num_attention_heads", file, 8),
                     config_count(json, "intermediate_size", file, 2048),
                     config_count(json, "max_position_embeddings", file, 77),
                     config_count(json, "vocab_size", file, 49408),
                     config_eps(json, "layer_norm_eps", 1e-5, file),
                     is_quick(json, "quick_gelu", file)};
  check_heads(c.width, c.heads, file);
  return c;
}

/// transformers' CLIPModel takes text_config_dict for the whole of text_config where it is there, its CLIPTextModel does not.
ClipConfig parse_transformers(const core::Json& config, const fs::path& file) {
  const auto section = [&](const char* key) -> const core::Json* {
    const auto found = config.find(key);
    return found != config.end() && found->is_object() ? &*found : nullptr;
  };
  const core::Json *text = section("text_config"), *other = section("text_config_dict");
  const ClipConfig c = parse_text_config(text ? *text : config, file);
  if (text && other && parse_text_config(*other, file) != c)
    core::user_error(
        "{}: text_config and text_config_dict describe two networks, and transformers takes one or the "
        "other: "
        "remove the one that is wrong",
        file.string());
  return c;
}

/// Keys of text_cfg that make another network than this one when they hold another value than the first.
void check_open_clip(const core::Json& text, const fs::path& file) {
  static const std::array<std::pair<const char*, core::Json>, 7> only = {{{"hf_model_name", nullptr},
                                                                          {"ls_init_value", nullptr},
                                                                          {"embed_cls", false},
                                                                          {"no_causal_mask", false},
                                                                          {"act_kwargs", nullptr},
                                                                          {"norm_kwargs", nullptr},
                                                                          {"block_type", nullptr}}};
  for (const auto& [key, plain] : only)
    if (const auto found = text.find(key); found != text.end() && *found != plain && !found->is_null())
      core::user_error("{}: text_cfg.{} is {}: this kind of text tower is not supported", file.string(), key,
                       found->dump());
}

ClipConfig parse_open_clip(const fs::path& folder) {
  const fs::path file = folder / "open_clip_config.json";
  const core::Json json = core::read_json(file);
  const auto part = [&](const core::Json& whole, const char* key) {
    const auto found = whole.is_object() ? whole.find(key) : whole.end();
    if (found == whole.end() || !found->is_object())
      core::user_error("{}: no object \"{}\": not the config of an open_clip model", file.string(), key);
    return *found;
  };
  const core::Json model = part(json, "model_cfg"), text = part(model, "text_cfg");
  check_open_clip(text, file);
  const std::int64_t width = config_count(text, "width", file, 512);
  const double ratio = config_number(text, "mlp_ratio", 4, file);
  if (!(ratio > 0 && ratio <= 64))
    core::user_error("{}: text_cfg.mlp_ratio is {}; it must be more than 0, and at most 64", file.string(),
                     ratio);
  const ClipConfig c{width,
                     config_count(text, "layers", file, 12, kMostLayers),
                     config_count(text, "heads", file, 8),
                     static_cast<std::int64_t>(static_cast<double>(width) * ratio),
                     config_count(text, "context_length", file, 77),
                     config_count(text, "vocab_size", file, 49408),
                     1e-5,
                     config_flag(model, "quick_gelu", false, file)};
  check_heads(c.width, c.heads, file);
  return c;
}

/// Of CLIPModel only the text tower, with its "text_model." or without.
std::string transformers_slot(std::string_view stored) {
  constexpr std::string_view kPrefix = "text_model.";
  if (stored.starts_with(kPrefix)) stored.remove_prefix(kPrefix.size());
  const bool is_text = stored.starts_with("embeddings.token_embedding.") ||
                       stored.starts_with("embeddings.position_embedding.") ||
                       stored.starts_with("encoder.layers.") || stored.starts_with("final_layer_norm.");
  return is_text ? std::string(stored) : "";
}

/// CustomTextCLIP keeps the tower below "text.".
std::string open_clip_slot(std::string_view stored) {
  constexpr std::string_view kPrefix = "text.";
  if (stored.starts_with(kPrefix)) stored.remove_prefix(kPrefix.size());
  const bool is_text = stored.starts_with("token_embedding.") || stored == "positional_embedding" ||
                       stored.starts_with("transformer.resblocks.") || stored.starts_with("ln_final.");
  return is_text ? std::string(stored) : "";
}

template <class Net>
TextModel described(const ClipConfig& c, const char* kind, const char* stem,
                    std::string (*slot_of)(std::string_view)) {
  return {.kind = kind,
          .stem = stem,
          .width = c.width,
          .vocabulary = c.vocabulary,
          .max_length = c.positions,
          .pads = "encoder",
          .network = fmt::format(
              "layers={} heads={} hidden={} positions={} vocabulary={} norm_eps={} activation={}", c.layers,
              c.heads, c.hidden, c.positions, c.vocabulary, c.norm_eps, c.quick_gelu ? "quick_gelu" : "gelu"),
          .make = [c](torch::TensorOptions matrices) { return std::make_shared<Net>(c, matrices); },
          .slot_of = slot_of};
}

}  // namespace

TextModel open_clip_model(const fs::path& folder) {
  return described<OpenClipText>(parse_open_clip(folder), "open_clip", "open_clip_model", open_clip_slot);
}

TextModel clip_model(const fs::path& folder) {
  return described<TransformersClipText>(
      parse_transformers(read_folder_config(folder), folder / "config.json"), "clip", "model",
      transformers_slot);
}

}  // namespace microdit::encoders
