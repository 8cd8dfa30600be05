// Samples' captions -> a tokenizer's folder, for models that make their own text rows (model.text_conditioner).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/stop_flag.h"

namespace microdit::ingest {

struct CaptionData {
  std::string dataset{};  ///< samples/<dataset> under the data root, or a path
  void fields(core::Fields& f);
};

struct TokenizerConfig {
  std::string name{};
  std::vector<CaptionData> data{};
  std::vector<std::string> captions{};  ///< sources; none: all
  std::int64_t vocabulary = 8000;
  double character_coverage = 0.9995;
  bool fold_case = false;
  std::string output{};  ///< "": weights/NAME under the data root
  std::string device = "auto";
  void fields(core::Fields& f);
  std::filesystem::path folder() const;
};

/// Trains on the distinct captions of the training split, each of which counts once; of more than encoders::kMostSentences those with the
/// smallest hashes. The folder is what transformers' T5Tokenizer reads: spiece.model, tokenizer_config.json, and a config.json with
/// model_type "tokenizer", which says what it was trained on. Its bytes depend on captions and settings alone. A folder that is there stays:
/// of the same settings it is done, although its data may have grown. Collective: rank 0 trains. UserError: samples that are not complete,
/// a caption source that they do not have, a folder of other settings, and what train_unigram refuses.
int train_tokenizer(const TokenizerConfig& config, comm::Communicator& comm, const core::StopFlag& stop);

/// --dry-run. UserError as above.
void describe_train_tokenizer(const TokenizerConfig& config);

}  // namespace microdit::ingest
