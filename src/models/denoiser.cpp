// The `model:` section: its keys, what is possible, and the networks by kind.
#include "models/denoiser.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "models/class_dit.h"
#include "models/drawn.h"
#include "models/microdit.h"
#include "models/unet.h"

namespace microdit::models {

namespace {

void check(const DenoiserConfig& c) {
  const auto need = [](std::int64_t value, const char* key) {
    if (value < 1)
      core::user_error("model.{}: {} (it comes from the data's facts, or must be given here)", key, value);
  };
  if (c.kind != "unet") need(c.input_size, "input_size");  // a unet has no size
  need(c.in_channels, "in_channels");
  if (c.takes_text()) need(c.caption_channels, "caption_channels");
  if (c.kind == "unet" || more_kind(c.kind) != nullptr) return;
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
  f.field("kind", kind, {.choices = kind_names(), .help = "the network; further keys are its own"});
  if (const std::string fault = kinds_fault(more_denoisers()); !fault.empty()) return f.error("kind", fault);
  f.field("input_size", input_size, {.min = 0, .help = "latent side; 0 = from the data"});
  if (kind == "unet")
    unet_fields(f);
  else if (const DenoiserKind* more = more_kind(kind); more != nullptr)
    own_fields(f, *more);
  else
    transformer_fields(f);
  conditioner_fields(f);
}

void DenoiserConfig::transformer_fields(core::Fields& f) {
  const core::FieldRule positive{.min = 1};
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

namespace {

/// A key of diffusers for one of ours.
void also(core::Fields& f, const char* key, std::int64_t& ours, const char* our_key) {
  std::vector<std::int64_t> values;
  number_or_list(f, key, values, 1, 10'000'000, "");
  if (values.empty()) return;
  if (std::ranges::any_of(values, [&](std::int64_t value) { return value != values[0]; }))
    return f.error(key, "several values are not known here; they must be the same");
  if (f.given(our_key) && ours != 0 && ours != values[0])
    return f.error(key, fmt::format("{}, and {}: {}; they mean the same", values[0], our_key, ours));
  ours = values[0];
}

}  // namespace

void DenoiserConfig::unet_fields(core::Fields& f) {
  patch_size = 1;
  f.field("in_channels", in_channels, {.min = 0, .help = "latent channels; 0 = from the data"});
  f.field("caption_channels", caption_channels,
          {.min = 0, .help = "text width (also cross_attention_dim); 0 = from the data, or without text"});
  f.field("text_mask", text_mask, {.help = "text rows behind a caption's last token are not seen"});
  f.field("num_classes", num_classes,
          {.min = 0, .max = 1e7, .help = "of a class embedding (also num_class_embeds); 0 = none"});
  f.field("learned_null", learned_null, {.help = "one class more, the null condition of guidance"});
  unet.fields(f, in_channels);
  if (!f.reading()) return;
  also(f, "sample_size", input_size, "input_size");
  also(f, "num_class_embeds", num_classes, "num_classes");
  std::int64_t text_width = caption_channels;
  also(f, "cross_attention_dim", text_width, "caption_channels");
  if (takes_text()) {
    if (f.given("cross_attention_dim=null"))
      f.error("cross_attention_dim",
              "null: diffusers makes no cross-attention of it; leave the key out (the width "
              "comes from the data), or give the text's width");
    caption_channels = text_width;
  } else {  // diffusers' files name a width in any case
    if (caption_channels > 0)
      f.error("caption_channels", "no block of this unet is of cross-attention (CrossAttnDownBlock2D ...)");
    if (text_mask) f.error("text_mask", "no block of this unet is of cross-attention");
  }
  if (learned_null && num_classes == 0)
    f.error("learned_null",
            "it is a class more, and there are none (num_classes); text has zero rows as its null");
}

void DenoiserConfig::conditioner_fields(core::Fields& f) {
  constexpr const char* key = TextConditioner::kName;
  if (f.reading() && f.given(key)) text_conditioner.emplace();
  if (!text_conditioner) return;
  f.section(key, *text_conditioner);
  if (!f.reading()) return;
  if (!takes_text()) return f.error(key, "makes text rows, and this network takes none");
  if (const DenoiserKind* more = more_kind(kind); more != nullptr && !more->takes.text_mask)
    return f.error(
        key, fmt::format("makes rows of which some are no tokens, and {} takes no text_mask (Takes)", kind));
  if (f.given("text_mask") && !text_mask)
    f.error("text_mask", "false: a text_conditioner says which of its rows are tokens; leave the key out");
  if (kind == "class_dit" && learned_null)
    f.error("learned_null", "a text_conditioner has learned its own; leave the key out");
  text_mask = true;
  if (caption_channels == 0) caption_channels = text_conditioner->width;
}

void DenoiserConfig::own_fields(core::Fields& f, const DenoiserKind& more) {
  f.field("in_channels", in_channels, {.min = 0, .help = "latent channels; 0 = from the data"});
  if (more.takes.text)
    f.field("caption_channels", caption_channels, {.min = 0, .help = "text width; 0 = from the data"});
  if (more.takes.text_mask)
    f.field("text_mask", text_mask, {.help = "text rows behind a caption's last token are not seen"});
  if (more.takes.classes) {
    f.field("num_classes", num_classes, {.min = 0, .max = 1e7, .help = "0 = none"});
    f.field("learned_null", learned_null, {.help = "the null condition of guidance is learned"});
  }
  if (f.reading() || !own) own = more.keys();
  own->fields(f);
}

bool DenoiserConfig::takes_text() const {
  if (const DenoiserKind* more = more_kind(kind); more != nullptr) return more->takes.text;
  if (kind == "unet") return unet.has_cross_attention();
  return kind != "class_dit" || num_classes == 0;
}

bool DenoiserConfig::takes_classes() const {
  if (const DenoiserKind* more = more_kind(kind); more != nullptr)
    return more->takes.classes && num_classes > 0;
  return kind == "unet" ? num_classes > 0 : !takes_text();
}

bool DenoiserConfig::has_null() const {
  if (text_conditioner) return true;
  if (kind == "unet" || more_kind(kind) != nullptr) return takes_text() || learned_null;
  return kind != "class_dit" || learned_null;
}

std::shared_ptr<Denoiser> make_uninitialized_denoiser(const DenoiserConfig& config) {
  if (const std::vector<std::string> names = kind_names();
      std::ranges::find(names, config.kind) == names.end())
    core::user_error("model.kind: \"{}\" is unknown; there are: {}", config.kind, fmt::join(names, ", "));
  check(config);
  std::shared_ptr<Denoiser> net;
  if (const DenoiserKind* more = more_kind(config.kind); more != nullptr)
    net = (config.own ? config.own : more->keys())->make(config);
  else if (config.kind == "unet")
    net = std::make_shared<Unet>(config);
  else if (config.kind == "class_dit")
    net = std::make_shared<ClassDit>(config);
  else
    net = std::make_shared<MicroDit>(config);
  if (config.text_conditioner)
    net->add_text_conditioner(
        std::make_shared<TextConditioner>(*config.text_conditioner, config.caption_channels));
  return net;
}

void initialize(Denoiser& net, std::uint64_t seed) {
  net.initialize(seed);
  draw_text_conditioner(net, seed);
}

std::shared_ptr<Denoiser> make_denoiser(const DenoiserConfig& config, std::uint64_t seed) {
  std::shared_ptr<Denoiser> net = make_uninitialized_denoiser(config);
  initialize(*net, seed);
  return net;
}

std::string describe_kinds() {
  std::string text;
  for (const std::string& kind : kind_names()) {
    DenoiserConfig config;
    if (kind == config.kind) continue;
    config.kind = kind;
    text += fmt::format("Keys of model with kind: {}\n{}", kind,
                        core::detail::print_help(&config, core::detail::visitor<DenoiserConfig>()));
  }
  return text;
}

}  // namespace microdit::models
