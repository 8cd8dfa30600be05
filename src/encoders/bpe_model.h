// Byte-level byte pair encoding of one word, as CLIP has it ("</w>" closes a word).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "encoders/id_table.h"

namespace microdit::encoders {

using PieceIds = std::unordered_map<std::string, std::int32_t>;

/// Pieces are spelt as in GPT-2's files: every byte is one printable character (byte_characters).
struct BpeVocabulary {
  PieceIds ids;
  std::vector<std::pair<std::string, std::string>> merges;  ///< in order of rank
  std::string origin;                                       ///< the file, for messages
};

/// Byte -> the character that stands for it in vocabularies, UTF-8 (bytes_to_unicode of GPT-2 and CLIP).
const std::array<std::string, 256>& byte_characters();

class BpeModel {
 public:
  /// UserError: a merge of unknown pieces, one that is there twice, or a byte that no piece stands for.
  explicit BpeModel(const BpeVocabulary& vocabulary);

  /// Appends the ids of one word (UTF-8, not empty). O(n log n) in its bytes.
  void append(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  void add_merges(const BpeVocabulary& vocabulary);
  void add_whole_words(const BpeVocabulary& vocabulary);
  void append_merged(std::string_view word, std::vector<std::int32_t>& ids) const;
  void merge_short(std::vector<std::int32_t>& symbols) const;
  void merge_long(std::vector<std::int32_t>& symbols) const;
  std::int32_t rank(std::int32_t left, std::int32_t right) const {
    return ranks_.find(static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right));
  }

  std::array<std::int32_t, 256> bytes_{}, closing_bytes_{};
  IdTable ranks_;                     // (left id, right id) -> rank
  std::vector<std::int32_t> merged_;  // rank -> id
  /// Words that are one piece: found without merging.
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> whole_words_;
};

}  // namespace microdit::encoders
