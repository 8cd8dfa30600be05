// x_t = alpha x0 + sigma n of a picture's pixels in [-1, 1].
#include "explain/strips.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/error.h"
#include "diffusion/noise.h"
#include "explain/levels.h"
#include "image/canvas.h"
#include "image/decode.h"
#include "image/resize.h"
#include "image/sheet.h"

namespace microdit::explain {
namespace {

constexpr std::int64_t kSide = 176;  // pixels
constexpr std::int64_t kStates = 8;
constexpr std::uintmax_t kMostBytes = 256UL << 20;  // of a file with a picture

/// HWC pixels as [1, 3, H, W] in [-1, 1], and back.
torch::Tensor to_tensor(const image::Image& picture) {
  torch::Tensor pixels = torch::empty({picture.height, picture.width, 3}, torch::kByte);
  std::ranges::copy(picture.pixels, pixels.data_ptr<std::uint8_t>());
  return pixels.permute({2, 0, 1}).unsqueeze(0).to(torch::kDouble).div(127.5).sub(1);
}

image::Image to_picture(const torch::Tensor& x) {
  const torch::Tensor pixels =
      x[0].permute({1, 2, 0}).add(1).mul(127.5).round().clamp(0, 255).to(torch::kByte).contiguous();
  image::Image picture(pixels.size(0), pixels.size(1));
  std::copy_n(pixels.data_ptr<std::uint8_t>(), picture.pixels.size(), picture.pixels.begin());
  return picture;
}

}  // namespace

image::Image test_card(std::int64_t side) {
  constexpr double kUnits = 100;  // the drawing's own
  const double unit = static_cast<double>(side) / kUnits;
  image::Canvas canvas(side, side);
  const image::Box all{0, 0, side, side};
  const auto disc = [&](double x, double y, double diameter, image::Color color) {
    canvas.line({{x * unit, y * unit}}, color, diameter * unit, all);
  };
  const auto stroke = [&](std::vector<image::Point> points, image::Color color, double width) {
    for (image::Point& point : points) point = {point.x * unit, point.y * unit};
    canvas.line(points, color, width * unit, all);
  };
  for (std::int64_t y = 0; y < side; ++y) {  // the sky: blue to peach
    const double down = static_cast<double>(y) / static_cast<double>(side);
    const auto mix = [&](int from, int to) {
      return static_cast<std::uint8_t>(std::lround(from + (to - from) * std::min(1.0, down * 1.5)));
    };
    canvas.fill({0, y, side, 1}, {mix(70, 255), mix(140, 205), mix(215, 160)});
  }
  disc(76, 24, 22, {255, 226, 90});
  for (const auto& [x, y, size] :
       {std::array{18., 20., 11.}, {26., 16., 15.}, {35., 20., 11.}, {27., 22., 12.}})
    disc(x, y, size, {250, 250, 252});
  disc(20, 118, 110, {92, 140, 96});
  disc(88, 128, 120, {62, 112, 82});
  disc(46, 150, 130, {120, 168, 84});
  const image::Color wall{236, 226, 205}, roof{176, 58, 46}, trunk{98, 68, 44}, door{74, 92, 132};
  canvas.fill(
      {std::lround(30 * unit), std::lround(66 * unit), std::lround(28 * unit), std::lround(22 * unit)}, wall);
  for (double i = 0; i <= 13; i += 0.5) stroke({{44 - i * 1.35, 52 + i}, {44 + i * 1.35, 52 + i}}, roof, 1.4);
  canvas.fill({std::lround(40 * unit), std::lround(74 * unit), std::lround(8 * unit), std::lround(14 * unit)},
              door);
  canvas.fill({std::lround(33 * unit), std::lround(71 * unit), std::lround(5 * unit), std::lround(5 * unit)},
              {252, 216, 110});
  canvas.fill({std::lround(50 * unit), std::lround(71 * unit), std::lround(5 * unit), std::lround(5 * unit)},
              {252, 216, 110});
  stroke({{78, 66}, {78, 86}}, trunk, 3.5);
  for (const auto& [x, y, size] :
       {std::array{78., 54., 20.}, {70., 62., 15.}, {86., 62., 15.}, {78., 62., 16.}})
    disc(x, y, size, {44, 92, 58});
  stroke({{8, 92}, {92, 92}}, {242, 238, 226}, 1.2);  // a fence
  for (double x = 10; x < 92; x += 6) stroke({{x, 88}, {x, 97}}, {242, 238, 226}, 1.2);
  return canvas.image();
}

image::Image read_picture(const std::string& file) {
  if (file.empty()) return test_card(kSide);
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none))
    core::user_error("picture={}: {}", file,
                     std::filesystem::exists(file, none) ? "is no file" : "no such file");
  if (const auto size = std::filesystem::file_size(file); size > kMostBytes)
    core::user_error("picture={}: {} MB; at most {} are read", file, size >> 20, kMostBytes >> 20);
  const std::string bytes = core::read_text(file);
  try {
    return image::resize_and_center_crop(image::decode(std::as_bytes(std::span(bytes)), {.apply_exif = true}),
                                         kSide);
  } catch (const image::BadImage& error) {
    core::user_error("picture={}: {}", file, error.what());
  }
}

Chapter strips_chapter(const image::Image& picture, const std::string& whose, std::uint64_t seed) {
  const torch::Tensor x0 = to_tensor(picture);
  const diffusion::NoiseKey key{.seed = seed};
  const torch::Tensor noise =
      diffusion::normal_rows({&key, 1}, core::Purpose::noise, {3, picture.height, picture.width})
          .to(torch::kDouble);
  Chapter chapter{.title = "A picture on its way to noise",
                  .words =
                      "<p>The same picture and the same noise under every path. Some are noise long before "
                      "their end, some keep the "
                      "picture long: a network then spends its training there.</p>\n"};
  image::Section section;
  for (std::int64_t i = 0; i < kStates; ++i)
    section.heads.push_back(fmt::format("{:.0f} %", 100.0 * static_cast<double>(i) / (kStates - 1)));
  for (const std::string& path : diffusion::all_names(&diffusion::Family::paths)) {
    image::Block block{.pictures = {}, .caption = path};
    for (const diffusion::Moment& moment : along(objective_of(path), kStates)) {
      const auto& [alpha, sigma] = moment.level;
      const double size = std::sqrt(alpha * alpha + sigma * sigma);
      block.pictures.push_back(to_picture((alpha * x0 + sigma * noise) / size));
      chapter.numbers[path].push_back({{"time", moment.time}, {"alpha", alpha}, {"sigma", sigma}});
    }
    section.blocks.push_back(std::move(block));
  }
  chapter.figures.push_back(
      {"strips",
       fmt::format("{}, time from left to right. Each state is divided by the root of alpha^2 + sigma^2, "
                   "else edm's noise would be "
                   "out of all range; of vp_* and DDPM's schedules that is 1.",
                   whose),
       image::sheet({section},
                    {.columns = 1, .caption_left = true, .cell = kSide / kScale, .scale = kScale})});
  return chapter;
}

}  // namespace microdit::explain
