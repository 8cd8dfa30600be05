// The `model:` section: its keys, what is possible, and the networks by kind.
#include "models/denoiser.h"

#include "core/error.h"
#include "models/class_dit.h"
#include "models/microdit.h"

namespace microdit::models {

namespace {

void check(const DenoiserConfig& c) {
  const auto need = [](std::int64_t value, const char* key) {
    if (value < 1)
      core::user_error("model.{}: {} (it comes from the data's facts, or must be given here)", key, value);
  };
  need(c.input_size, "input_size");
  need(c.in_channels, "in_channels");
  if (c.takes_text()) need(c.caption_channels, "caption_channels");
  if (c.input_size % c.patch_size != 0)
    core::user_error("model.input_size: {} is no multiple of patch_size {}", c.input_size, c.patch_size);
  if (c.dim % 4 != 0) core::user_error("model.dim: {} must be a multiple of 4 (position embeddings)", c.dim);
  if (c.kind == "class_dit") {
    if (c.dim % c.num_heads != 0)
      core::user_error("model.dim: {} is no multiple of num_heads {}", c.dim, c.num_heads);
    return;
  }
  if (c.dim % c.head_dim != 0)
    core::user_error("model.dim: {} is no multiple of head_dim {}", c.dim, c.head_dim);
  if (c.patch_mixer_depth == 0 && c.patch_mixer_dim != c.dim) {
    core::user_error("model.patch_mixer_dim: {} without mixer blocks; set it to dim ({})", c.patch_mixer_dim,
                     c.dim);
  }
}

}  // namespace

void DenoiserConfig::fields(core::Fields& f) {
  const core::FieldRule positive{.min = 1};
  f.field("kind", kind,
          {.choices = {"microdit", "class_dit"}, .help = "the network; further keys are its own"});
  f.field("input_size", input_size, {.min = 0, .help = "latent side; 0 = from the data"});
  f.field("patch_size", patch_size, positive);
  f.field("in_channels", in_channels, {.min = 0, .help = "latent channels; 0 = from the data"});
  f.field("dim", dim, positive);
  f.field("depth", depth, positive);
  if (kind == "class_dit" && f.reading()) {  // nano-diffusion's size
    if (!f.given("dim")) dim = 768;
    if (!f.given("depth")) depth = 12;
  }
  if (kind == "class_dit")
    class_dit_fields(f);
  else
    microdit_fields(f);
}

void DenoiserConfig::microdit_fields(core::Fields& f) {
  const core::FieldRule positive{.min = 1}, ratio{.min = 0, .exclusive_min = true};
  f.field("head_dim", head_dim, positive);
  f.field("multiple_of", multiple_of, {.min = 1, .help = "hidden widths are rounded up to a multiple of it"});
  f.field("caption_channels", caption_channels, {.min = 0, .help = "text width; 0 = from the data"});
  if (f.reading() ||
      text_mask)  // not printed where it is off: runs that are older than the key can be resumed
    f.field("text_mask", text_mask, {.help = "text rows behind a caption's last token are not seen"});
  f.field("pos_interp_scale", pos_interp_scale,
          {.min = 0, .exclusive_min = true, .help = "2 at twice the resolution"});
  f.field("norm_eps", norm_eps, {.min = 0});
  f.field("qkv_ratio", qkv_ratio, {.min = 0, .exclusive_min = true, .help = "ends of a line over depth"});
  f.field("mlp_ratio", mlp_ratio, {.min = 0, .exclusive_min = true, .help = "ends of a line over depth"});
  f.field("patch_mixer_depth", patch_mixer_depth, {.min = 0});
  f.field("patch_mixer_dim", patch_mixer_dim, positive);
  f.field("patch_mixer_qkv_ratio", patch_mixer_qkv_ratio, ratio);
  f.field("patch_mixer_mlp_ratio", patch_mixer_mlp_ratio, ratio);
  f.field("num_experts", num_experts, positive);
  f.field("expert_capacity", expert_capacity,
          {.min = 0, .exclusive_min = true, .help = "mean experts per token"});
  f.field("experts_every_n", experts_every_n, positive);
  if (qkv_ratio.size() != 2) f.error("qkv_ratio", "must be two numbers: first and last block");
  if (mlp_ratio.size() != 2) f.error("mlp_ratio", "must be two numbers: first and last block");
  if (expert_capacity > static_cast<double>(num_experts)) {
    f.error("expert_capacity", "cannot be above num_experts: an expert takes a token once");
  }
}

void DenoiserConfig::class_dit_fields(core::Fields& f) {
  f.field("num_heads", num_heads, {.min = 1});
  f.field("num_classes", num_classes, {.min = 0, .max = 1e7, .help = "0 = conditioned on text rows instead"});
  f.field("caption_channels", caption_channels,
          {.min = 0, .help = "text width; 0 = from the data, or with classes"});
  f.field("text_mask", text_mask, {.help = "text rows behind a caption's last token are not seen"});
  f.field("norm", norm, {.choices = {"layer", "rms"}});
  f.field("activation", activation,
          {.choices = {"silu", "gelu", "relu", "mish"}, .help = "of the feed-forward layers"});
  f.field("compat", compat,
          {.choices = {"none", "nano"}, .help = "nano: attention's gate is not used, as in nano-diffusion"});
  f.field(
      "learned_null", learned_null,
      {.help = "a null condition, for guidance and dropped conditions: one more class, or a learned row"});
  if (f.reading() && num_classes > 0 && (caption_channels > 0 || text_mask))
    f.error("num_classes", "a class_dit takes classes or text (caption_channels, text_mask), not both");
}

std::shared_ptr<Denoiser> make_uninitialized_denoiser(const DenoiserConfig& config) {
  if (config.kind != "microdit" && config.kind != "class_dit")
    core::user_error("model.kind: \"{}\" is unknown; there are: microdit, class_dit", config.kind);
  check(config);
  if (config.kind == "class_dit") return std::make_shared<ClassDit>(config);
  return std::make_shared<MicroDit>(config);
}

std::shared_ptr<Denoiser> make_denoiser(const DenoiserConfig& config, std::uint64_t seed) {
  std::shared_ptr<Denoiser> net = make_uninitialized_denoiser(config);
  net->initialize(seed);
  return net;
}

}  // namespace microdit::models
