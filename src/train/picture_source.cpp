// Decoding pictures for codec training.
#include "train/picture_source.h"

#include <numeric>

#include "core/error.h"
#include "core/seed.h"
#include "image/decode.h"
#include "image/resize.h"
#include "store/manifest.h"
#include "store/sample_hash.h"

namespace microdit::train {

PictureSource::PictureSource(const std::filesystem::path& folder, std::int64_t size, int split,
                             std::uint64_t seed, std::size_t cache_bytes)
    : size_(size), seed_(seed), room_(cache_bytes) {
  for (const store::ShardEntry& entry : store::Manifest::read(folder).shards()) {
    shards_.emplace_back(folder / entry.file);
    const auto& shard = shards_.back();
    const auto splits = shard.read_as<std::uint8_t>("split");
    // Once per start: a flipped bit must not become a training picture.
    const auto layout = store::layout_from_json(shard.attributes().at("layout"));
    const auto stored = shard.read_as<std::uint64_t>("xxh3");
    const auto found = store::hash_samples(shard, layout);
    for (std::size_t row = 0; row < splits.size(); ++row) {
      if (stored[row] != found[row]) {
        core::user_error(
            "{}: sample {} is damaged (its checksum differs); run `doctor verify {}` and make the shard anew",
            shard.path().string(), row, folder.string());
      }
      if (splits[row] == split) places_.push_back({shards_.size() - 1, static_cast<std::int64_t>(row)});
    }
  }
  if (places_.empty())
    core::user_error("{}: no pictures in split {}", folder.string(), split == 0 ? "train" : "held_out");
  cache_.resize(places_.size());
}

std::int64_t PictureSource::picture_at(std::int64_t position) {
  const std::int64_t epoch = position / num_pictures();
  if (epoch != epoch_) {
    epoch_ = epoch;
    order_.resize(places_.size());
    std::iota(order_.begin(), order_.end(), 0);
    core::CounterRng rng(seed_, core::Purpose::order, static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
  }
  return order_[static_cast<std::size_t>(position % num_pictures())];
}

image::Image PictureSource::load(const Place& place) const {
  const auto& shard = shards_[place.shard];
  const auto range = shard.read_as<std::int64_t>("image_offsets", place.row, 2);
  const auto bytes = shard.read("image", range[0], range[1] - range[0]);
  return image::resize_and_center_crop(image::decode(bytes), size_);
}

const image::Image& PictureSource::picture(std::int64_t i) {
  image::Image& cached = cache_[static_cast<std::size_t>(i)];
  if (!cached.pixels.empty()) return cached;
  image::Image loaded = load(places_[static_cast<std::size_t>(i)]);
  const std::size_t bytes = loaded.pixels.size();
  if (bytes > room_) {
    uncached_ = std::move(loaded);
    return uncached_;
  }
  room_ -= bytes;
  cached = std::move(loaded);
  return cached;
}

}  // namespace microdit::train
