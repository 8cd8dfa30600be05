// EfficientNet-Lite0 (Tan and Le 2019, its lite builder) and MobileNetV2 (Sandler et al. 2018): inverted residuals with ReLU6.
#include <fmt/format.h>
#include <torch/utils.h>

#include "score/conv_net.h"
#include "score/feature_net.h"

namespace microdit::score {
namespace {

/// A row of the papers' tables: `repeats` blocks, the first with the stride.
struct Stage {
  std::int64_t expansion, out, repeats, stride, kernel;
};
constexpr Stage kLite0[] = {{1, 16, 1, 1, 3},  {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3},
                            {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}};
constexpr Stage kV2[] = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3},  {6, 32, 3, 2, 3}, {6, 64, 4, 2, 3},
                         {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3}, {6, 320, 1, 1, 3}};
constexpr std::int64_t kStem = 32, kHead = 1280, kInput = 224;

struct Block {
  std::vector<const ConvNorm*> layers;
  bool skip = false;
};

/// What the two differ in.
struct Names {
  bool same;  ///< TensorFlow's padding
  double norm_eps;
  std::pair<std::string, std::string> stem, head;  ///< convolution and norm
  /// Of block `index` (from 0): expansion (if it has one), depthwise, projection.
  std::vector<std::pair<std::string, std::string>> (*block)(std::int64_t index, bool expands);
  std::string unused;
};

class MobileNet final : public FeatureNet {
 public:
  MobileNet(const Names& names, std::span<const Stage> stages) : names_(names), layers_(names.norm_eps) {
    stem_ = add(names.stem, 3, kStem, 3, 2, 1, Activation::relu6);
    std::int64_t in = kStem, index = 0;
    for (const Stage& stage : stages)
      for (std::int64_t i = 0; i < stage.repeats; ++i, in = stage.out)
        blocks_.push_back(
            block(names.block(index++, stage.expansion > 1), stage, in, i == 0 ? stage.stride : 1));
    head_ = add(names.head, in, kHead, 1, 1, 1, Activation::relu6);
  }

  void load(const std::filesystem::path& weights) {
    layers_.load(nn::load_network(weights), {names_.unused}, weights.string());
  }
  std::int64_t dims() const override { return kHead; }
  std::int64_t input_size() const override { return kInput; }
  void to(torch::Device device) override { layers_.to(device); }

  torch::Tensor forward(const torch::Tensor& x_BCHW) const override {
    torch::Tensor x = (*stem_)(x_BCHW);
    for (const Block& block : blocks_) {
      torch::Tensor y = x;
      for (const ConvNorm* layer : block.layers) y = (*layer)(y);
      x = block.skip ? x + y : y;
    }
    return (*head_)(x).mean({2, 3});
  }

 private:
  const ConvNorm* add(const std::pair<std::string, std::string>& names, std::int64_t in, std::int64_t out,
                      std::int64_t kernel, std::int64_t stride, std::int64_t groups, Activation activation) {
    ConvNorm layer{
        .conv = names.first, .norm = names.second, .in = in, .out = out, .kernel = {kernel, kernel}};
    layer.stride = stride;
    layer.groups = groups;
    layer.same = names_.same;
    if (!names_.same) layer.padding = {kernel / 2, kernel / 2};
    layer.activation = activation;
    return layers_.add(layer);
  }
  Block block(const std::vector<std::pair<std::string, std::string>>& names, const Stage& stage,
              std::int64_t in, std::int64_t stride) {
    const std::int64_t wide = in * stage.expansion;
    Block block{{}, stride == 1 && in == stage.out};
    auto name = names.begin();
    if (stage.expansion > 1) block.layers.push_back(add(*name++, in, wide, 1, 1, 1, Activation::relu6));
    block.layers.push_back(add(*name++, wide, wide, stage.kernel, stride, wide, Activation::relu6));
    block.layers.push_back(add(*name, wide, stage.out, 1, 1, 1, Activation::none));
    return block;
  }

  Names names_;
  ConvLayers layers_;
  const ConvNorm *stem_ = nullptr, *head_ = nullptr;
  std::vector<Block> blocks_;
};

std::vector<std::pair<std::string, std::string>> lite_block(std::int64_t index, bool expands) {
  const std::string at = fmt::format("_blocks.{}.", index);
  std::vector<std::pair<std::string, std::string>> names;
  if (expands) names.emplace_back(at + "_expand_conv", at + "_bn0");
  names.emplace_back(at + "_depthwise_conv", at + "_bn1");
  names.emplace_back(at + "_project_conv", at + "_bn2");
  return names;
}

std::vector<std::pair<std::string, std::string>> v2_block(std::int64_t index, bool expands) {
  const std::string at = fmt::format("features.{}.conv.", index + 1);
  std::vector<std::pair<std::string, std::string>> names;
  int number = 0;
  for (; number < (expands ? 2 : 1); ++number)
    names.emplace_back(fmt::format("{}{}.0", at, number), fmt::format("{}{}.1", at, number));
  names.emplace_back(fmt::format("{}{}", at, number), fmt::format("{}{}", at, number + 1));
  return names;
}

}  // namespace

std::unique_ptr<FeatureNet> load_efficientnet_lite0(const std::filesystem::path& weights) {
  auto net = std::make_unique<MobileNet>(
      Names{true, 1e-3, {"_conv_stem", "_bn0"}, {"_conv_head", "_bn1"}, lite_block, "_fc."}, kLite0);
  net->load(weights);
  return net;
}

std::unique_ptr<FeatureNet> load_mobilenet_v2(const std::filesystem::path& weights) {
  auto net = std::make_unique<MobileNet>(Names{false,
                                               1e-5,
                                               {"features.0.0", "features.0.1"},
                                               {"features.18.0", "features.18.1"},
                                               v2_block,
                                               "classifier."},
                                         kV2);
  net->load(weights);
  return net;
}

}  // namespace microdit::score
