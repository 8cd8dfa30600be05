// A transformer over token ids that is trained with the denoiser: its rows, and which of them are tokens, condition any network. It is torch's
// TransformerEncoder with norm_first, and has its names.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "models/drawn.h"
#include "nn/linear.h"

// Shape legend: B batch, L tokens, D width, W width of the rows.
namespace microdit::models {

/// The section `model.text_conditioner`. Zeros mean: from the data's facts.
struct TextConditionerConfig {
  std::int64_t vocabulary = 0;  ///< tokens that the tokenizer knows
  std::int64_t length = 0;      ///< positions: text.length of the recipe
  std::int64_t width = 256;
  std::int64_t depth = 4;
  std::int64_t heads = 4;
  void fields(core::Fields& f);
};

struct TextRows {
  torch::Tensor rows_BLW;  ///< zero where there is no token
  torch::Tensor seen_BL;   ///< bool; at least one of each caption
};

class BlockNorm;
class ConditionerLayer;

class TextConditioner : public torch::nn::Module {
 public:
  /// The name that a denoiser gives to its own.
  static constexpr const char* kName = "text_conditioner";

  /// Rows of `row_width`: a matrix behind the last norm where that is not the transformer's own. Parameters are uninitialised.
  /// UserError: no vocabulary, no length, heads that do not divide the width.
  TextConditioner(const TextConditionerConfig& config, std::int64_t row_width);
  /// `tokens_BL` int64 and `mask_BL` bool (which are tokens), on the CPU; L may be less than the positions. No bit depends on
  /// the others. Without any token a caption is one token that is in no vocabulary, which is learned: no condition. UserError:
  /// other shapes, a token beyond the vocabulary.
  TextRows forward(const torch::Tensor& tokens_BL, const torch::Tensor& mask_BL) const;
  /// No condition, `batch` times.
  TextRows null(std::int64_t batch, std::int64_t length) const;
  std::int64_t vocabulary() const { return config_.vocabulary; }

 private:
  TextConditionerConfig config_;
  torch::Tensor tokens_, positions_;  ///< [vocabulary + 1, D], [length, D]
  std::vector<std::shared_ptr<ConditionerLayer>> layers_;
  std::shared_ptr<BlockNorm> norm_;
  std::shared_ptr<nn::Linear> projection_;  ///< null where rows have the transformer's width
};

/// How a parameter of a conditioner begins; `name` without the conditioner's own.
Rule conditioner_rule(std::string_view name, const torch::Tensor& parameter);

}  // namespace microdit::models
