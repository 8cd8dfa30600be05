// Limits on tokenizer files, all foreign bytes. Real ones: 0.5 to 17 MiB, up to 256,000 pieces of at most 68 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace microdit::encoders {

constexpr std::uintmax_t kLargestTokenizerFile = 32 << 20;  ///< bytes, packed or not
constexpr std::uintmax_t kLargestSettingsFile = 4 << 20;    ///< bytes of tokenizer_config.json and its like
constexpr std::size_t kMostPieces = 1'000'000;
constexpr std::size_t kLongestPiece =
    80;  ///< bytes of a unigram's piece (T5's: 68): bounds the work per character
constexpr std::size_t kLongestReplacement = 256;  ///< bytes that one character normalises to
constexpr std::size_t kMostAddedTokens = 10'000;
constexpr std::size_t kLongestAddedToken = 100;  ///< bytes, bounds the work per character too
constexpr std::int32_t kMostExtraIds = 1'000;    ///< T5's sentinels

}  // namespace microdit::encoders
