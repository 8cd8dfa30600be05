// SHA-256 of what decides a tokenizer's ids, as it was read; the form of the files does not count.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/hash.h"
#include "encoders/added_tokens.h"
#include "encoders/bpe_model.h"

namespace microdit::encoders {

/// Every part goes in with its length, so that no two contents look alike.
class TokenizerDigest {
 public:
  /// `rules`: whose, "open_clip".
  explicit TokenizerDigest(std::string_view rules) { add(rules); }
  TokenizerDigest& add(std::string_view text);
  TokenizerDigest& add(std::int64_t number);
  TokenizerDigest& add(double number);
  TokenizerDigest& add(const PieceIds& ids);
  TokenizerDigest& add(const BpeVocabulary& vocabulary);
  TokenizerDigest& add(const AddedTokens& added);
  /// Once.
  std::string hex() { return sum_.hex_digest(); }

 private:
  void add(const AddedToken& token);

  core::Sha256 sum_;
};

}  // namespace microdit::encoders
