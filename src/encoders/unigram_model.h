// Unigram language model: the most probable pieces of a word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "encoders/bpe_model.h"
#include "encoders/piece_trie.h"

namespace microdit::encoders {

struct UnigramVocabulary {
  std::vector<std::pair<std::string, double>> pieces;  ///< by id, with the logarithm of their probability
  std::int32_t unknown = 0;                            ///< an id
  std::string charsmap{};                              ///< of the normaliser, empty when there is none
  std::vector<std::string> controls{};  ///< pieces that are looked for in the text as it is given
  std::string origin;                   ///< the file, for messages
};

class UnigramModel {
 public:
  /// UserError: no piece, too many, an over-long one, one that is there twice, a score that is no number, or an unknown id
  /// beyond them.
  explicit UnigramModel(const UnigramVocabulary& vocabulary);

  /// Appends the ids of `word` (valid UTF-8): the path of the largest sum of scores in fp64, the first of equals, as
  /// tokenizers' Unigram (encode_optimized) finds it. A character that no piece stands for costs ten more than the least
  /// probable piece; neighbouring ones are one unknown. Linear in the word's bytes.
  void append(std::string_view word, std::vector<std::int32_t>& ids) const;

  const PieceIds& ids() const { return ids_; }

 private:
  PieceIds ids_;
  PieceTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::int32_t unknown_;
};

}  // namespace microdit::encoders
