// Latents shards -> batches. The order is a pure function of (seed, epoch, position): no state but a position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace microdit::stream {

struct SourceConfig {
  std::filesystem::path folder;  ///< latents/NAME, complete (has manifest.jsonl)
  double proportion =
      1;  ///< relative to the other sources; sources of equal density when all are 0 (by size)
};

struct StreamConfig {
  std::vector<SourceConfig> sources;
  std::int64_t size = 0;        ///< picture side in pixels: column latents_<size>
  std::string split = "train";  ///< train | held_out
  std::vector<std::string>
      caption_sources;      ///< which captions may be chosen (uniformly); empty = all of the sample
  double caption_drop = 0;  ///< probability of the null condition (zero rows)
  bool shuffle = true;      ///< false: position p is sample p (evaluation)
  std::uint64_t seed = 0;
  std::int64_t threads = 2;  ///< prefetch threads
  bool verify = true;        ///< check each sample's xxh3 on reading
};

/// What all sources agree on (UserError when they do not): from the manifests.
struct StreamFacts {
  std::int64_t channels = 0;
  std::int64_t latent_size = 0;
  std::int64_t text_length = 0;
  std::int64_t text_width = 0;
  core::Json facts;  ///< the first manifest's whole facts
};

/// One batch in host memory: fp16 values.
struct Batch {
  std::int64_t count = 0;
  std::vector<std::uint16_t> latents;  ///< count x C x h x w, scaled
  std::vector<std::uint16_t> text;     ///< count x L x D; dropped captions are zero
  std::vector<std::int64_t> sample;  ///< global sample index of each row (over all sources, in folder order)
  std::vector<std::int64_t> position;  ///< stream position of each row
  std::vector<std::string>
      captions;  ///< the chosen caption's text; empty when dropped. Filled only if asked for.
};

/// The split has no samples in any of the folders.
class EmptySplit : public core::UserError {
 public:
  using core::UserError::UserError;
};

class LatentStream {
 public:
  /// Reads each folder's offset index once (rank-independent). UserError: incomplete folder, missing column; EmptySplit. A
  /// folder without samples of the split is an error where proportions are given.
  explicit LatentStream(const StreamConfig& config);
  ~LatentStream();

  const StreamFacts& facts() const;
  std::int64_t num_samples() const;  ///< of the split, all sources

  /// Sample index that position p of the infinite stream shows: a permutation per epoch, keyed by (seed,
  /// epoch); several sources interleave by proportion. O(1) memory per call (format-preserving permutation).
  std::int64_t sample_at(std::int64_t position) const;

  /// Reads positions [first, first + count) now.
  Batch read(std::int64_t first, std::int64_t count, bool with_captions = false) const;

  /// Announces the slices that next() will return: from `first`, each `count` rows, then `stride` further on
  /// (global batch = stride; a rank's slice = its `count` rows). Prefetch threads keep `depth` slices ready.
  void start(std::int64_t first, std::int64_t count, std::int64_t stride, std::int64_t depth = 4);
  /// The next announced slice, equal to read() of its positions. An error of a thread is thrown here.
  Batch next();
  /// Gives a used batch's memory back, so that next() need not allocate. Optional; after start().
  void recycle(Batch&& used);
  /// Seconds next() waited for data since start().
  double waited_s() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace microdit::stream
