// Pictures of a samples folder, decoded at one size, in an order that is a function of (seed, epoch, position).
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <vector>

#include "image/decode.h"
#include "store/byte_rows.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard.h"

namespace microdit::train {

class PictureSource {
 public:
  /// `split`: 0 train, 1 held out. Pictures are kept decoded up to `cache_bytes`; beyond that they are
  /// decoded anew each time. UserError: no pictures in the split.
  PictureSource(const store::Manifest& samples, std::int64_t size, int split, std::uint64_t seed,
                std::size_t cache_bytes = std::size_t{2} << 30);

  std::int64_t num_pictures() const { return static_cast<std::int64_t>(places_.size()); }
  /// Which picture stream position `position` shows: a fresh shuffle per epoch.
  std::int64_t picture_at(std::int64_t position);
  /// Picture i at size x size. UserError (file, sample) when it is damaged.
  const image::Image& picture(std::int64_t i);

 private:
  struct Place {
    std::size_t shard;
    std::int64_t row;
  };
  struct OpenShard {
    std::size_t number;
    store::ShardReader reader;
    store::SampleLayout layout;
    std::vector<std::uint64_t> hashes;  ///< of its samples
    std::unique_ptr<store::ByteRows> pictures;
  };
  const OpenShard& open(std::size_t number);
  image::Image load(const Place& place);

  std::int64_t size_;
  image::DecodeRules rules_;
  std::uint64_t seed_;
  std::size_t room_;
  std::vector<std::filesystem::path> shards_;
  std::list<OpenShard> open_;  ///< most recently used first
  std::vector<Place> places_;
  std::vector<image::Image> cache_;  ///< empty image = not cached
  image::Image uncached_;
  std::int64_t epoch_ = -1;
  std::vector<std::int32_t> order_;  ///< of epoch_
};

}  // namespace microdit::train
