// FID-Inception: torchvision's InceptionV3 (Szegedy et al. 2015) but for the pools of its mixed blocks, which average without the
// padded zeros, and that of the last one, which takes the maximum.
#include <torch/utils.h>

#include "core/error.h"
#include "score/conv_net.h"
#include "score/feature_net.h"

namespace microdit::score {
namespace {

using Branch = std::vector<const ConvNorm*>;

torch::Tensor run(const Branch& branch, torch::Tensor x) {
  for (const ConvNorm* layer : branch) x = (*layer)(x);
  return x;
}

torch::Tensor max_pool(const torch::Tensor& x_BCHW) {
  return at::max_pool2d(x_BCHW, {3, 3}, {2, 2});
}

enum class Pool { average, maximum };
torch::Tensor pool(const torch::Tensor& x_BCHW, Pool kind) {
  return kind == Pool::average
             ? at::avg_pool2d(x_BCHW, {3, 3}, {1, 1}, {1, 1}, false, /*count_include_pad=*/false)
             : at::max_pool2d(x_BCHW, {3, 3}, {1, 1}, {1, 1});
}

/// Branches side by side; `pooled` takes what the pool leaves, or the pool with stride 2 is one itself.
struct Mixed {
  std::vector<Branch> branches;
  /// Ends of each branch that split once more ({1, 3} and {3, 1}); empty: none.
  std::vector<std::vector<const ConvNorm*>> forks;
  Branch pooled;
  Pool kind = Pool::average;

  torch::Tensor operator()(const torch::Tensor& x) const {
    std::vector<torch::Tensor> parts;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      const torch::Tensor y = run(branches[i], x);
      if (i >= forks.size() || forks[i].empty())
        parts.push_back(y);
      else
        for (const ConvNorm* end : forks[i]) parts.push_back((*end)(y));
    }
    parts.push_back(pooled.empty() ? max_pool(x) : run(pooled, pool(x, kind)));
    return at::cat(parts, 1);
  }
};

/// Adds the layers of one block, each named after its block.
class Builder {
 public:
  Builder(ConvLayers& layers, std::string block) : layers_(layers), block_(std::move(block)) {}
  /// Keeps the picture's size.
  const ConvNorm* operator()(const std::string& name, std::int64_t in, std::int64_t out,
                             std::int64_t height = 1, std::int64_t width = 1) const {
    return layers_.add(layer(name, in, out, {height, width}, {height / 2, width / 2}, 1));
  }
  /// 3 x 3 without padding.
  const ConvNorm* valid(const std::string& name, std::int64_t in, std::int64_t out,
                        std::int64_t stride) const {
    return layers_.add(layer(name, in, out, {3, 3}, {0, 0}, stride));
  }

 private:
  ConvNorm layer(const std::string& name, std::int64_t in, std::int64_t out,
                 std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> padding,
                 std::int64_t stride) const {
    const std::string at = block_ + name;
    ConvNorm made{
        .conv = at + ".conv", .norm = at + ".bn", .in = in, .out = out, .kernel = kernel, .padding = padding};
    made.stride = stride;
    return made;
  }
  ConvLayers& layers_;
  std::string block_;
};

class Inception final : public FeatureNet {
 public:
  explicit Inception(std::int64_t dims) : layers_(0.001), dims_(dims) {
    const Builder stem(layers_, "");
    first_ = {stem.valid("Conv2d_1a_3x3", 3, 32, 2), stem.valid("Conv2d_2a_3x3", 32, 32, 1),
              stem("Conv2d_2b_3x3", 32, 64, 3, 3)};
    second_ = {stem("Conv2d_3b_1x1", 64, 80), stem.valid("Conv2d_4a_3x3", 80, 192, 1)};
    third_ = {mixed_a("Mixed_5b", 192, 32),  mixed_a("Mixed_5c", 256, 64),  mixed_a("Mixed_5d", 288, 64),
              mixed_b("Mixed_6a", 288),      mixed_c("Mixed_6b", 768, 128), mixed_c("Mixed_6c", 768, 160),
              mixed_c("Mixed_6d", 768, 160), mixed_c("Mixed_6e", 768, 192)};
    last_ = {mixed_d("Mixed_7a", 768), mixed_e("Mixed_7b", 1280, Pool::average),
             mixed_e("Mixed_7c", 2048, Pool::maximum)};
  }

