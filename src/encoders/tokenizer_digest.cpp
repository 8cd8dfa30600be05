// What the digest is made of, in an order of its own.
#include "encoders/tokenizer_digest.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace microdit::encoders {

TokenizerDigest& TokenizerDigest::add(std::string_view text) {
  const std::string length = fmt::format("{}:", text.size());
  for (const std::string_view part : {std::string_view(length), text})
    sum_.update(std::as_bytes(std::span(part)));
  return *this;
}

TokenizerDigest& TokenizerDigest::add(std::int64_t number) {
  return add(std::string_view(fmt::format("{}", number)));
}

TokenizerDigest& TokenizerDigest::add(double number) {
  return add(std::string_view(fmt::format("{}", number)));
}

TokenizerDigest& TokenizerDigest::add(const PieceIds& ids) {
  std::vector<std::pair<std::int32_t, std::string_view>> sorted;
  sorted.reserve(ids.size());
  for (const auto& [piece, id] : ids) sorted.emplace_back(id, piece);
  std::ranges::sort(sorted);
  add(static_cast<std::int64_t>(sorted.size()));
  for (const auto& [id, piece] : sorted) add(std::int64_t{id}).add(piece);
  return *this;
}

TokenizerDigest& TokenizerDigest::add(const BpeVocabulary& vocabulary) {
  add(vocabulary.ids).add(static_cast<std::int64_t>(vocabulary.merges.size()));
  for (const auto& [left, right] : vocabulary.merges)
    add(std::string_view(left)).add(std::string_view(right));
  return *this;
}

TokenizerDigest& TokenizerDigest::add(const AddedTokens& added) {
  add(static_cast<std::int64_t>(added.named.size()));
  for (const auto& [name, token] : added.named) {
    add(std::string_view(name));
    add(token);
  }
  add(static_cast<std::int64_t>(added.all.size()));
  for (const AddedToken& token : added.all) add(token);
  return *this;
}

void TokenizerDigest::add(const AddedToken& token) {
  add(std::string_view(token.content)).add(std::int64_t{token.normalized});
}

}  // namespace microdit::encoders
