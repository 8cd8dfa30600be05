// Pictures and captions through the frozen encoders, batch by batch, as fp16 columns.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "image/image.h"
#include "ingest/catalogue.h"
#include "store/shard.h"

namespace microdit::ingest {

/// The two frozen networks of an entry, on its device, with its thread count.
struct Encoders {
  std::shared_ptr<encoders::ImageCodec> codec;
  std::unique_ptr<encoders::TextEncoder> text;
  torch::Device device = torch::kCPU;
};
/// UserError: a folder that is missing or no encoder, a size that the codec cannot take.
Encoders load_encoders(const CatalogueEntry& entry, torch::Device device);

/// Turns pictures into the columns latents_<size> [n, C, h, w] f16, scaled. Batches are of fixed size from
/// the first picture on.
class LatentColumns {
 public:
  LatentColumns(const CatalogueEntry& entry, const Encoders& encoders);
  /// `key` names the picture in messages and keys its noise (codec_latent: sample).
  void add(const image::Image& picture, const std::string& key);
  /// The columns, sizes ascending.
  std::vector<store::Column> finish();

 private:
  void encode_batch();
  torch::Tensor unit_noise(std::int64_t size) const;
  const CatalogueEntry& entry_;
  const Encoders& encoders_;
  std::vector<std::string> batch_keys_;
  std::map<std::int64_t, std::vector<torch::Tensor>> batch_;  ///< size -> u8 [size, size, 3]
  std::map<std::int64_t, store::Column> columns_;
};

/// `text` f16 [u, L, D] and `text_ids` i32 [u, L] of the captions. Empty when `stop` was seen.
std::vector<store::Column> encode_captions(const CatalogueEntry& entry, const encoders::TextEncoder& text,
                                           const std::vector<std::string>& captions,
                                           const core::StopFlag& stop);

}  // namespace microdit::ingest
