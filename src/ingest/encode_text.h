// Captions through the frozen text encoder, or its tokenizer alone, as columns.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "encoders/text_encoder.h"
#include "ingest/recipe.h"
#include "store/shard.h"

namespace microdit::ingest {

struct TextColumns {
  /// With int8 `text_scale` f32 [u, L]; `text_ids` i32 [u, L]; `text_length` i32 [u], tokens before padding.
  std::vector<store::Column> columns;
  /// {"captions": u, "cut": longer than L, "longest": tokens of the longest}; with int8 {"int8_error": {"max", "mean"}}
  core::Json details;
};

/// Packed rows that follow those before.
using TakeRows = std::function<void(std::span<const std::byte> rows)>;

class CaptionEncoder {
 public:
  /// Loads the encoder to `device`, or only its tokenizer (tokens_only), or nothing (encoder: none: no caption has a token). UserError: a folder that is no encoder. Throws
  /// core::Stopped when `stop` is seen meanwhile.
  CaptionEncoder(const TextRecipe& recipe, torch::Device device, const std::string& sha256,
                 const core::StopFlag& stop);
  /// The shape of the column `text`, f16 or i8 [u, L, D], which is too large to be held; none where there are tokens only.
  std::vector<store::Column> states(std::size_t captions) const;
  /// May be called by several threads at once. Nothing when `stop` was seen, which is looked at before each caption.
  std::optional<encoders::TokenRows> tokenize(const std::vector<std::string>& captions,
                                              const core::StopFlag& stop) const;
  /// Batches of fixed size, by the captions' length where pads are zero: of all captions, or of as many in turn as have
  /// kWindowBytes of rows. `take` gets the rows of `text` in the captions' order. Nothing when `stop` was seen.
  std::optional<TextColumns> encode(const std::vector<std::string>& captions,
                                    const encoders::TokenRows& tokens, const TakeRows& take,
                                    const core::StopFlag& stop) const;
  static constexpr std::int64_t kWindowBytes = 16 << 20;

 private:
  const TextRecipe& recipe_;
  std::unique_ptr<encoders::TextEncoder> encoder_;
  std::unique_ptr<encoders::Tokenizer> tokenizer_;  ///< tokens_only
};

}  // namespace microdit::ingest
