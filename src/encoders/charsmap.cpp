// The double array's units and the walk through it are those of darts-clone, which sentencepiece stores.
#include "encoders/charsmap.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/code_point.h"
#include "encoders/grapheme.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

constexpr std::size_t kShortCluster = 6;  // bytes from which a cluster is taken character by character

static_assert(std::endian::native == std::endian::little, "the file's words are little-endian");

/// Whether a replacement ends here; a unit with the highest bit is itself the value of one.
bool has_leaf(std::uint32_t unit) {
  return (unit & 0x80000100u) == 0x100u;
}
std::uint32_t value(std::uint32_t unit) {
  return unit & 0x7FFFFFFFu;
}
std::uint32_t label(std::uint32_t unit) {
  return unit & 0x800000FFu;
}
std::uint32_t offset(std::uint32_t unit) {
  return unit >> 10 << ((unit & 0x200) >> 6);
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& origin) {
  if (bytes.empty()) return;
  std::uint32_t trie_bytes = 0;
  if (bytes.size() >= sizeof trie_bytes) std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4)
    core::user_error("{}: a trie of {} bytes in a charsmap of {}: the file is damaged, fetch it again",
                     origin, trie_bytes, bytes.size());
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), bytes.data() + 4, trie_bytes);
  replacements_ = bytes.substr(4 + trie_bytes);
  check_replacements(origin);
  check_units(origin);
}

void Charsmap::check_replacements(const std::string& origin) const {
  if (replacements_.empty() || replacements_.back() != '\0' || core::first_invalid_utf8(replacements_))
    core::user_error(
        "{}: the charsmap's replacements are not UTF-8 that ends with zero: fetch the file again", origin);
  for (std::size_t begin = 0; begin < replacements_.size();) {
    const std::size_t end = replacements_.find('\0', begin);
    if (end - begin > kLongestReplacement)
      core::user_error("{}: the charsmap has a replacement of {} bytes (at most {})", origin, end - begin,
                       kLongestReplacement);
    begin = end + 1;
  }
}

void Charsmap::check_units(const std::string& origin) const {
  for (std::size_t i = 0; i < units_.size(); ++i) {
    if (!has_leaf(units_[i])) continue;
    const std::size_t leaf = i ^ offset(units_[i]);
    const std::size_t at = leaf < units_.size() ? value(units_[leaf]) : replacements_.size();
    if (at >= replacements_.size() || (static_cast<unsigned char>(replacements_[at]) & 0xC0) == 0x80)
      core::user_error("{}: unit {} of the charsmap points outside its {}: fetch the file again", origin, i,
                       leaf < units_.size() ? "replacements" : "trie");
  }
}

std::optional<std::string_view> Charsmap::shortest(std::string_view text) const {
  std::size_t node = offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) return std::nullopt;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if (has_leaf(unit)) return std::string_view(replacements_.c_str() + value(units_[node]));
  }
  return std::nullopt;
}

void Charsmap::append(std::string_view text, std::string& out) const {
  out += shortest(text).value_or(text);
}

std::string Charsmap::normalize(std::string_view text) const {
  if (units_.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = begin + grapheme_bytes(text.substr(begin));
    const std::string_view cluster = text.substr(begin, end - begin);
    begin = end;
    if (const auto whole = cluster.size() < kShortCluster ? shortest(cluster) : std::nullopt) {
      out += *whole;
      continue;
    }
    for (std::size_t at = 0; at < cluster.size();) {
      const std::size_t bytes = code_point_bytes(cluster[at]);
      append(cluster.substr(at, bytes), out);
      at += bytes;
    }
  }
  return out;
}

}  // namespace microdit::encoders
