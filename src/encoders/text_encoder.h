// Captions -> text rows, from the ecosystem's own files.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {

struct EncodedText {
  torch::Tensor states_BLD;  ///< fp32, pad rows zero
  torch::Tensor ids_BL;      ///< int32, padded
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  virtual std::int64_t width() const = 0;
  /// Every caption to exactly `length` rows. A row does not depend on what else is in the batch beyond
  /// rounding.
  virtual EncodedText encode(const std::vector<std::string>& captions, std::int64_t length) const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual void to(torch::Device device) = 0;
  /// Kind, folder, SHA-256 of the weights, width: what a manifest says of it.
  virtual core::Json describe() const = 0;
};

/// Chooses by the folder's config.json (model_type bert). UserError: missing file, unsupported type, missing
/// keys.
std::unique_ptr<TextEncoder> load_text_encoder(const std::filesystem::path& folder);

}  // namespace microdit::encoders
