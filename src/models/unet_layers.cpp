// Forward passes of the layers.
#include "models/unet_layers.h"

#include <ATen/autocast_mode.h>
#include <torch/utils.h>

namespace microdit::models {
namespace {

constexpr double kTransformerNormEps = 1e-6;  // diffusers', whatever norm_eps is

/// Autocast chooses the type itself.
torch::Tensor as_weight(const torch::Tensor& x, const torch::Tensor& weight) {
  return at::autocast::is_autocast_enabled(x.device().type()) ? x : x.to(weight.scalar_type());
}

/// [B, C, H, W] -> [B, T, C] and back.
torch::Tensor rows_of(const torch::Tensor& x_BCHW) {
  return x_BCHW.permute({0, 2, 3, 1}).flatten(1, 2);
}
torch::Tensor picture_of(const torch::Tensor& rows_BTC, const torch::Tensor& like_BCHW) {
  return rows_BTC.unflatten(1, {like_BCHW.size(2), like_BCHW.size(3)}).permute({0, 3, 1, 2});
}

}  // namespace

torch::Tensor unet_activation(const std::string& name, const torch::Tensor& x) {
  if (name == "gelu") return at::gelu(x);
  if (name == "relu") return at::relu(x);
  if (name == "mish") return at::mish(x);
  return at::silu(x);  // silu, swish
}

Conv::Conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding)
    : stride_(stride), padding_(padding < 0 ? kernel / 2 : padding) {
  weight_ = register_parameter("weight", torch::empty({out, in, kernel, kernel}));
  bias_ = register_parameter("bias", torch::empty({out}));
}

torch::Tensor Conv::forward(const torch::Tensor& x) const {
  return at::conv2d(as_weight(x, weight_), weight_, bias_, {stride_, stride_}, {padding_, padding_});
}

GroupNorm::GroupNorm(std::int64_t channels, std::int64_t groups, double eps) : groups_(groups), eps_(eps) {
  weight_ = register_parameter("weight", torch::empty({channels}));
  bias_ = register_parameter("bias", torch::empty({channels}));
}

torch::Tensor GroupNorm::forward(const torch::Tensor& x) const {
  // Of bf16 pictures, torch's kernels take no fp32 weights. Of channels-last ones its CPU kernel subtracts squares: on few values
  // that costs a digit.
  return at::group_norm(x.to(weight_.scalar_type()).contiguous(), groups_, weight_, bias_, eps_);
}

Resnet::Resnet(const ResnetSizes& sizes) : sizes_(sizes) {
  const ResnetSizes& s = sizes_;
  norm1_ = register_module("norm1", std::make_shared<GroupNorm>(s.in, s.groups, s.eps));
  conv1_ = register_module("conv1", std::make_shared<Conv>(s.in, s.out, 3));
  time_ = register_module("time_emb_proj",
                          std::make_shared<nn::Linear>(s.time, s.time_scales ? 2 * s.out : s.out, true));
  norm2_ = register_module("norm2", std::make_shared<GroupNorm>(s.out, s.groups, s.eps));
  conv2_ = register_module("conv2", std::make_shared<Conv>(s.out, s.out, 3));
  if (s.in != s.out) shortcut_ = register_module("conv_shortcut", std::make_shared<Conv>(s.in, s.out, 1));
}

torch::Tensor Resnet::forward(const torch::Tensor& x, const torch::Tensor& time_BD) const {
  const auto& act = sizes_.activation;
  const torch::Tensor time = time_->forward(time_BD).unsqueeze(-1).unsqueeze(-1);
  torch::Tensor h = conv1_->forward(unet_activation(act, norm1_->forward(x)));
  if (sizes_.time_scales) {
    const std::vector<torch::Tensor> parts = time.chunk(2, 1);
    h = norm2_->forward(h) * (1 + parts[0]) + parts[1];
  } else {
    h = norm2_->forward(h + time);
  }
  h = conv2_->forward(unet_activation(act, h));
  h = (shortcut_ ? shortcut_->forward(x) : x) + h;
  return sizes_.divisor == 1 ? h : h / sizes_.divisor;
}

HeadsAttention::HeadsAttention(std::int64_t dim, std::int64_t context_dim, std::int64_t heads, bool with_bias)
    : heads_(heads) {
  q_ = register_module("to_q", std::make_shared<nn::Linear>(dim, dim, with_bias));
  k_ = register_module("to_k", std::make_shared<nn::Linear>(context_dim, dim, with_bias));
  v_ = register_module("to_v", std::make_shared<nn::Linear>(context_dim, dim, with_bias));
  const auto out = register_module("to_out", std::make_shared<torch::nn::Module>());
  out_ = out->register_module("0", std::make_shared<nn::Linear>(dim, dim, true));
}

