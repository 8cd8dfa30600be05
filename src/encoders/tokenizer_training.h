// Training a unigram tokenizer (Kudo 2018) on captions: sentencepiece's own trainer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace microdit::encoders {

struct UnigramTraining {
  std::int64_t vocabulary = 0;         ///< pieces, with <pad> (0), </s> (1) and <unk> (2)
  double character_coverage = 0.9995;  ///< share of the captions' characters that have a piece of their own
  bool fold_case = false;              ///< capitals are small letters to it
};

/// Longer captions, in bytes, are passed over by the trainer; more of them take days and tens of GB.
inline constexpr std::size_t kLongestSentence = 4192, kMostSentences = 2'000'000;

/// The bytes of a spiece.model with T5's specials; the same for the same captions in the same order: one thread. Text is normalised by NFKC.
/// Cannot be interrupted. UserError: a vocabulary that the captions do not yield (it says the largest), or that is smaller than their
/// characters.
std::string train_unigram(const std::vector<std::string>& captions, const UnigramTraining& settings);

}  // namespace microdit::encoders
