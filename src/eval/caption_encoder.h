// Text rows of latents that hold token ids alone: the frozen encoder runs in training, each caption once while it is kept.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/stop_flag.h"
#include "encoders/text_encoder.h"
#include "stream/latent_stream.h"

namespace microdit::eval {

class CaptionEncoder {
 public:
  /// The encoder that made the ids, found as generation finds it. Throws core::Stopped when `stop` is seen meanwhile.
  CaptionEncoder(const encoders::TextEncoderFacts& facts, const std::filesystem::path& run_folder,
                 torch::Device device, const core::StopFlag& stop = core::StopFlag());
  /// Rows [first, first + count) of a batch: fp32 [count, L, D] on the device, rounded to f16 as stored rows are; zero without a
  /// caption. A caption's bits do not depend on what else is in the batch, or was before.
  torch::Tensor rows(const stream::Batch& batch, std::int64_t first, std::int64_t count);

 private:
  using Entry = std::pair<std::string, torch::Tensor>;  ///< ids as bytes, f16 [L, D]
  torch::Tensor* find(const std::string& ids);
  void encode(const std::vector<std::pair<std::string, std::int64_t>>& missing, std::int64_t length);

  std::unique_ptr<encoders::TextEncoder> encoder_;
  torch::Device device_;
  std::size_t bytes_ = 0;
  std::list<Entry> recent_;  ///< most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> found_;
};

}  // namespace microdit::eval
