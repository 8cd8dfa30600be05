// Prepared pictures through the frozen codec, batch by batch, as fp16 columns.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "encoders/image_codec.h"
#include "image/image.h"
#include "ingest/recipe.h"
#include "store/shard.h"

namespace microdit::ingest {

/// Turns pictures into the columns latents_<size> f16 [n_size, C, h, w], scaled. Batches are of fixed size from the first
/// picture of a size on, the last one shorter: a row's bits depend on its picture, its place among the pictures of its size
/// and their number, so not on who prepared them and when. Whether they depend on the neighbours in its batch is up to the
/// kernels; a picture that could not be prepared here therefore keeps its place. On a GPU the host fetches a batch only
/// after it has begun the next one.
class ImageEncoder {
 public:
  ImageEncoder(const ImageRecipe& recipe, const encoders::ImageCodec& codec, torch::Device device);
  /// `square` is size x size. `name` is for messages, `content` (a hash of the picture's bytes) keys its noise
  /// (latent: sample). Returns its row in latents_<size>; with `flips` the row after it is its mirror image's.
  std::int32_t add(const image::Image& square, const std::string& name, std::uint64_t content);
  /// The place of a picture of this size that there is no square of: a black one goes through the codec (with `flips` two), and
  /// its latents become no row.
  void keep_place(std::int64_t size);
  /// The columns, sizes ascending.
  std::vector<store::Column> finish();

 private:
  struct Batch {
    std::vector<torch::Tensor> pixels;  ///< u8 [size, size, 3]
    std::vector<std::uint64_t> contents;
    std::vector<std::int64_t> kept;  ///< places whose latents become rows
    std::vector<std::string> names;  ///< of these
  };
  struct Encoded {
    std::int64_t size = 0;
    torch::Tensor latents, half;
    std::vector<std::string> names;
  };
  void push(std::int64_t size, torch::Tensor&& pixels, std::uint64_t content);
  void push_kept(std::int64_t size, torch::Tensor&& pixels, const std::string& name, std::uint64_t content);
  void encode(std::int64_t size);
  void fetch();
  torch::Tensor unit_noise(std::int64_t size, const std::vector<std::uint64_t>& contents) const;
  const ImageRecipe& recipe_;
  const encoders::ImageCodec& codec_;
  torch::Device device_;
  std::map<std::int64_t, Batch> batches_;
  std::map<std::int64_t, store::Column> columns_;
  std::map<std::int64_t, std::int32_t> added_;
  Encoded encoded_;
};

}  // namespace microdit::ingest
