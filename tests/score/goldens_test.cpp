// pytorch-fid's and clean-fid's own values, on pictures and weights that are made by rule (tests/eval/fid_reference.py).
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "core/json.h"
#include "core/seed.h"
#include "encoders/temporary_folder.h"
#include "image/resize.h"
#include "nn/state_dict.h"
#include "score/feature_net.h"
#include "score/frechet.h"
#include "score/input.h"

namespace microdit::score {
namespace {

const std::string kGoldens = MICRODIT_SOURCE_DIR "/tests/eval/goldens/fid";

const core::Json& facts() {
  static const core::Json json = core::read_json(kGoldens + ".json");
  return json;
}
const nn::StateDict& tensors() {
  static const nn::StateDict state = nn::load_tensors(kGoldens + ".safetensors");
  return state;
}

image::Image made_picture(std::int64_t index, std::int64_t height, std::int64_t width) {
  image::Image picture(height, width);
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        std::int64_t smooth = (index * 37 + x * (3 + index % 5) + y * (2 + index % 3) + c * 61) % 511;
        smooth = std::min(smooth, 510 - smooth);
        const std::int64_t edges =
            ((x / (5 + index % 4) + y / 7 + c) % 2) * ((x * y * (1 + index) + 13 * c) % 97);
        picture.row(y)[x * 3 + c] = static_cast<std::uint8_t>(
            std::clamp<std::int64_t>((2 * smooth + edges) / 3 + index * 5 % 41, 0, 255));
      }
  return picture;
}

image::Image golden_picture(std::int64_t index) {
  const core::Json& size = facts().at("sizes").at(static_cast<std::size_t>(index % 5));
  return made_picture(index, size.at(0), size.at(1));
}

/// The k-th name in byte order: v = 2 u - 1 of the stream a = k.
nn::StateDict made_weights() {
  auto shapes = inception_shapes();
  shapes["fc.weight"] = {1008, 2048};
  shapes["fc.bias"] = {1008};
  nn::StateDict made;
  std::uint64_t k = 0;
  for (const auto& [name, shape] : shapes) {
    torch::Tensor v =
        2 * nn::counter_uniform(shape, 7, static_cast<std::uint32_t>(core::Purpose::init), k++) - 1;
    if (name.ends_with("running_var"))
      v = 1 + 0.5F * v;
    else if (shape.size() == 1)
      v = 0.25F * v + (name.ends_with("bn.weight") ? 1.F : 0.F);
    else
      v = v * static_cast<float>(std::sqrt(6.0 / static_cast<double>(v[0].numel())));
    made[name] = v;
  }
  return made;
}

const std::filesystem::path& weights_file() {
  static const encoders::TemporaryFolder folder;
  static const std::filesystem::path file = [] {
    const auto path = folder.path() / "inception.safetensors";
    nn::save_tensors(path, made_weights());
    return path;
  }();
  return file;
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

Gaussian golden(const std::string& name, const char* side) {
  const std::string at = "distance." + name + ".";
  return {2, tensors().at(at + "mu" + side).to(torch::kDouble),
          tensors().at(at + "sigma" + side).to(torch::kDouble)};
}

TEST(Goldens, distances) {
  for (const core::Json& one : facts().at("distances")) {
    const std::string name = one.at("name");
    const double found = frechet_distance(golden(name, "1"), golden(name, "2"));
    const double exact = one.at("exact"), sqrtm = one.at("sqrtm");
    const bool regular = name == "full_rank" || name == "diagonal" || name.starts_with("zero") ||
                         name == "both_zero" ||
                         name == "one_dimension";  // the others: scipy and eigh differ by 3e-7
    EXPECT_NEAR(found, sqrtm, (regular ? 1e-11 : 1e-6) * std::max(1.0, sqrtm)) << name;
    EXPECT_NEAR(found, exact, (regular ? 1e-11 : 1e-6) * std::max(1.0, exact)) << name;
  }
}

TEST(Goldens, resizes) {
  for (const core::Json& one : facts().at("resized")) {
    const std::int64_t index = one.at("index");
    const image::Image picture = made_picture(index, one.at("height"), one.at("width"));
    for (const std::string name : {"clean", "pytorch_fid"}) {
      const torch::Tensor some = tensors().at(fmt::format("resize.{}.{}.some", index, name));
      const bool clean = name == "clean";
      const torch::Tensor x = network_input(picture, 299, clean ? "clean_fid" : "pytorch_fid", "inception");
      const torch::Tensor values = clean ? x * 128 + 128 : (x + 1) / 2;
      const torch::Tensor found =
          values.permute({1, 2, 0}).flatten().slice(0, 0, c10::nullopt, facts().at("stride"));
      EXPECT_LE((found - some).abs().max().item<double>(), clean ? 2e-4 : 2e-6) << index << " " << name;
    }
    const torch::Tensor small = tensors().at(fmt::format("resize.{}.clean.small", index));
    std::vector<float> values = image::resize_bicubic_exact(picture, 13, 11);
    const torch::Tensor found = torch::from_blob(values.data(), {11, 13, 3}, torch::kFloat).clamp(0, 255);
    EXPECT_LE((found - small).abs().max().item<double>(), 1e-4) << index;
  }
}

TEST(Goldens, features_of_every_depth) {
  const torch::NoGradGuard no_grad;
  for (const std::int64_t dims : {64, 192, 768, 2048}) {
    const auto net = load_inception(weights_file(), dims);
    EXPECT_EQ(net->dims(), dims);
    const torch::Tensor golden = tensors().at(fmt::format("features.{}", dims));
    for (std::int64_t i = 0; i < 3; ++i) {
      const torch::Tensor x = network_input(golden_picture(i), 299, "pytorch_fid", "inception");
      EXPECT_LE(difference(net->forward(x.unsqueeze(0))[0], golden[i]), 1e-5)
          << dims << " features of picture " << i;
    }
  }
}

Gaussian folder(const FeatureNet& net, const core::Json& range, const std::string& resize) {
  Moments moments(net.dims());
  const std::int64_t first = range.at(0), count = range.at(1);
  std::vector<torch::Tensor> inputs;
  for (std::int64_t i = first; i < first + count; ++i)
    inputs.push_back(network_input(golden_picture(i), 299, resize, "inception"));
  moments.add(net.forward(at::stack(inputs)));
  return moments.gaussian();
}

TEST(Goldens, distances_of_folders) {
  const torch::NoGradGuard no_grad;
  const auto net = load_inception(weights_file(), 2048);
  for (const core::Json& one : facts().at("folder_distances")) {
    const std::string name = one.at("name");
    if (name == "legacy_pytorch") continue;  // pytorch_fid but for rounding
    const std::string resize = name == "clean" ? "clean_fid" : "pytorch_fid";
    const double found = frechet_distance(folder(*net, facts().at("folders").at("first"), resize),
                                          folder(*net, facts().at("folders").at("second"), resize));
    EXPECT_NEAR(found, one.at("sqrtm").get<double>(), 1e-3) << name;
  }
}

}  // namespace
}  // namespace microdit::score
