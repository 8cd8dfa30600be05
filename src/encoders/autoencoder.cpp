// The AutoencoderKL network: a convolutional encoder to (mean | log-variance) and its mirror, names as in
// diffusers. On CPU activations run channels-last inside; parameters keep their standard shape and layout.
#include <torch/utils.h>
#include <cmath>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "core/seed.h"
#include "encoders/image_codec.h"
#include "encoders/norm_silu_conv.h"
#include "encoders/upsample_conv.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

constexpr double kNormEps = 1e-6;

template <class T>
using Shared = std::shared_ptr<T>;

struct Conv : torch::nn::Module {
  torch::Tensor weight, bias;
  std::int64_t stride, padding;
  Conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride_ = 1)
      : stride(stride_), padding(stride_ == 1 ? kernel / 2 : 0) {
    weight = register_parameter("weight", torch::zeros({out, in, kernel, kernel}));
    bias = register_parameter("bias", torch::zeros({out}));
  }
  torch::Tensor forward(const torch::Tensor& x) const {
    return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
  }
};

struct Norm : torch::nn::Module {
  torch::Tensor weight, bias;
  std::int64_t groups;
  Norm(std::int64_t channels, std::int64_t groups_) : groups(groups_) {
    weight = register_parameter("weight", torch::ones({channels}));
    bias = register_parameter("bias", torch::zeros({channels}));
  }
};

NormSiluConv layer(const Norm& norm, const Conv& conv) {
  return {norm.weight, norm.bias, norm.groups, kNormEps, conv.weight, conv.bias};
}

struct Projection : torch::nn::Module {
  torch::Tensor weight, bias;
  explicit Projection(std::int64_t width) {
    weight = register_parameter("weight", torch::zeros({width, width}));
    bias = register_parameter("bias", torch::zeros({width}));
  }
  torch::Tensor forward(const torch::Tensor& x) const { return at::linear(x, weight, bias); }
};

struct Resnet : torch::nn::Module {
  Shared<Norm> norm1, norm2;
  Shared<Conv> conv1, conv2, shortcut;
  Resnet(std::int64_t in, std::int64_t out, std::int64_t groups) {
    norm1 = register_module("norm1", std::make_shared<Norm>(in, groups));
    conv1 = register_module("conv1", std::make_shared<Conv>(in, out, 3));
    norm2 = register_module("norm2", std::make_shared<Norm>(out, groups));
    conv2 = register_module("conv2", std::make_shared<Conv>(out, out, 3));
    if (in != out) shortcut = register_module("conv_shortcut", std::make_shared<Conv>(in, out, 1));
  }
  /// `x` may become the result where no gradient is wanted: give it away.
  torch::Tensor forward(torch::Tensor x) const {
    const torch::Tensor h = norm_silu_conv(x, layer(*norm1, *conv1));
    if (shortcut) x = shortcut->forward(x);
    return add_norm_silu_conv(std::move(x), h, layer(*norm2, *conv2));
  }
};

/// One head over all pixels, with its own norm and residual.
struct Attention : torch::nn::Module {
  Shared<Norm> norm;
  Shared<Projection> to_q, to_k, to_v, to_out;
  Attention(std::int64_t channels, std::int64_t groups) {
    norm = register_module("group_norm", std::make_shared<Norm>(channels, groups));
    to_q = register_module("to_q", std::make_shared<Projection>(channels));
    to_k = register_module("to_k", std::make_shared<Projection>(channels));
    to_v = register_module("to_v", std::make_shared<Projection>(channels));
    auto out = register_module("to_out", std::make_shared<torch::nn::Module>());
    to_out = out->register_module("0", std::make_shared<Projection>(channels));
  }
  torch::Tensor forward(const torch::Tensor& x_BCHW) const {
    const auto b = x_BCHW.size(0), c = x_BCHW.size(1), h = x_BCHW.size(2), w = x_BCHW.size(3);
    const torch::Tensor normed = at::group_norm(x_BCHW, norm->groups, norm->weight, norm->bias, kNormEps);
    const torch::Tensor rows = normed.permute({0, 2, 3, 1}).reshape({b, 1, h * w, c});
    const torch::Tensor mixed =
        at::scaled_dot_product_attention(to_q->forward(rows), to_k->forward(rows), to_v->forward(rows));
    return x_BCHW + to_out->forward(mixed).reshape({b, h, w, c}).permute({0, 3, 1, 2});
  }
};

