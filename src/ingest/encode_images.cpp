// The codec's side of precompute: fixed batches per size, noise keyed by the picture's bytes.
#include "ingest/encode_images.h"

#include <torch/utils.h>

#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/seed.h"
#include "ingest/encode_rows.h"

namespace microdit::ingest {

ImageEncoder::ImageEncoder(const ImageRecipe& recipe, const encoders::ImageCodec& codec, torch::Device device)
    : recipe_(recipe), codec_(codec), device_(device) {
  for (const std::int64_t size : recipe.sizes) {
    const std::int64_t side = size / codec.downscale();
    columns_[size] = {
        fmt::format("latents_{}", size), core::DType::f16, {0, codec.channels(), side, side}, {}};
    batches_[size];
    added_[size] = 0;
  }
}

std::int32_t ImageEncoder::add(const image::Image& square, const std::string& name, std::uint64_t content) {
  const std::int64_t size = square.width;
  torch::Tensor pixels = torch::empty({size, size, 3}, torch::kUInt8);
  core::check(square.height == size && square.pixels.size() == static_cast<std::size_t>(pixels.numel()),
              "a picture of {} x {} pixels was prepared for {}", square.width, square.height, size);
  std::memcpy(pixels.mutable_data_ptr(), square.pixels.data(), square.pixels.size());
  const std::int32_t row = added_.at(size);
  torch::Tensor mirror = recipe_.flips ? pixels.flip(1) : torch::Tensor();
  push_kept(size, std::move(pixels), name, content);
  if (recipe_.flips) push_kept(size, std::move(mirror), name, ~content);  // noise of its own
  return row;
}

void ImageEncoder::push_kept(std::int64_t size, torch::Tensor&& pixels, const std::string& name,
                             std::uint64_t content) {
  Batch& batch = batches_.at(size);
  batch.kept.push_back(std::ssize(batch.pixels));
  batch.names.push_back(name);
  push(size, std::move(pixels), content);
  ++added_.at(size);
}

void ImageEncoder::keep_place(std::int64_t size) {
  for (std::int64_t i = 0; i < recipe_.samples_per_picture(); ++i)
    push(size, torch::zeros({size, size, 3}, torch::kUInt8), 0);
}

void ImageEncoder::push(std::int64_t size, torch::Tensor&& pixels, std::uint64_t content) {
  Batch& batch = batches_.at(size);
  batch.pixels.push_back(std::move(pixels));
  batch.contents.push_back(content);
  if (std::ssize(batch.pixels) == recipe_.batch_size) encode(size);
}

std::vector<store::Column> ImageEncoder::finish() {
  for (const auto& [size, batch] : batches_)
    if (!batch.pixels.empty()) encode(size);
  fetch();
  std::vector<store::Column> columns;
  for (auto& [size, column] : columns_) columns.push_back(std::move(column));
  return columns;
}

void ImageEncoder::encode(std::int64_t size) {
  const torch::NoGradGuard no_grad;
  Batch batch = std::exchange(batches_.at(size), {});
  torch::Tensor noise, pixels = torch::stack(batch.pixels);
  if (device_.is_cuda()) pixels = pixels.pin_memory().to(device_, /*non_blocking=*/true);
  if (recipe_.latent == "sample") noise = unit_noise(size, batch.contents).to(device_);
  Encoded next{size, codec_.encode(pixels, noise), {}, std::move(batch.names)};
  if (batch.kept.size() < batch.pixels.size())
    next.latents =
        next.latents.index_select(0, torch::tensor(batch.kept, torch::kInt64).to(next.latents.device()));
  next.half = next.latents.to(torch::kHalf);
  fetch();
  encoded_ = std::move(next);
}

void ImageEncoder::fetch() {
  if (!encoded_.half.defined()) return;
  const Encoded done = std::exchange(encoded_, {});
  const torch::Tensor half = done.half.to(torch::kCPU);
  check_fits(done.latents, half, columns_.at(done.size).name, done.names);
  append_rows(columns_.at(done.size), half);
}

torch::Tensor ImageEncoder::unit_noise(std::int64_t size, const std::vector<std::uint64_t>& contents) const {
  const std::int64_t side = size / codec_.downscale(), channels = codec_.channels();
  torch::Tensor noise = torch::empty({static_cast<std::int64_t>(contents.size()), channels, side, side});
  for (std::size_t i = 0; i < contents.size(); ++i) {
    core::CounterRng rng(static_cast<std::uint64_t>(recipe_.seed), core::Purpose::codec_sample, contents[i],
                         static_cast<std::uint64_t>(size));
    const torch::Tensor row = noise[static_cast<std::int64_t>(i)];
    rng.fill_normal({row.mutable_data_ptr<float>(), static_cast<std::size_t>(row.numel())});
  }
  return noise;
}

}  // namespace microdit::ingest
