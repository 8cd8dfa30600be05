// CLIP's vision transformer, and both projections. The text tower is text_encoder's.
#include "encoders/clip_pair.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <array>

#include "core/error.h"
#include "encoders/text_encoder.h"
#include "encoders/text_net.h"
#include "encoders/weights_folder.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

struct PairConfig {
  bool open_clip = false;
  std::int64_t width, layers, heads, hidden, patch, embedding, text_width, text_length;
  double norm_eps = 1e-5;
  bool quick_gelu = false;
  ClipInput input{};
};

const std::vector<double> kMean = {0.48145466, 0.4578275, 0.40821073};
const std::vector<double> kDeviation = {0.26862954, 0.26130258, 0.27577711};

core::Json part(const core::Json& whole, const char* key, const fs::path& file) {
  const auto found = whole.is_object() ? whole.find(key) : whole.end();
  if (found == whole.end() || !found->is_object())
    core::user_error("{}: no object \"{}\": not the config of a CLIP with two towers", file.string(), key);
  return *found;
}

std::vector<double> channels(const core::Json& json, const char* key, const std::vector<double>& fallback,
                             const fs::path& file) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found == json.end() || found->is_null()) return fallback;
  std::vector<double> values;
  for (const core::Json& value : *found)
    if (value.is_number()) values.push_back(value);
  if (values.size() != 3 || found->size() != 3 || !(values[0] > 0 && values[1] > 0 && values[2] > 0))
    core::user_error("{}: \"{}\" must be three numbers above 0", file.string(), key);
  return values;
}

void check_sizes(const PairConfig& c, const fs::path& file) {
  check_heads(c.width, c.heads, file);
  if (c.input.size > 4096 || c.input.size % c.patch != 0)
    core::user_error(
        "{}: pictures of {} pixels in patches of {}: the patch must divide it, and 4096 is the most",
        file.string(), c.input.size, c.patch);
}

PairConfig parse_open_clip(const fs::path& folder) {
  const fs::path file = folder / "open_clip_config.json";
  const core::Json json = core::read_json(file), model = part(json, "model_cfg", file);
  const core::Json vision = part(model, "vision_cfg", file), text = part(model, "text_cfg", file);
  static constexpr std::array kOthers = {"timm_model_name",     "ls_init_value", "attentional_pool",
                                         "act_kwargs",          "norm_kwargs",   "input_patchnorm",
                                         "final_ln_after_pool", "block_type",    "qk_norm",
                                         "scaled_cosine_attn",  "scale_heads",   "no_ln_pre"};
  for (const char* key : kOthers)
    if (const auto found = vision.find(key); found != vision.end() && !found->is_null() && *found != false)
      core::user_error("{}: vision_cfg.{} is {}: this kind of picture tower is not supported", file.string(),
                       key, found->dump());
  if (!vision.contains("layers") || !vision["layers"].is_number())
    core::user_error("{}: vision_cfg.layers is no number: only plain vision transformers are supported",
                     file.string());
  config_only(vision, "pool_type", "tok", file);
  config_only(vision, "pos_embed_type", "learnable", file);
  PairConfig c{.open_clip = true,
               .width = config_count(vision, "width", file, 768),
               .layers = config_count(vision, "layers", file, 12, kMostLayers),
               .heads = 0,
               .hidden = 0,
               .patch = config_count(vision, "patch_size", file, 16),
               .embedding = config_count(model, "embed_dim", file),
               .text_width = config_count(text, "width", file, 512),
               .text_length = config_count(text, "context_length", file, 77)};
  c.heads = std::max<std::int64_t>(1, c.width / config_count(vision, "head_width", file, 64));
  c.hidden =
      static_cast<std::int64_t>(static_cast<double>(c.width) * config_number(vision, "mlp_ratio", 4, file));
  c.quick_gelu = config_flag(model, "quick_gelu", false, file);
  const core::Json preprocess = json.value("preprocess_cfg", core::Json::object());
  const std::string mode = config_text(preprocess, "resize_mode", "shortest", file);
  config_only(preprocess, "interpolation", "bicubic", file);
  if (mode != "shortest" && mode != "squash")
    core::user_error("{}: preprocess_cfg.resize_mode is \"{}\"; shortest and squash are supported",
                     file.string(), mode);
  c.input = {config_count(vision, "image_size", file, 224), mode == "squash",
             channels(preprocess, "mean", kMean, file), channels(preprocess, "std", kDeviation, file)};
  check_sizes(c, file);
  return c;
}