struct MidBlock : torch::nn::Module {
  Shared<Resnet> first, second;
  Shared<Attention> attention;
  MidBlock(std::int64_t channels, std::int64_t groups, bool with_attention) {
    auto resnets = register_module("resnets", std::make_shared<torch::nn::Module>());
    first = resnets->register_module("0", std::make_shared<Resnet>(channels, channels, groups));
    second = resnets->register_module("1", std::make_shared<Resnet>(channels, channels, groups));
    if (with_attention) {
      auto attentions = register_module("attentions", std::make_shared<torch::nn::Module>());
      attention = attentions->register_module("0", std::make_shared<Attention>(channels, groups));
    }
  }
  torch::Tensor forward(torch::Tensor x) const {
    torch::Tensor h = first->forward(std::move(x));
    if (attention) h = attention->forward(h);
    return second->forward(std::move(h));
  }
};

/// Residual blocks at one resolution and the change to the next (if any): half the size going down, twice
/// going up.
struct Level : torch::nn::Module {
  std::vector<Shared<Resnet>> resnets;
  Shared<Conv> change;
  bool down;
  Level(std::int64_t in, std::int64_t out, std::int64_t layers, std::int64_t groups, bool down_, bool changes)
      : down(down_) {
    auto list = register_module("resnets", std::make_shared<torch::nn::Module>());
    for (std::int64_t i = 0; i < layers; ++i)
      resnets.push_back(
          list->register_module(std::to_string(i), std::make_shared<Resnet>(i == 0 ? in : out, out, groups)));
    if (!changes) return;
    auto samplers =
        register_module(down ? "downsamplers" : "upsamplers", std::make_shared<torch::nn::Module>());
    auto sampler = samplers->register_module("0", std::make_shared<torch::nn::Module>());
    change = sampler->register_module("conv", std::make_shared<Conv>(out, out, 3, down ? 2 : 1));
  }
  torch::Tensor forward(torch::Tensor x) const {
    for (const auto& resnet : resnets) x = resnet->forward(std::move(x));
    if (!change) return x;
    if (down) return halving_conv(x, change->weight, change->bias);
    return upsample_conv(x, change->weight, change->bias);
  }
};

/// Encoder and decoder are the same chain: conv_in, levels and middle block (order differs), norm, conv_out.
struct Half : torch::nn::Module {
  Shared<Conv> conv_in, conv_out;
  std::vector<Shared<Level>> levels;
  Shared<MidBlock> middle;
  Shared<Norm> norm_out;
  bool encoder;

  Half(const AutoencoderConfig& c, bool encoder_) : encoder(encoder_) {
    std::vector<std::int64_t> widths = c.block_out_channels;
    if (!encoder) std::reverse(widths.begin(), widths.end());
    const auto layers = c.layers_per_block + (encoder ? 0 : 1);
    conv_in = register_module(
        "conv_in", std::make_shared<Conv>(encoder ? c.in_channels : c.latent_channels, widths.front(), 3));
    auto blocks =
        register_module(encoder ? "down_blocks" : "up_blocks", std::make_shared<torch::nn::Module>());
    for (std::size_t i = 0; i < widths.size(); ++i)
      levels.push_back(blocks->register_module(
          std::to_string(i), std::make_shared<Level>(widths[i == 0 ? 0 : i - 1], widths[i], layers,
                                                     c.norm_num_groups, encoder, i + 1 < widths.size())));
    middle = register_module("mid_block",
                             std::make_shared<MidBlock>(c.block_out_channels.back(), c.norm_num_groups,
                                                        c.mid_block_add_attention));
    norm_out = register_module("conv_norm_out", std::make_shared<Norm>(widths.back(), c.norm_num_groups));
    conv_out = register_module(
        "conv_out",
        std::make_shared<Conv>(widths.back(), encoder ? 2 * c.latent_channels : c.out_channels, 3));
  }
  torch::Tensor forward(const torch::Tensor& input) const {
    torch::Tensor x = conv_in->forward(input);
    if (!encoder) x = middle->forward(std::move(x));
    for (const auto& level : levels) x = level->forward(std::move(x));
    if (encoder) x = middle->forward(std::move(x));
    return norm_silu_conv(x, layer(*norm_out, *conv_out));
  }
};

