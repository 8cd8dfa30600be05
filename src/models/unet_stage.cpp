// A level of a U-Net.
#include <torch/utils.h>

#include "models/unet.h"

namespace microdit::models {

UnetStage::UnetStage(const DenoiserConfig& config, const StageSizes& s) {
  const UnetConfig& c = config.unet;
  const auto list = register_module("resnets", std::make_shared<torch::nn::Module>());
  for (std::size_t i = 0; i < s.in.size(); ++i)
    resnets_.push_back(list->register_module(
        std::to_string(i),
        std::make_shared<Resnet>(ResnetSizes{.in = s.in[i],
                                             .out = s.out,
                                             .time = c.time_width(),
                                             .groups = c.norm_num_groups,
                                             .eps = c.norm_eps,
                                             .activation = c.act_fn,
                                             .time_scales = c.resnet_time_scale_shift == "scale_shift",
                                             .divisor = s.divisor})));
  if (s.attends != StageSizes::Attends::nothing) {
    const auto attentions = register_module("attentions", std::make_shared<torch::nn::Module>());
    for (std::int64_t i = 0; i < s.attentions; ++i) {
      const std::string name = std::to_string(i);
      if (s.attends == StageSizes::Attends::pixels)
        pixels_.push_back(attentions->register_module(
            name, std::make_shared<PixelAttention>(s.out, s.heads > 0 ? s.heads : s.out, s.attention_groups,
                                                   c.norm_eps, s.divisor)));
      else
        texts_.push_back(attentions->register_module(
            name,
            std::make_shared<TextTransformer>(s.out, config.caption_channels, s.heads, s.transformer_layers,
                                              s.attention_groups, c.use_linear_projection)));
    }
  }
  if (s.change == StageSizes::Change::none) return;
  const bool down = s.change == StageSizes::Change::down;
  pads_behind_ = down && c.downsample_padding == 0;
  const auto samplers =
      register_module(down ? "downsamplers" : "upsamplers", std::make_shared<torch::nn::Module>());
  const auto sampler = samplers->register_module("0", std::make_shared<torch::nn::Module>());
  change_ = sampler->register_module(
      "conv", std::make_shared<Conv>(s.out, s.out, 3, down ? 2 : 1, down ? c.downsample_padding : 1));
}

torch::Tensor UnetStage::step(std::int64_t number, const torch::Tensor& x_BCHW, const torch::Tensor& skip,
                              const torch::Tensor& time_BD, const torch::Tensor& text_BLD,
                              const torch::Tensor& seen_BL) const {
  const auto i = static_cast<std::size_t>(number);
  const torch::Tensor x = resnets_[i]->forward(
      skip.defined() ? torch::cat({x_BCHW, skip.to(x_BCHW.scalar_type())}, 1) : x_BCHW, time_BD);
  if (i < pixels_.size()) return pixels_[i]->forward(x);
  if (i < texts_.size()) return texts_[i]->forward(x, text_BLD, seen_BL);
  return x;
}

BlockModules UnetStage::modules_of_step(std::int64_t number) const {
  const auto i = static_cast<std::size_t>(number);
  BlockModules modules{resnets_[i]};
  if (i < pixels_.size()) modules.push_back(pixels_[i]);
  if (i < texts_.size()) modules.push_back(texts_[i]);
  return modules;
}

torch::Tensor UnetStage::halved(const torch::Tensor& x) const {
  return change_->forward(pads_behind_ ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

torch::Tensor UnetStage::enlarged(const torch::Tensor& x, at::IntArrayRef size) const {
  return change_->forward(at::upsample_nearest2d(x, size));
}

}  // namespace microdit::models
