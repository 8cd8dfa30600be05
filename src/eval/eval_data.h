// The two splits of a run's data, in a fixed random order, read in pieces.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "eval/batch_condition.h"
#include "eval/caption_encoder.h"
#include "eval/run_facts.h"
#include "stream/latent_stream.h"

namespace microdit::eval {

struct Piece {
  torch::Tensor latents_NCHW;      ///< fp32, scaled
  diffusion::Condition condition;  ///< on the CPU; empty where not asked for
  torch::Tensor captioned_B;       ///< as captioned_rows
  std::vector<std::int64_t> sample;
  std::vector<std::string> captions;  ///< where asked for
  std::int64_t count() const { return latents_NCHW.size(0); }
};

/// A split; place i shows sample order(i), a permutation keyed by the seed.
class Split {
 public:
  /// Empty when the data has no such samples.
  /// Collective where `once` is. `run_folder`: beside it lies what training found in MDS folders.
  static std::unique_ptr<Split> open(const RunFacts& facts, const std::string& split,
                                     const stream::CaptionRule& captions, std::uint64_t seed,
                                     const stream::Once& once, const std::filesystem::path& run_folder);
  std::int64_t count() const { return stream_.num_samples(); }
  /// `with_condition`: what the network takes, `with_captions`: the captions as words.
  Piece read(std::int64_t first, std::int64_t count, bool with_condition, bool with_captions) const;
  const std::string& name() const { return name_; }
  std::vector<core::Json> pins() const { return stream_.pins(); }

 private:
  Split(const stream::StreamConfig& config, const RunFacts& facts, const std::filesystem::path& run_folder);
  std::string name_;
  models::DenoiserConfig model_;
  stream::LatentStream stream_;
  std::unique_ptr<CaptionEncoder> caption_encoder_;  ///< where the latents hold token ids alone
};

/// How many of `candidates` draws come from each split: in proportion to their sizes, but at least `prompts`
/// of each (the prompts' own samples are among them). All samples when there are no more.
std::vector<std::int64_t> shares(const std::vector<std::int64_t>& sizes, std::int64_t candidates,
                                 std::int64_t prompts);

}  // namespace microdit::eval
