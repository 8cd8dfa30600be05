// Merges in order of rank; the leftmost pair of the lowest rank goes first.
#include "encoders/bpe_model.h"

#include <algorithm>
#include <queue>

#include "core/error.h"
#include "core/utf8.h"

namespace microdit::encoders {
namespace {

constexpr std::string_view kEndOfWord = "</w>";
constexpr std::size_t kShortWord = 24;  // bytes up to which searching all pairs is quicker than a heap
constexpr std::int32_t kGone = -1;

std::string utf8(unsigned c) {
  if (c < 0x80) return {static_cast<char>(c)};
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

std::array<std::string, 256> make_byte_characters() {
  std::array<std::string, 256> characters;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    characters[byte] = utf8(printable ? byte : next++);
  }
  return characters;
}

/// The bytes that a piece stands for; empty when a character of it stands for none.
std::string bytes_of(std::string_view piece) {
  static const auto bytes = [] {
    std::unordered_map<std::string, char> map;
    for (unsigned byte = 0; byte < 256; ++byte) map[byte_characters()[byte]] = static_cast<char>(byte);
    return map;
  }();
  std::string out;
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t length = static_cast<unsigned char>(piece[i]) < 0x80 ? 1 : 2;
    const auto found = bytes.find(std::string(piece.substr(i, length)));
    if (found == bytes.end()) return "";
    out += found->second;
    i += length;
  }
  return out;
}

}  // namespace

const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> characters = make_byte_characters();
  return characters;
}

BpeModel::BpeModel(const BpeVocabulary& vocabulary) : ranks_(vocabulary.merges.size()) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string& character = byte_characters()[byte];
    const auto inside = vocabulary.ids.find(character);
    const auto closing = vocabulary.ids.find(character + std::string(kEndOfWord));
    if (inside == vocabulary.ids.end() || closing == vocabulary.ids.end())
      core::user_error(
          "{}: no piece \"{}\" or \"{}{}\" for byte {}; a CLIP vocabulary has both for every byte: fetch the "
          "file again",
          vocabulary.origin, character, character, kEndOfWord, byte);
    bytes_[byte] = inside->second;
    closing_bytes_[byte] = closing->second;
  }
  add_merges(vocabulary);
  add_whole_words(vocabulary);
}

void BpeModel::add_merges(const BpeVocabulary& vocabulary) {
  const auto id_of = [&](const std::string& piece, std::size_t rank) {
    const auto found = vocabulary.ids.find(piece);
    if (found == vocabulary.ids.end())
      core::user_error("{}: merge {} names the piece \"{}\", which the vocabulary does not have",
                       vocabulary.origin, rank + 1, core::shortened(piece, 80));
    return found->second;
  };
  merged_.reserve(vocabulary.merges.size());
  for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary.merges[rank];
    const auto key =
        static_cast<std::uint64_t>(id_of(left, rank)) << 32 | static_cast<std::uint32_t>(id_of(right, rank));
    if (!ranks_.insert(key, static_cast<std::int32_t>(rank)))
      core::user_error("{}: merge {} (\"{} {}\") is there twice", vocabulary.origin, rank + 1,
                       core::shortened(left, 80), core::shortened(right, 80));
    merged_.push_back(id_of(left + right, rank));
  }
}

void BpeModel::add_whole_words(const BpeVocabulary& vocabulary) {
  std::vector<std::int32_t> ids;
  for (const auto& [piece, id] : vocabulary.ids) {
    if (!piece.ends_with(kEndOfWord)) continue;
    const std::string word = bytes_of(std::string_view(piece).substr(0, piece.size() - kEndOfWord.size()));
    if (word.empty()) continue;
    ids.clear();
    append_merged(word, ids);
    if (ids.size() == 1 && ids[0] == id) whole_words_.emplace(word, id);
  }
}

void BpeModel::append(std::string_view word, std::vector<std::int32_t>& ids) const {
  const auto found = whole_words_.find(word);
  if (found != whole_words_.end())
    ids.push_back(found->second);
  else
    append_merged(word, ids);
}

void BpeModel::append_merged(std::string_view word, std::vector<std::int32_t>& ids) const {
  std::vector<std::int32_t> symbols;
  symbols.reserve(word.size());
  for (const char c : word) symbols.push_back(bytes_[static_cast<unsigned char>(c)]);
  symbols.back() = closing_bytes_[static_cast<unsigned char>(word.back())];
  if (symbols.size() <= kShortWord)
    merge_short(symbols);
  else
    merge_long(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void BpeModel::merge_short(std::vector<std::int32_t>& symbols) const {
  std::array<std::int32_t, kShortWord> ranks;  // of symbol i and the next
  std::size_t count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i) ranks[i] = rank(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = count;
    for (std::size_t i = 0; i + 1 < count; ++i)
      if (ranks[i] >= 0 && (best == count || ranks[i] < ranks[best])) best = i;
    if (best == count) break;
    symbols[best] = merged_[static_cast<std::size_t>(ranks[best])];
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
    }
    if (best + 1 < count) ranks[best] = rank(symbols[best], symbols[best + 1]);
    if (best > 0) ranks[best - 1] = rank(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

void BpeModel::merge_long(std::vector<std::int32_t>& symbols) const {
  struct Pair {
    std::int32_t rank;
    std::int32_t at;
    bool operator>(const Pair& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto count = static_cast<std::int32_t>(symbols.size());
  std::vector<std::int32_t> next(symbols.size()), previous(symbols.size());
  std::vector<Pair> pairs;
  const auto symbol = [&](std::int32_t at) -> std::int32_t& { return symbols[static_cast<std::size_t>(at)]; };
  const auto pair_at = [&](std::int32_t at) {
    return rank(symbol(at), symbol(next[static_cast<std::size_t>(at)]));
  };
  for (std::int32_t i = 0; i < count; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1;
    previous[static_cast<std::size_t>(i)] = i - 1;
    if (i + 1 < count && pair_at(i) >= 0) pairs.push_back({pair_at(i), i});
  }
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> heap(std::greater<>(), std::move(pairs));
  while (!heap.empty()) {
    const auto [rank, at] = heap.top();
    heap.pop();
    if (symbol(at) == kGone) continue;
    const std::int32_t right = next[static_cast<std::size_t>(at)];
    if (right >= count || pair_at(at) != rank) continue;  // one of the two has changed since
    symbol(at) = merged_[static_cast<std::size_t>(rank)];
    symbol(right) = kGone;
    const std::int32_t after = next[static_cast<std::size_t>(at)] = next[static_cast<std::size_t>(right)];
    if (after < count) {
      previous[static_cast<std::size_t>(after)] = at;
      if (const auto found = pair_at(at); found >= 0) heap.push({found, at});
    }
    const std::int32_t before = previous[static_cast<std::size_t>(at)];
    if (before >= 0)
      if (const auto found = pair_at(before); found >= 0) heap.push({found, before});
  }
  std::erase(symbols, kGone);
}

}  // namespace microdit::encoders
