// The encoders' side of precompute: fixed batches, fp16 with an overflow check, noise keyed by the sample.
#include "ingest/encode.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <cstring>

#include "core/error.h"
#include "core/hash.h"
#include "core/seed.h"
#include "image/resize.h"

namespace microdit::ingest {
namespace {

/// Appends a tensor's rows to a column as they lie in memory.
void append(store::Column& column, const torch::Tensor& rows) {
  const torch::Tensor packed = rows.contiguous();
  const auto* begin = static_cast<const std::byte*>(packed.const_data_ptr());
  column.bytes.insert(column.bytes.end(), begin, begin + packed.nbytes());
  if (column.shape.empty()) {
    column.shape = packed.sizes().vec();
  } else {
    column.shape[0] += packed.size(0);
  }
}

/// fp32 -> fp16 on the CPU; UserError when a value does not fit. `names` say whose row it is.
torch::Tensor to_half(const torch::Tensor& values, const std::string& what,
                      const std::vector<std::string>& names) {
  const torch::Tensor half = values.to(torch::kCPU).to(torch::kHalf);
  const torch::Tensor bad = half.isfinite().logical_not().flatten(1).any(1);
  if (bad.any().item<bool>()) {
    const auto row = bad.to(torch::kInt64).argmax().item<std::int64_t>();
    core::user_error("{} of '{}' do not fit into fp16 (largest {}): check the encoder and its scaling factor",
                     what, names[static_cast<std::size_t>(row)], values[row].abs().max().item<double>());
  }
  return half;
}

}  // namespace

Encoders load_encoders(const CatalogueEntry& entry, torch::Device device) {
  const LatentSection& latents = entry.latents;
  if (latents.codec.empty()) core::user_error("dataset {}: latents.codec names no folder", entry.name);
  if (latents.text_encoder.empty())
    core::user_error("dataset {}: latents.text_encoder names no folder", entry.name);
  at::set_num_threads(static_cast<int>(entry.threads_per_rank));
  Encoders loaded{encoders::load_image_codec(latents.codec),
                  encoders::load_text_encoder(latents.text_encoder), device};
  const std::int64_t downscale = loaded.codec->net().downscale();
  for (const std::int64_t size : latents.sizes) {
    if (size % downscale != 0) {
      core::user_error("dataset {}: latents.sizes: {} is no multiple of {}, the downscaling of {}",
                       entry.name, size, downscale, latents.codec);
    }
  }
  loaded.codec->to(device);
  loaded.text->to(device);
  return loaded;
}

LatentColumns::LatentColumns(const CatalogueEntry& entry, const Encoders& encoders)
    : entry_(entry), encoders_(encoders) {
  for (const std::int64_t size : entry.latents.sizes) {
    columns_[size].name = fmt::format("latents_{}", size);
    columns_[size].dtype = core::DType::f16;
  }
}

void LatentColumns::add(const image::Image& picture, const std::string& key) {
  for (const std::int64_t size : entry_.latents.sizes) {
    const image::Image square = image::resize_and_center_crop(picture, size);
    torch::Tensor pixels = torch::empty({size, size, 3}, torch::kUInt8);
    std::memcpy(pixels.mutable_data_ptr(), square.pixels.data(), square.pixels.size());
    batch_[size].push_back(pixels);
  }
  batch_keys_.push_back(key);
  if (static_cast<std::int64_t>(batch_keys_.size()) == entry_.latents.batch_size) encode_batch();
}

std::vector<store::Column> LatentColumns::finish() {
  if (!batch_keys_.empty()) encode_batch();
  std::vector<store::Column> columns;
  for (auto& [size, column] : columns_) columns.push_back(std::move(column));
  return columns;
}

void LatentColumns::encode_batch() {
  const torch::NoGradGuard no_grad;
  for (auto& [size, pictures] : batch_) {
    torch::Tensor noise;
    if (entry_.latents.codec_latent == "sample") noise = unit_noise(size).to(encoders_.device);
    const torch::Tensor latents = encoders_.codec->encode(torch::stack(pictures).to(encoders_.device), noise);
    append(columns_[size], to_half(latents, fmt::format("latents_{}", size), batch_keys_));
    pictures.clear();
  }
  batch_keys_.clear();
}

torch::Tensor LatentColumns::unit_noise(std::int64_t size) const {
  const std::int64_t side = size / encoders_.codec->net().downscale(),
                     channels = encoders_.codec->config().latent_channels;
  torch::Tensor noise = torch::empty({static_cast<std::int64_t>(batch_keys_.size()), channels, side, side});
  for (std::size_t i = 0; i < batch_keys_.size(); ++i) {
    core::CounterRng rng(static_cast<std::uint64_t>(entry_.latents.seed), core::Purpose::codec_sample,
                         core::xxh3_64(std::as_bytes(std::span(batch_keys_[i]))),
                         static_cast<std::uint64_t>(size));
    const torch::Tensor row = noise[static_cast<std::int64_t>(i)];
    rng.fill_normal({row.mutable_data_ptr<float>(), static_cast<std::size_t>(row.numel())});
  }
  return noise;
}

std::vector<store::Column> encode_captions(const CatalogueEntry& entry, const encoders::TextEncoder& text,
                                           const std::vector<std::string>& captions,
                                           const core::StopFlag& stop) {
  const torch::NoGradGuard no_grad;
  store::Column states{"text", core::DType::f16, {}, {}}, ids{"text_ids", core::DType::i32, {}, {}};
  const auto batch_size = static_cast<std::size_t>(entry.latents.batch_size);
  for (std::size_t begin = 0; begin < captions.size(); begin += batch_size) {
    if (stop.requested()) return {};
    const auto first = captions.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::vector<std::string> batch(
        first, first + static_cast<std::ptrdiff_t>(std::min(batch_size, captions.size() - begin)));
    const encoders::EncodedText encoded = text.encode(batch, entry.latents.text_length);
    append(states, to_half(encoded.states_BLD, "text latents", batch));
    append(ids, encoded.ids_BL.to(torch::kCPU).to(torch::kInt32));
  }
  return {std::move(states), std::move(ids)};
}

}  // namespace microdit::ingest
