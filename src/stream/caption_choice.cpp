// Draws keyed by seed and position.
#include "stream/caption_choice.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::stream {

CaptionChoice::CaptionChoice(const CaptionRule& rule, const std::vector<std::string>& sources,
                             const std::string& folder)
    : weight_(sources.size(), rule.names.empty() && !rule.first ? 1.0 : 0.0),
      by_share_(!rule.shares.empty()),
      restricts_(!rule.names.empty() || rule.first) {
  core::check(rule.shares.empty() || rule.shares.size() == rule.names.size(),
              "{} shares for {} caption sources", rule.shares.size(), rule.names.size());
  if (rule.first) {
    const auto known = [&](const std::string& name) { return std::ranges::find(sources, name); };
    const auto name =
        std::ranges::find_if(rule.names, [&](const std::string& n) { return known(n) != sources.end(); });
    const auto chosen = name == rule.names.end() ? sources.begin() : known(*name);
    if (chosen != sources.end()) weight_[static_cast<std::size_t>(chosen - sources.begin())] = 1;
    return;
  }
  for (std::size_t i = 0; i < rule.names.size(); ++i) {
    const auto found = std::find(sources.begin(), sources.end(), rule.names[i]);
    if (found == sources.end())
      core::user_error("captions: `{}` is none of {}'s ({})", rule.names[i], folder,
                       fmt::join(sources, ", "));
    const double share = by_share_ ? rule.shares[i] : 1.0;
    if (!(share > 0 && share < 1e9))
      core::user_error("captions.{}: {} is not a share; give more than 0, or leave the source out",
                       rule.names[i], share);
    weight_[static_cast<std::size_t>(found - sources.begin())] = share;
  }
}

std::int64_t CaptionChoice::choose(std::span<const std::uint8_t> sources, std::uint64_t seed,
                                   std::int64_t position) const {
  std::array<std::uint32_t, 256> count{};
  std::uint64_t wanted = 0;
  double total = 0;
  for (const std::uint8_t source : sources) {
    if (!wants(source)) continue;
    ++wanted;
    if (count[source]++ == 0) total += weight_[source];
  }
  if (wanted == 0) return -1;
  core::CounterRng rng(seed, core::Purpose::caption_choice, static_cast<std::uint64_t>(position));
  int drawn = -1;  // every source
  if (by_share_) {
    double left = static_cast<double>(rng.uniform()) * total;
    for (std::size_t source = 0; source < weight_.size(); ++source) {
      if (count[source] == 0) continue;
      drawn = static_cast<int>(source);
      if ((left -= weight_[source]) < 0) break;
    }
    wanted = count[static_cast<std::size_t>(drawn)];
  }
  std::uint64_t skip = wanted > 1 ? rng.below(wanted) : 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (drawn < 0 ? !wants(sources[i]) : sources[i] != drawn) continue;
    if (skip-- == 0) return static_cast<std::int64_t>(i);
  }
  core::check(false, "no caption chosen of {}", sources.size());
  return -1;
}

bool drops_caption(double probability, std::uint64_t seed, std::int64_t position) {
  return probability > 0 &&
         core::CounterRng(seed, core::Purpose::caption_drop, static_cast<std::uint64_t>(position)).uniform() <
             probability;
}

}  // namespace microdit::stream
