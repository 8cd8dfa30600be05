// Captions -> text rows, from the ecosystem's own files.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "encoders/encoder_facts.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {

struct EncodedText {
  torch::Tensor states_BLD;  ///< fp32; rows of pads are what facts().pads says
  torch::Tensor ids_BL;      ///< int32, padded
  std::vector<std::int64_t>
      num_tokens{};  ///< of each caption as a whole: more than `length` = its end is not seen
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  virtual std::int64_t width() const = 0;
  /// Every caption to exactly `length` rows. A row does not depend on what else is in the batch beyond
  /// rounding.
  virtual EncodedText encode(const std::vector<std::string>& captions, std::int64_t length) const = 0;
  /// The same of token ids (int32 [B, L], padded) with their numbers of tokens: fp32 [B, L, D] on the encoder's device. Always
  /// computed over all L, so that a row's bits depend on B and L alone, not on the other captions.
  virtual torch::Tensor encode_ids(const torch::Tensor& ids_BL,
                                   const std::vector<std::int64_t>& num_tokens) const = 0;
  /// What `encode` makes of captions that are tokenized already: fp32 [B, L, D] on the CPU. Where pads are zero, captions of
  /// like length share passes, and what is behind them is not computed.
  virtual torch::Tensor encode_tokens(const torch::Tensor& ids_BL,
                                      const std::vector<std::int64_t>& num_tokens) const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual void to(torch::Device device) = 0;
  /// What a manifest says of it.
  virtual TextEncoderFacts facts() const = 0;
  core::Json describe() const { return core::to_json(facts()); }
};

/// Chooses by the folder's files: open_clip_config.json, or config.json with model_type bert, clip_text_model, clip or t5.
/// precision bf16: matrices are held and products made in bf16; fp32: everything. Weights are read tensor by tensor, so that
/// little more than the network is in memory. UserError: missing file, unsupported type, missing keys. This and the next three
/// throw core::Stopped when `stop` is seen: hashing and reading large weights takes minutes.
std::unique_ptr<TextEncoder> load_text_encoder(const std::filesystem::path& folder,
                                               const std::string& sha256 = {},
                                               const std::string& precision = "fp32",
                                               const core::StopFlag& stop = core::StopFlag());
/// What load_text_encoder(folder)->facts() says, from its config, its tokenizer and the weights' SHA-256 alone. A folder whose config.json
/// has model_type "tokenizer" (train_tokenizer makes them) is a tokenizer alone.
TextEncoderFacts describe_text_encoder(const std::filesystem::path& folder,
                                       const core::StopFlag& stop = core::StopFlag());
/// Its folder alone: nothing is loaded.
std::filesystem::path find_text_encoder_folder(const TextEncoderFacts& facts,
                                               const std::filesystem::path& run_folder = {},
                                               const core::StopFlag& stop = core::StopFlag());
/// The text encoder that `facts` name, wherever it lies now (find_folder). UserError when it is not found.
std::unique_ptr<TextEncoder> find_text_encoder(const TextEncoderFacts& facts,
                                               const std::filesystem::path& run_folder = {},
                                               const core::StopFlag& stop = core::StopFlag());

/// The tokenizer of the text encoder, or alone, that `facts` name, found in the same way.
std::unique_ptr<Tokenizer> find_tokenizer(const TextEncoderFacts& facts,
                                          const std::filesystem::path& run_folder = {},
                                          const core::StopFlag& stop = core::StopFlag());

}  // namespace microdit::encoders
