// Captions through the frozen text encoder, or its tokenizer alone, as columns.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "encoders/text_encoder.h"
#include "ingest/recipe.h"
#include "store/shard.h"

namespace microdit::ingest {

struct TextColumns {
  /// `text` f16 [u, L, D], or i8 with `text_scale` f32 [u, L], or neither (tokens_only); `text_ids` i32 [u, L];
  /// `text_length` i32 [u], tokens before padding.
  std::vector<store::Column> columns;
  /// {"captions": u, "cut": longer than L, "longest": tokens of the longest}; with int8 {"int8_error": {"max", "mean"}}
  core::Json details;
};

class CaptionEncoder {
 public:
  /// Loads the encoder to `device`, or only its tokenizer (tokens_only). UserError: a folder that is no encoder.
  CaptionEncoder(const TextRecipe& recipe, torch::Device device, const std::string& sha256);
  /// Captions in batches of fixed size from the first one on. Nothing when `stop` was seen.
  std::optional<TextColumns> encode(const std::vector<std::string>& captions,
                                    const core::StopFlag& stop) const;

 private:
  const TextRecipe& recipe_;
  std::unique_ptr<encoders::TextEncoder> encoder_;
  std::unique_ptr<encoders::Tokenizer> tokenizer_;  ///< tokens_only
};

}  // namespace microdit::ingest
