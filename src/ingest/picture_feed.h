// The pictures of a samples shard, decoded and resized ahead by worker processes, taken in row order.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "ingest/picture_worker.h"
#include "ingest/recipe.h"
#include "ingest/samples_shard.h"

namespace microdit::ingest {

/// Whether a picture was stopped, or its worker met the limits of time and memory or died: that is no matter of what the
/// picture is.
bool gave_out(const PictureResult& result);

class PictureFeed {
 public:
  struct Picture {
    std::int64_t row = 0;
    std::uint64_t content = 0;  ///< xxh3 of its bytes
    PictureResult
        prepared;  ///< one square per size of the recipe; empty where the size is left out; or it gave out, twice
  };

  /// Begins with the first pictures at once.
  PictureFeed(const SamplesShard& shard, const ImageRecipe& recipe, PicturePool& pool);
  /// The next row's picture; only while there is one. One that gave out is tried once more, alone in a new process.
  /// UserError when it is not what clean found.
  Picture next();

 private:
  struct Pending {
    std::int64_t row = 0;
    std::vector<std::byte> bytes;  ///< where the worker reads them
    PictureFuture result;
  };
  void fill();
  const SamplesShard& shard_;
  const ImageRecipe& recipe_;
  PicturePool& pool_;
  std::int64_t begun_ = 0;
  std::deque<Pending> pending_;
};

}  // namespace microdit::ingest