torch::Tensor HeadsAttention::forward(const torch::Tensor& x_BTD, const torch::Tensor& context_BLD,
                                      const torch::Tensor& seen_BL) const {
  const auto heads = [this](const torch::Tensor& t) {
    return t.unflatten(-1, {heads_, t.size(-1) / heads_}).transpose(1, 2);
  };
  const torch::Tensor mixed = at::scaled_dot_product_attention(
      heads(q_->forward(x_BTD)), heads(k_->forward(context_BLD)), heads(v_->forward(context_BLD)),
      seen_BL.defined() ? std::optional(seen_BL.unsqueeze(1).unsqueeze(1)) : std::nullopt);
  return out_->forward(mixed.transpose(1, 2).flatten(2));
}

PixelAttention::PixelAttention(std::int64_t width, std::int64_t head_dim, std::int64_t groups, double eps,
                               double divisor)
    : HeadsAttention(width, width, width / head_dim, true), divisor_(divisor) {
  if (groups > 0) norm_ = register_module("group_norm", std::make_shared<GroupNorm>(width, groups, eps));
}

torch::Tensor PixelAttention::forward(const torch::Tensor& x) const {
  const torch::Tensor rows = rows_of(norm_ ? norm_->forward(x) : x);
  const torch::Tensor out = x + picture_of(HeadsAttention::forward(rows, rows), x);
  return divisor_ == 1 ? out : out / divisor_;
}

TextBlockOfPixels::TextBlockOfPixels(std::int64_t width, std::int64_t text_width, std::int64_t heads) {
  norm1_ = register_module("norm1", std::make_shared<BlockNorm>("layer", width));
  self_ = register_module("attn1", std::make_shared<HeadsAttention>(width, width, heads, false));
  norm2_ = register_module("norm2", std::make_shared<BlockNorm>("layer", width));
  cross_ = register_module("attn2", std::make_shared<HeadsAttention>(width, text_width, heads, false));
  norm3_ = register_module("norm3", std::make_shared<BlockNorm>("layer", width));
  const auto feed = register_module("ff", std::make_shared<torch::nn::Module>());
  const auto net = feed->register_module("net", std::make_shared<torch::nn::Module>());
  const auto gate = net->register_module("0", std::make_shared<torch::nn::Module>());
  gated_ = gate->register_module("proj", std::make_shared<nn::Linear>(width, 8 * width, true));
  out_ = net->register_module("2", std::make_shared<nn::Linear>(4 * width, width, true));
}

torch::Tensor TextBlockOfPixels::forward(const torch::Tensor& x_BTD, const torch::Tensor& text_BLD,
                                         const torch::Tensor& seen_BL) const {
  const torch::Tensor own = norm1_->forward(x_BTD);
  torch::Tensor x = x_BTD + self_->forward(own, own);
  x = x + cross_->forward(norm2_->forward(x), text_BLD, seen_BL);
  const std::vector<torch::Tensor> parts = gated_->forward(norm3_->forward(x)).chunk(2, -1);
  return x + out_->forward(parts[0] * at::gelu(parts[1]));
}

/// A 1 x 1 convolution is a matrix that is stored with two axes more.
struct TextTransformer::Projection : torch::nn::Module {
  torch::Tensor weight, bias;
  Projection(std::int64_t width, bool linear) {
    weight = register_parameter("weight",
                                linear ? torch::empty({width, width}) : torch::empty({width, width, 1, 1}));
    bias = register_parameter("bias", torch::empty({width}));
  }
  torch::Tensor forward(const torch::Tensor& rows) const {
    return at::linear(as_weight(rows, weight), weight.flatten(1), bias);
  }
};

TextTransformer::TextTransformer(std::int64_t width, std::int64_t text_width, std::int64_t heads,
                                 std::int64_t layers, std::int64_t groups, bool linear) {
  norm_ = register_module("norm", std::make_shared<GroupNorm>(width, groups, kTransformerNormEps));
  in_ = register_module("proj_in", std::make_shared<Projection>(width, linear));
  const auto list = register_module("transformer_blocks", std::make_shared<torch::nn::Module>());
  for (std::int64_t i = 0; i < layers; ++i)
    blocks_.push_back(list->register_module(std::to_string(i),
                                            std::make_shared<TextBlockOfPixels>(width, text_width, heads)));
  out_ = register_module("proj_out", std::make_shared<Projection>(width, linear));
}

torch::Tensor TextTransformer::forward(const torch::Tensor& x_BCHW, const torch::Tensor& text_BLD,
                                       const torch::Tensor& seen_BL) const {
  torch::Tensor rows = in_->forward(rows_of(norm_->forward(x_BCHW)));
  for (const auto& block : blocks_) rows = block->forward(rows, text_BLD, seen_BL);
  return x_BCHW + picture_of(out_->forward(rows), x_BCHW);
}

}  // namespace microdit::models