  void load(const std::filesystem::path& weights) {
    layers_.load(nn::load_network(weights), {"fc.", "AuxLogits."}, weights.string());
  }
  std::map<std::string, std::vector<std::int64_t>> shapes() const { return layers_.shapes(); }
  std::int64_t dims() const override { return dims_; }
  std::int64_t input_size() const override { return 299; }
  void to(torch::Device device) override { layers_.to(device); }

  torch::Tensor forward(const torch::Tensor& x_BCHW) const override {
    torch::Tensor x = max_pool(run(first_, x_BCHW));
    if (dims_ > 64) x = max_pool(run(second_, x));
    if (dims_ > 192)
      for (const Mixed& block : third_) x = block(x);
    if (dims_ > 768)
      for (const Mixed& block : last_) x = block(x);
    return x.mean({2, 3});
  }

 private:
  Mixed mixed_a(const std::string& name, std::int64_t in, std::int64_t pooled) {
    const Builder add(layers_, name + ".");
    return {{{add("branch1x1", in, 64)},
             {add("branch5x5_1", in, 48), add("branch5x5_2", 48, 64, 5, 5)},
             {add("branch3x3dbl_1", in, 64), add("branch3x3dbl_2", 64, 96, 3, 3),
              add("branch3x3dbl_3", 96, 96, 3, 3)}},
            {},
            {add("branch_pool", in, pooled)}};
  }
  Mixed mixed_b(const std::string& name, std::int64_t in) {
    const Builder add(layers_, name + ".");
    return {{{add.valid("branch3x3", in, 384, 2)},
             {add("branch3x3dbl_1", in, 64), add("branch3x3dbl_2", 64, 96, 3, 3),
              add.valid("branch3x3dbl_3", 96, 96, 2)}},
            {},
            {}};
  }
  Mixed mixed_c(const std::string& name, std::int64_t in, std::int64_t c) {
    const Builder add(layers_, name + ".");
    return {
        {{add("branch1x1", in, 192)},
         {add("branch7x7_1", in, c), add("branch7x7_2", c, c, 1, 7), add("branch7x7_3", c, 192, 7, 1)},
         {add("branch7x7dbl_1", in, c), add("branch7x7dbl_2", c, c, 7, 1), add("branch7x7dbl_3", c, c, 1, 7),
          add("branch7x7dbl_4", c, c, 7, 1), add("branch7x7dbl_5", c, 192, 1, 7)}},
        {},
        {add("branch_pool", in, 192)}};
  }
  Mixed mixed_d(const std::string& name, std::int64_t in) {
    const Builder add(layers_, name + ".");
    return {{{add("branch3x3_1", in, 192), add.valid("branch3x3_2", 192, 320, 2)},
             {add("branch7x7x3_1", in, 192), add("branch7x7x3_2", 192, 192, 1, 7),
              add("branch7x7x3_3", 192, 192, 7, 1), add.valid("branch7x7x3_4", 192, 192, 2)}},
            {},
            {}};
  }
  Mixed mixed_e(const std::string& name, std::int64_t in, Pool kind) {
    const Builder add(layers_, name + ".");
    return {{{add("branch1x1", in, 320)},
             {add("branch3x3_1", in, 384)},
             {add("branch3x3dbl_1", in, 448), add("branch3x3dbl_2", 448, 384, 3, 3)}},
            {{},
             {add("branch3x3_2a", 384, 384, 1, 3), add("branch3x3_2b", 384, 384, 3, 1)},
             {add("branch3x3dbl_3a", 384, 384, 1, 3), add("branch3x3dbl_3b", 384, 384, 3, 1)}},
            {add("branch_pool", in, 192)},
            kind};
  }

  ConvLayers layers_;
  std::int64_t dims_;
  Branch first_, second_;
  std::vector<Mixed> third_, last_;
};

}  // namespace

std::map<std::string, std::vector<std::int64_t>> inception_shapes() {
  return Inception(2048).shapes();
}

std::unique_ptr<FeatureNet> load_inception(const std::filesystem::path& weights, std::int64_t dims) {
  if (is_torchscript(weights)) {
    if (dims != 2048)
      core::user_error("dims={}: {} is a TorchScript file, which gives 2048 features", dims,
                       weights.string());
    return load_scripted_inception(weights);
  }
  auto net = std::make_unique<Inception>(dims);
  net->load(weights);
  return net;
}

}  // namespace microdit::score