PairConfig parse_transformers(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const core::Json json = read_folder_config(folder);
  const core::Json vision = part(json, "vision_config", file), text = part(json, "text_config", file);
  const std::string activation = config_text(vision, "hidden_act", "quick_gelu", file);
  if (activation != "quick_gelu" && activation != "gelu")
    core::user_error("{}: hidden_act is \"{}\"; \"quick_gelu\" and \"gelu\" are supported", file.string(),
                     activation);
  PairConfig c{.open_clip = false,
               .width = config_count(vision, "hidden_size", file, 768),
               .layers = config_count(vision, "num_hidden_layers", file, 12, kMostLayers),
               .heads = config_count(vision, "num_attention_heads", file, 12),
               .hidden = config_count(vision, "intermediate_size", file, 3072),
               .patch = config_count(vision, "patch_size", file, 32),
               .embedding = config_count(json, "projection_dim", file, 512),
               .text_width = config_count(text, "hidden_size", file, 512),
               .text_length = config_count(text, "max_position_embeddings", file, 77),
               .norm_eps = config_eps(vision, "layer_norm_eps", 1e-5, file),
               .quick_gelu = activation == "quick_gelu"};
  core::Json preprocess = core::Json::object();
  const fs::path how = folder / "preprocessor_config.json";
  if (fs::exists(how)) preprocess = core::read_json(how);
  c.input = {config_count(vision, "image_size", file, 224), false,
             channels(preprocess, "image_mean", kMean, how),
             channels(preprocess, "image_std", kDeviation, how)};
  check_sizes(c, file);
  return c;
}

PairConfig parse(const fs::path& folder) {
  return fs::exists(folder / "open_clip_config.json") ? parse_open_clip(folder) : parse_transformers(folder);
}

struct Block {
  LayerNorm attention_norm, mlp_norm;
  Linear attention_in, attention_out, up, down;
};

/// Names of either kind of files; projections as matrices [in, out] (open_clip) or [out, in].
class PictureTower final : public FrozenNet {
 public:
  PictureTower(const PairConfig& c, torch::TensorOptions options) : FrozenNet(options), config_(c) {
    const std::int64_t patches = (c.input.size / c.patch) * (c.input.size / c.patch);
    const std::string v = c.open_clip ? "visual." : "vision_model.";
    class_ = tensor(v + (c.open_clip ? "class_embedding" : "embeddings.class_embedding"), {c.width});
    positions_ = tensor(v + (c.open_clip ? "positional_embedding" : "embeddings.position_embedding.weight"),
                        {patches + 1, c.width});
    patch_ = tensor(v + (c.open_clip ? "conv1.weight" : "embeddings.patch_embedding.weight"),
                    {c.width, 3, c.patch, c.patch});
    first_norm_ = norm(v + (c.open_clip ? "ln_pre" : "pre_layrnorm"), c.width, c.norm_eps);
    for (std::int64_t i = 0; i < c.layers; ++i)
      blocks_.push_back(c.open_clip ? open_clip(v, i) : transformers(v, i));
    last_norm_ = norm(v + (c.open_clip ? "ln_post" : "post_layernorm"), c.width, c.norm_eps);
    picture_out_ = c.open_clip ? tensor("visual.proj", {c.width, c.embedding})
                               : tensor("visual_projection.weight", {c.embedding, c.width});
    text_out_ = c.open_clip ? tensor("text_projection", {c.text_width, c.embedding})
                            : tensor("text_projection.weight", {c.embedding, c.text_width});
  }

  torch::Tensor pictures(const torch::Tensor& x_BCHW) const {
    torch::Tensor x = at::conv2d(x_BCHW, patch_, {}, config_.patch).flatten(2).transpose(1, 2);
    x = at::cat({class_.expand({x.size(0), 1, -1}), x}, 1) + positions_;
    x = first_norm_(x);
    for (const Block& block : blocks_) {
      const auto qkv = block.attention_in(block.attention_norm(x)).chunk(3, 2);
      x = x + block.attention_out(join_heads(at::scaled_dot_product_attention(
                  split_heads(qkv[0], config_.heads), split_heads(qkv[1], config_.heads),
                  split_heads(qkv[2], config_.heads))));
      const torch::Tensor up = block.up(block.mlp_norm(x));
      x = x + block.down(config_.quick_gelu ? up * at::sigmoid(up * 1.702) : at::gelu(up));
    }
    return project(last_norm_(x.select(1, 0)), picture_out_);
  }
  /// Of the rows at the captions' last tokens.
  torch::Tensor captions(const torch::Tensor& rows_BD) const { return project(rows_BD, text_out_); }

