// A denoiser of one's own: residual blocks of two convolutions, told the noise level and the mean of the caption's rows.
#include <models/check_condition.h>
#include <models/denoiser.h>
#include <models/drawn.h>
#include <nn/timestep.h>

#include <cmath>

using namespace microdit;

namespace own {
namespace {

/// The keys below `model:`.
struct ConvnetKeys : models::KindKeys {
  std::int64_t width = 64;
  std::int64_t depth = 4;

  void fields(core::Fields& f) override {
    f.field("width", width, {.min = 8, .max = 4096, .help = "channels of every block; an even number"});
    f.field("depth", depth, {.min = 1, .max = 256, .help = "blocks"});
    if (f.reading() && width % 2 != 0) f.error("width", "must be even");
  }
  std::shared_ptr<models::Denoiser> make(const models::DenoiserConfig& common) const override;
};

/// A 3 x 3 convolution that keeps the size. Parameters are drawn by initialize(), so they are left as memory is.
class Conv : public torch::nn::Module {
 public:
  Conv(std::int64_t in, std::int64_t out)
      : weight_(register_parameter("weight", torch::empty({out, in, 3, 3}))),
        bias_(register_parameter("bias", torch::empty({out}))) {}
  torch::Tensor forward(const torch::Tensor& x_BCHW) const {
    return at::conv2d(x_BCHW, weight_, bias_, 1, 1);
  }

 private:
  torch::Tensor weight_, bias_;
};

class Block : public torch::nn::Module {
 public:
  explicit Block(std::int64_t width)
      : first_(register_module("first", std::make_shared<Conv>(width, width))),
        second_(register_module("second", std::make_shared<Conv>(width, width))),
        modulation_(register_module("modulation", std::make_shared<nn::Linear>(width, 2 * width, true))) {}
  torch::Tensor forward(const torch::Tensor& x_BCHW, const torch::Tensor& told_BC) const {
    const auto scale_shift = modulation_->forward(told_BC).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
    const torch::Tensor h = first_->forward(at::silu(x_BCHW)) * (1 + scale_shift[0]) + scale_shift[1];
    return x_BCHW + second_->forward(at::silu(h));
  }

 private:
  std::shared_ptr<Conv> first_, second_;
  std::shared_ptr<nn::Linear> modulation_;
};

class Convnet : public models::Denoiser {
 public:
  Convnet(const models::DenoiserConfig& common, const ConvnetKeys& keys)
      : channels_(common.in_channels), text_width_(common.caption_channels) {
    time_ = register_module("time", std::make_shared<nn::TimestepEmbedder>(keys.width));
    text_ = register_module("text", std::make_shared<nn::Linear>(text_width_, keys.width, true));
    in_ = register_module("in", std::make_shared<Conv>(channels_, keys.width));
    out_ = register_module("out", std::make_shared<Conv>(keys.width, channels_));
    const auto list = register_module("blocks", std::make_shared<torch::nn::Module>());
    for (std::int64_t i = 0; i < keys.depth; ++i)
      blocks_.push_back(list->register_module(std::to_string(i), std::make_shared<Block>(keys.width)));
  }

  models::Prediction forward(
      const torch::Tensor& x_BCHW, const torch::Tensor& noise_label_B, const models::Condition& condition,
      const std::optional<models::Mask>& /*mask: supports_masking() says no*/) override {
    models::check_text(condition.text_BLD, x_BCHW.size(0), text_width_);
    const torch::Tensor told_BC =
        at::silu(time_->forward(noise_label_B) + text_->forward(condition.text_BLD.mean(1)));
    torch::Tensor x = in_->forward(x_BCHW);
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const auto call = [block = blocks_[i].get()](const std::vector<torch::Tensor>& in) {
        return block->forward(in[0], in[1]);
      };
      x = run_block(static_cast<std::int64_t>(i), call, {x, told_BC});
    }
    return {out_->forward(at::silu(x)), {}};
  }

  /// With their names, `sharding: full` and `recompute: blocks` go block by block.
  std::vector<models::BlockModules> blocks() const override {
    std::vector<models::BlockModules> all;
    for (const auto& block : blocks_) all.push_back({block});
    return all;
  }

  /// Rows of zeros: what dropped captions are in the data.
  models::Condition null_like(const models::Condition& condition) const override {
    return {.text_BLD = torch::zeros_like(condition.text_BLD)};
  }
  bool supports_masking() const override { return false; }
  std::int64_t patch_size() const override { return 1; }

  void initialize(std::uint64_t seed) override {
    models::draw_parameters(*this, seed, [](std::string_view name, const torch::Tensor& p) -> models::Rule {
      // A network that begins as zero, whose blocks change nothing yet.
      if (p.dim() == 1 || name.starts_with("out.") || name.find(".modulation.") != name.npos)
        return {models::Law::zeros};
      return {models::Law::uniform, std::sqrt(3.0 / static_cast<double>(p.numel() / p.size(0)))};
    });
  }

 private:
  std::int64_t channels_, text_width_;
  std::shared_ptr<nn::TimestepEmbedder> time_;
  std::shared_ptr<nn::Linear> text_;
  std::shared_ptr<Conv> in_, out_;
  std::vector<std::shared_ptr<Block>> blocks_;
};

std::shared_ptr<models::Denoiser> ConvnetKeys::make(const models::DenoiserConfig& common) const {
  return std::make_shared<Convnet>(common, *this);
}

}  // namespace

/// Named in CMakeLists.txt: microdit_programs(... DENOISERS own::convnet).
models::DenoiserKind convnet() {
  return {.name = "convnet", .takes = {.text = true}, .keys = [] { return std::make_shared<ConvnetKeys>(); }};
}

}  // namespace own