torch::Tensor channels_last(const torch::Tensor& x) {
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace

void AutoencoderConfig::fields(core::Fields& f) {
  f.field("in_channels", in_channels, {.min = 1});
  f.field("out_channels", out_channels, {.min = 1});
  f.field("block_out_channels", block_out_channels, {.min = 1, .help = "width per resolution, finest first"});
  f.field("layers_per_block", layers_per_block, {.min = 1});
  f.field("latent_channels", latent_channels, {.min = 1});
  f.field("norm_num_groups", norm_num_groups, {.min = 1, .help = "divides every width"});
  f.field("sample_size", sample_size, {.min = 1, .help = "pixels per side it is trained at"});
  f.field("scaling_factor", scaling_factor,
          {.min = 0, .help = "latent = (z - shift) * scaling; 0 = not known yet"});
  f.field("shift_factor", shift_factor);
  f.field("use_quant_conv", use_quant_conv);
  f.field("use_post_quant_conv", use_post_quant_conv);
  f.field("mid_block_add_attention", mid_block_add_attention);
  if (!f.reading()) return;
  if (block_out_channels.empty()) f.error("block_out_channels", "needs at least one width");
  for (const auto width : block_out_channels)
    if (norm_num_groups < 1 || width % norm_num_groups != 0)
      f.error("norm_num_groups", fmt::format("{} does not divide the width {}", norm_num_groups, width));
}

struct Autoencoder::Parts {
  Shared<Half> encoder, decoder;
  Shared<Conv> quant, post_quant;
};

Autoencoder::Autoencoder(const AutoencoderConfig& config)
    : config_(config), parts_(std::make_unique<Parts>()) {
  core::check(!config.block_out_channels.empty(), "an autoencoder needs at least one block");
  for (const auto width : config.block_out_channels)
    core::check(width % config.norm_num_groups == 0, "{} groups do not divide the width {}",
                config.norm_num_groups, width);
  parts_->encoder = register_module("encoder", std::make_shared<Half>(config, true));
  parts_->decoder = register_module("decoder", std::make_shared<Half>(config, false));
  const auto c = config.latent_channels;
  if (config.use_quant_conv)
    parts_->quant = register_module("quant_conv", std::make_shared<Conv>(2 * c, 2 * c, 1));
  if (config.use_post_quant_conv)
    parts_->post_quant = register_module("post_quant_conv", std::make_shared<Conv>(c, c, 1));
}

Autoencoder::~Autoencoder() = default;

std::int64_t AutoencoderConfig::downscale() const {
  return std::int64_t{1} << (block_out_channels.size() - 1);
}

torch::Tensor Autoencoder::encode_moments(const torch::Tensor& image_B3HW) {
  const torch::Tensor moments = parts_->encoder->forward(channels_last(image_B3HW));
  return (parts_->quant ? parts_->quant->forward(moments) : moments).contiguous();
}

torch::Tensor Autoencoder::decode(const torch::Tensor& latent_BChw) {
  const torch::Tensor z = channels_last(latent_BChw);
  return parts_->decoder->forward(parts_->post_quant ? parts_->post_quant->forward(z) : z);
}

void Autoencoder::initialize(std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto parameters = named_parameters();
  for (const auto& item : parameters) {
    const std::string& name = item.key();
    const bool is_bias = name.ends_with(".bias");
    const torch::Tensor weight =
        is_bias ? parameters[name.substr(0, name.size() - 4) + "weight"] : item.value();
    if (weight.dim() == 1) {  // a norm
      item.value().fill_(is_bias ? 0.0 : 1.0);
      continue;
    }
    const double bound = 1.0 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)));
    const std::uint64_t key = core::xxh3_64(std::as_bytes(std::span(name)));
    const torch::Tensor unit =
        nn::counter_uniform(item.value().sizes(), seed, static_cast<std::uint32_t>(core::Purpose::init), key);
    item.value().copy_(unit.mul(2 * bound).sub(bound));
  }
}

}  // namespace microdit::encoders
