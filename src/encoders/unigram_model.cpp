// Viterbi over bytes; only ends of pieces and of characters are ever reached.
#include "encoders/unigram_model.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/code_point.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

constexpr double kUnknownPenalty = 10.0;

}  // namespace

UnigramModel::UnigramModel(const UnigramVocabulary& vocabulary) : unknown_(vocabulary.unknown) {
  const std::string& origin = vocabulary.origin;
  const std::size_t count = vocabulary.pieces.size();
  if (count == 0 || count > kMostPieces)
    core::user_error("{}: {} pieces; 1 to {} are read", origin, count, kMostPieces);
  if (unknown_ < 0 || static_cast<std::size_t>(unknown_) >= count)
    core::user_error("{}: the unknown piece has the id {}; there are {} pieces", origin, unknown_, count);
  double least = HUGE_VAL;
  for (const auto& [piece, score] : vocabulary.pieces) {
    const auto id = static_cast<std::int32_t>(scores_.size());
    const std::string shown = core::shortened(core::with_valid_utf8(piece), 40);
    if (piece.empty() || piece.size() > kLongestPiece || core::first_invalid_utf8(piece))
      core::user_error("{}: piece {} (\"{}\") has {} bytes or is not UTF-8; 1 to {} are read", origin, id,
                       shown, piece.size(), kLongestPiece);
    if (!std::isfinite(score))
      core::user_error("{}: piece {} (\"{}\") has the score {}; a finite number is needed", origin, id, shown,
                       score);
    if (!ids_.emplace(piece, id).second)
      core::user_error("{}: piece {} (\"{}\") is there twice", origin, id, shown);
    trie_.insert(piece, id);
    scores_.push_back(score);
    least = std::min(least, score);
  }
  unknown_score_ = least - kUnknownPenalty;
}

void UnigramModel::append(std::string_view word, std::vector<std::int32_t>& ids) const {
  struct Node {
    double score = 0;
    std::int64_t begin = -1;  // of the last piece of the best path that ends here; -1: none does
    std::int32_t id = 0;
  };
  std::vector<Node> nodes(word.size() + 1);
  for (std::size_t begin = 0; begin < word.size();) {
    const double before = nodes[begin].score;
    const std::size_t character = code_point_bytes(word[begin]);
    bool known = false;
    const auto offer = [&](std::size_t bytes, std::int32_t id, double score) {
      Node& node = nodes[begin + bytes];
      if (node.begin < 0 || before + score > node.score)
        node = {before + score, static_cast<std::int64_t>(begin), id};
    };
    trie_.prefixes(word.substr(begin), [&](std::size_t bytes, std::int32_t id) {
      offer(bytes, id, scores_[static_cast<std::size_t>(id)]);
      known |= bytes == character;
    });
    if (!known) offer(character, unknown_, unknown_score_);
    begin += character;
  }
  const std::size_t first = ids.size();
  for (std::size_t end = word.size(); end > 0; end = static_cast<std::size_t>(nodes[end].begin)) {
    const bool fused = nodes[end].id == unknown_ && ids.size() > first && ids.back() == unknown_;
    if (!fused) ids.push_back(nodes[end].id);
  }
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
}

}  // namespace microdit::encoders