 private:
  torch::Tensor project(const torch::Tensor& x, const torch::Tensor& matrix) const {
    const torch::Tensor y = x.matmul(config_.open_clip ? matrix : matrix.t());
    return y / y.norm(2, -1, true);
  }
  Block open_clip(const std::string& v, std::int64_t i) {
    const std::string at = fmt::format("{}transformer.resblocks.{}.", v, i);
    const std::int64_t w = config_.width;
    return {norm(at + "ln_1", w, config_.norm_eps),
            norm(at + "ln_2", w, config_.norm_eps),
            {matrix(at + "attn.in_proj_weight", 3 * w, w), tensor(at + "attn.in_proj_bias", {3 * w})},
            linear(at + "attn.out_proj", w, w),
            linear(at + "mlp.c_fc", w, config_.hidden),
            linear(at + "mlp.c_proj", config_.hidden, w)};
  }
  Block transformers(const std::string& v, std::int64_t i) {
    const std::string at = fmt::format("{}encoder.layers.{}.", v, i), self = at + "self_attn.";
    const std::int64_t w = config_.width;
    return {norm(at + "layer_norm1", w, config_.norm_eps),
            norm(at + "layer_norm2", w, config_.norm_eps),
            stacked({self + "q_proj", self + "k_proj", self + "v_proj"}, w, w),
            linear(self + "out_proj", w, w),
            linear(at + "mlp.fc1", w, config_.hidden),
            linear(at + "mlp.fc2", config_.hidden, w)};
  }

  PairConfig config_;
  torch::Tensor class_, positions_, patch_, picture_out_, text_out_;
  LayerNorm first_norm_, last_norm_;
  std::vector<Block> blocks_;
};

/// Names that the picture tower or the projections have; the text tower's are read elsewhere. CustomTextCLIP keeps its
/// text_projection below "text.".
std::string slot_of(std::string_view stored) {
  if (stored == "text.text_projection") return "text_projection";
  const bool own = (stored.starts_with("visual.") || stored.starts_with("vision_model.") ||
                    stored.starts_with("visual_projection.") || stored.starts_with("text_projection")) &&
                   !stored.ends_with("position_ids");
  return own ? std::string(stored) : "";
}

class LoadedPair final : public ClipPair {
 public:
  LoadedPair(const fs::path& folder, const core::StopFlag& stop)
      : config_(parse(folder)),
        text_(load_text_encoder(folder, {}, "fp32", stop)),
        sha256_(text_->facts().sha256) {
    const std::string stem = config_.open_clip ? "open_clip_model" : "model";
    check_folder_weights(folder, stem,
                         PictureTower(config_, torch::dtype(torch::kFloat).device(torch::kMeta)).slots(),
                         slot_of);
    net_ = std::make_shared<PictureTower>(config_, torch::dtype(torch::kFloat));
    load_folder_weights(folder, stem, net_->slots(), slot_of, stop);
    net_->eval();
  }
  const ClipInput& input() const override { return config_.input; }
  const std::string& sha256() const override { return sha256_; }
  void to(torch::Device device) override {
    text_->to(device);
    net_->to(device);
    device_ = device;
  }
  torch::Tensor pictures(const torch::Tensor& x_BCHW) const override {
    const torch::NoGradGuard no_grad;
    return net_->pictures(x_BCHW.to(device_));
  }
  torch::Tensor captions(const std::vector<std::string>& captions) const override {
    const torch::NoGradGuard no_grad;
    const EncodedText text = text_->encode(captions, config_.text_length);
    const torch::Tensor last_B =
        torch::tensor(text.num_tokens, torch::kInt64).clamp(1, config_.text_length) - 1;
    const torch::Tensor rows_BD =
        text.states_BLD.index({torch::arange(static_cast<std::int64_t>(captions.size())), last_B});
    return net_->captions(rows_BD.to(device_));
  }

 private:
  PairConfig config_;
  std::unique_ptr<TextEncoder> text_;
  std::string sha256_;
  std::shared_ptr<PictureTower> net_;
  torch::Device device_ = torch::kCPU;
};

}  // namespace

std::string clip_pair_network(const fs::path& folder) {
  const PairConfig c = parse(folder);
  return fmt::format(
      "layers={} heads={} hidden={} patch={} embedding={} norm_eps={} activation={} size={} squash={} "
      "mean={} std={}",
      c.layers, c.heads, c.hidden, c.patch, c.embedding, c.norm_eps, c.quick_gelu ? "quick_gelu" : "gelu",
      c.input.size, c.input.squash, fmt::join(c.input.mean, ","), fmt::join(c.input.deviation, ","));
}

std::unique_ptr<ClipPair> load_clip_pair(const fs::path& folder, const core::StopFlag& stop) {
  return std::make_unique<LoadedPair>(folder.lexically_normal(), stop);
}

}  // namespace microdit::encoders
