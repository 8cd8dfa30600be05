// FID-Inception as a TorchScript file (clean-fid's). Such a file is a program: its source is read before torch sees it, and let in
// only where all that it calls computes on tensors.
#include <torch/script.h>

#include <algorithm>

#include "core/error.h"
#include "core/input_file.h"
#include "core/utf8.h"
#include "core/zip_directory.h"
#include "score/feature_net.h"
#include "score/zip_record.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

/// Of aten, as the source names them ("torch.conv2d"), each between blanks.
constexpr std::string_view kKnownOperators =
    " __and__ __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __or__ __range_length"
    " _convolution adaptive_avg_pool2d add add_ addmm affine_grid_generator append arange avg_pool2d"
    " batch_norm bool cat ceil chunk clamp clamp_ clone constant_pad_nd contiguous conv2d copy_ detach"
    " device dim div div_ dropout dropout_ empty eq expand expand_as eye fill_ flatten float floor"
    " floor_divide floordiv format full ge grid_sampler grid_sampler_2d gt int is_floating_point item le"
    " len linear linspace log_softmax lt masked_fill matmul max max_pool2d mean min mm mul mul_ narrow ne"
    " neg numel ones ones_like pad permute pow relu relu_ remainder repeat reshape round rsub"
    " scalar_tensor select size slice softmax split sqrt squeeze stack sub sub_ sum t tensor to transpose"
    " type_as unbind unsqueeze unsqueeze_ upsample_bilinear2d view warn zeros zeros_like ";

bool is_known(std::string_view name) {
  return kKnownOperators.find(fmt::format(" {} ", name)) != kKnownOperators.npos;
}

constexpr std::uint64_t kMostSource = 16 << 20;

[[noreturn]] void refuse(const fs::path& file, const std::string& what) {
  core::user_error(
      "{}: {}; pytorch-fid's pt_inception-2015-12-05-6726825d.pth holds the same network without a program",
      file.string(), what);
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/// The first call of something unknown, or "".
std::string unknown_call(std::string_view source) {
  for (std::size_t i = 0; i < source.size();) {
    std::size_t end = i;
    while (end < source.size() && is_word(source[end])) ++end;
    const std::string_view word = source.substr(i, end - i);
    const bool is_call = end < source.size() && source[end] == '(';
    if (word.starts_with("ops.") || (is_call && word.starts_with("torch.") && !is_known(word.substr(6))))
      return std::string(word);
    i = std::max(end, i + 1);
  }
  return "";
}

/// All calls of the file's source are among the known ones, and none runs while it is loaded.
void check_source(const fs::path& path) {
  const core::InputFile file(path);
  for (const auto& [name, record] : core::read_zip_directory(file)) {
    if (name.find("/code/") == name.npos || !name.ends_with(".py")) continue;
    std::string source;
    try {
      source = read_record(file, record, kMostSource);
    } catch (const core::UserError& wrong) {
      refuse(path, fmt::format("its source {}: {}", core::shortened(name, 100), wrong.what()));
    }
    if (source.find("__setstate__") != source.npos) refuse(path, "it runs a program while it is loaded");
    if (const std::string call = unknown_call(source); !call.empty())
      refuse(path, fmt::format("its program calls {}, which no Inception needs", core::shortened(call, 60)));
  }
}

class ScriptedInception final : public FeatureNet {
 public:
  explicit ScriptedInception(const fs::path& path) : path_(path) {
    check_source(path);
    try {
      module_ = torch::jit::load(path.string(), torch::kCPU);
      module_.eval();
      if (!module_.hasattr("layers"))
        refuse(path, "it has no part `layers`: not clean-fid's inception-2015-12-05.pt");
      layers_ = module_.attr("layers").toModule();
    } catch (const c10::Error& wrong) {
      refuse(path, "torch cannot load it: " + core::shortened(wrong.what_without_backtrace(), 300));
    }
  }
  std::int64_t dims() const override { return 2048; }
  std::int64_t input_size() const override { return 299; }
  void to(torch::Device device) override {
    module_.to(device);
    layers_ = module_.attr("layers").toModule();
  }
  torch::Tensor forward(const torch::Tensor& x_BCHW) const override {
    torch::jit::Module layers = layers_;
    const torch::Tensor features = layers.forward({x_BCHW}).toTensor();
    if (features.numel() != x_BCHW.size(0) * dims())
      refuse(path_, fmt::format("its layers give {} values, not 2048 features a picture", features.numel()));
    return features.reshape({x_BCHW.size(0), dims()}).to(torch::kFloat);
  }

 private:
  fs::path path_;
  torch::jit::Module module_, layers_;
};

}  // namespace

bool is_torchscript(const fs::path& path) {
  try {
    for (const auto& [name, record] : core::read_zip_directory(core::InputFile(path)))
      if (name.ends_with("/constants.pkl")) return true;
  } catch (const core::UserError&) {
    // no zip: another door says what is wrong
  }
  return false;
}

std::unique_ptr<FeatureNet> load_scripted_inception(const fs::path& weights) {
  return std::make_unique<ScriptedInception>(weights);
}

}  // namespace microdit::score
