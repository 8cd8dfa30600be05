// Which of a sample's captions a position shows: a function of (seed, position) and the sample alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace microdit::stream {

/// Which sources are wanted. With `shares` (one per name, relative) first a source is drawn among those that the sample has, then
/// one of its captions; without, all captions of the wanted sources are alike.
struct CaptionRule {
  std::vector<std::string> names;  ///< empty = all
  std::vector<double> shares;
  bool first =
      false;  ///< of each folder the first of `names` that it has, else its own first: folders of a mix may differ
};

/// The rule for a folder whose caption sources are `sources`.
class CaptionChoice {
 public:
  /// UserError naming a source that the folder does not have, or a share that is none.
  CaptionChoice(const CaptionRule& rule, const std::vector<std::string>& sources, const std::string& folder);
  /// Of a sample with captions of these sources, the place of the chosen one; -1 = none is wanted.
  std::int64_t choose(std::span<const std::uint8_t> sources, std::uint64_t seed, std::int64_t position) const;
  bool wants(std::size_t source) const { return source < weight_.size() && weight_[source] > 0; }
  /// Whether only some sources are wanted.
  bool restricts() const { return restricts_; }

 private:
  std::vector<double> weight_;  ///< per source
  bool by_share_ = false, restricts_ = false;
};

/// Whether the caption of a position is dropped.
bool drops_caption(double probability, std::uint64_t seed, std::int64_t position);

}  // namespace microdit::stream
