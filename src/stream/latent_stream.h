// Sources of latents -> batches. The order is a pure function of (seed, epoch, position): no state but a position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "stream/caption_choice.h"
#include "stream/host_buffer.h"
#include "stream/latents_source.h"
#include "stream/row_source.h"

namespace microdit::stream {

struct SourceConfig {
  std::filesystem::path folder;  ///< latents/NAME/RECIPE, complete
  double proportion =
      1;  ///< relative to the other sources; sources of equal density when all are 0 (by size)
  std::int64_t min_side = 0;    ///< only pictures whose shorter side has so many pixels
  std::int64_t limit = 0;       ///< only the first so many samples; 0 = all
  std::int64_t generation = 0;  ///< of the folder; 0 = the newest
  /// So many made-up samples instead of a folder's, of the shape of the first source that has one, else of this.
  std::int64_t synthetic = 0;
  RowShape synthetic_shape{};
  /// Makes a source that is no latents folder; `folder` and what filters it are not looked at then.
  std::function<std::unique_ptr<RowSource>()> make{};
};

struct ReadSettings {
  std::int64_t threads = 2;  ///< prefetch threads
  ReadRules rules{};
  bool verify = true;    ///< check each row's xxh3 on reading
  bool preload = false;  ///< bring all files in, in order, where they fit in memory; not with a cache_dir
  double max_bad_fraction = 0;      ///< share of rows that may be unreadable and are replaced; 0 = none
  std::filesystem::path cache_dir;  ///< on a disk of this node: shards are copied there; empty = not
  std::uint64_t cache_bytes = 0;
  Allocate allocate = allocate_on_host;
};

struct StreamConfig {
  std::vector<SourceConfig> sources;
  std::int64_t size = 0;        ///< picture side in pixels: column latents_<size>
  std::string split = "train";  ///< train | held_out
  CaptionRule captions;         ///< which captions may be chosen, and how often
  double caption_drop = 0;      ///< probability of the null condition (zero rows)
  bool text = true;             ///< false: text rows are not read (Batch::text and ids are empty)
  bool classes = false;         ///< true: what has no class is passed over
  bool shuffle = true;          ///< false: position p is sample p (evaluation)
  std::int64_t shuffle_run =
      1;  ///< neighbouring samples that stay together; 0 = auto: 1 while the mix fits in memory, else 32
  std::uint64_t seed = 0;
  ReadSettings reading;
  Once once = [](const std::function<std::string()>& work) { return work(); };  ///< one process
};

/// What all sources agree on (UserError when they do not).
struct StreamFacts {
  RowShape shape;
  core::Json facts;  ///< the first source's whole facts
};

/// One batch in host memory.
struct Batch {
  std::int64_t count = 0;
  HostBuffer<std::uint16_t> latents;  ///< f16, count x C x h x w, scaled
  HostBuffer<std::uint16_t>
      text;  ///< f16, count x L x D; zero without a caption. Empty where sources have tokens only
  HostBuffer<std::int32_t> ids;           ///< count x L token ids; only where sources have tokens only
  std::vector<std::int32_t> text_length;  ///< tokens before padding; 0 without a caption
  std::vector<std::uint8_t> captioned;    ///< 0 = the null condition
  std::vector<std::int64_t> classes;      ///< numbers of the samples' classes; -1 = none
  std::vector<std::int64_t> sample;    ///< global sample index of each row (over all sources, in their order)
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
  /// Opens the sources: manifest and index of each folder, nothing else. Collective where `once` is. UserError: incomplete
  /// folder, missing column; EmptySplit. A folder without samples of the split is an error where proportions are given.
  explicit LatentStream(const StreamConfig& config);
  ~LatentStream();

  const StreamFacts& facts() const;
  std::int64_t num_samples() const;  ///< of the split, all sources
  std::int64_t shuffle_run() const;  ///< what `auto` came to
  /// What each source is, for the record of a run (RowSource::pin).
  std::vector<core::Json> pins() const;

  /// Sample index that position p of the infinite stream shows: a permutation of runs per epoch, keyed by (seed,
  /// epoch); several sources interleave by proportion. O(1) memory per call (format-preserving permutation).
  std::int64_t sample_at(std::int64_t position) const;

  /// Reads positions [first, first + count) now. A row that cannot be read, also not at a second try, is counted and replaced
  /// by the next that can: of the three behind it (in the same run), then of those half way round the source.
  Batch read(std::int64_t first, std::int64_t count, bool with_captions = false) const;

  /// Announces the slices that next() will return: from `first`, each `count` rows, then `stride` further on
  /// (global batch = stride; a rank's slice = its `count` rows). Prefetch threads keep `depth` slices ready. Begins to preload.
  void start(std::int64_t first, std::int64_t count, std::int64_t stride, std::int64_t depth = 4);
  /// The next announced slice, equal to read() of its positions. An error of a thread is thrown here.
  Batch next();
  /// Gives a used batch's memory back, so that next() need not allocate. Optional; after start().
  void recycle(Batch&& used);
  /// Seconds next() waited for data since start().
  double waited_s() const;
  /// Rows that were replaced since the stream was opened.
  std::int64_t num_bad() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace microdit::stream
