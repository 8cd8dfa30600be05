// Decoding pictures for codec training.
#include "train/picture_source.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/seed.h"
#include "image/decode.h"
#include "image/resize.h"

namespace microdit::train {
namespace {

/// What clean was told of alpha, 16-bit grey and EXIF holds here, too.
image::DecodeRules rules_of(const core::Json& facts) {
  const core::Json pictures = facts.value("pictures", core::Json::object());
  image::DecodeRules rules;
  rules.drop_alpha = pictures.value("alpha", "white") == "drop";
  rules.clip_grey16 = pictures.value("grey16", "high") == "clip";
  rules.apply_exif = pictures.value("exif", "ignore") == "apply";
  return rules;
}

}  // namespace

PictureSource::PictureSource(const store::Manifest& samples, std::int64_t size, int split, std::uint64_t seed,
                             std::size_t cache_bytes)
    : size_(size), rules_(rules_of(samples.facts)), seed_(seed), room_(cache_bytes) {
  for (const store::ShardEntry& entry : samples.shards()) {
    shards_.push_back(samples.folder / entry.file);
    const auto splits = store::ShardReader(shards_.back()).read_as<std::uint8_t>("split");
    for (std::size_t row = 0; row < splits.size(); ++row) {
      if (splits[row] == split) places_.push_back({shards_.size() - 1, static_cast<std::int64_t>(row)});
    }
  }
  if (places_.empty())
    core::user_error("{}: no pictures in split {}", samples.folder.string(),
                     split == 0 ? "train" : "held_out");
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

const PictureSource::OpenShard& PictureSource::open(std::size_t number) {
  constexpr std::size_t kMostOpen = 64;
  const auto found = std::ranges::find(open_, number, &OpenShard::number);
  if (found != open_.end()) {
    open_.splice(open_.begin(), open_, found);
  } else {
    store::ShardReader reader(shards_[number]);
    auto layout = store::layout_from_json(reader.attributes().at("layout"));
    auto hashes = reader.read_as<std::uint64_t>("xxh3");
    open_.push_front({number, std::move(reader), std::move(layout), std::move(hashes), nullptr});
    open_.front().pictures = std::make_unique<store::ByteRows>(open_.front().reader, "image");
    if (open_.size() > kMostOpen) open_.pop_back();
  }
  return open_.front();
}

image::Image PictureSource::load(const Place& place) {
  const OpenShard& shard = open(place.shard);
  if (place.row >= std::ssize(shard.hashes) || place.row >= shard.pictures->size())
    core::user_error("{}: its columns have different numbers of rows; make the shard anew",
                     shard.reader.path().string());
  if (store::hash_sample(shard.reader, shard.layout, place.row) !=
      shard.hashes[static_cast<std::size_t>(place.row)]) {
    const auto& path = shard.reader.path();
    core::user_error(
        "{}: sample {} is damaged (its checksum differs); run `doctor verify {}` and make the shard anew",
        path.string(), place.row, path.parent_path().string());
  }
  return image::resize_and_center_crop(image::decode(shard.pictures->read(place.row), rules_), size_);
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
