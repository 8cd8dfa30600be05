// Networks that turn pictures into the features that distances are taken of.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace microdit::score {

class FeatureNet {
 public:
  virtual ~FeatureNet() = default;
  virtual std::int64_t dims() const = 0;
  virtual std::int64_t input_size() const = 0;
  /// fp32 [B, 3, S, S], scaled as the network wants it -> fp32 [B, dims].
  virtual torch::Tensor forward(const torch::Tensor& x_BCHW) const = 0;
  virtual void to(torch::Device device) = 0;
};

/// FID-Inception (1008 classes; TensorFlow's of 2015-12-05), features of pool3 (2048) or, as pytorch-fid's --dims, of its earlier
/// blocks (768, 192, 64), averaged over the picture. `weights`: pytorch-fid's state dict by torchvision's names, in any
/// container that core/weights_file.h reads; or clean-fid's TorchScript (2048 alone).
std::unique_ptr<FeatureNet> load_inception(const std::filesystem::path& weights, std::int64_t dims);
/// Name -> shape of every tensor that its state dict must have.
std::map<std::string, std::vector<std::int64_t>> inception_shapes();
/// EfficientNet-Lite0 by the names of efficientnet_lite_pytorch: 1280 features behind the head's activation, averaged.
std::unique_ptr<FeatureNet> load_efficientnet_lite0(const std::filesystem::path& weights);
/// MobileNetV2 by torchvision's names: 1280 features likewise.
std::unique_ptr<FeatureNet> load_mobilenet_v2(const std::filesystem::path& weights);
/// A scripted FID-Inception with `layers`, as NVIDIA published it. Only operators that compute are let run. UserError names others.
std::unique_ptr<FeatureNet> load_scripted_inception(const std::filesystem::path& weights);
/// Whether the file is a TorchScript archive.
bool is_torchscript(const std::filesystem::path& file);

}  // namespace microdit::score
