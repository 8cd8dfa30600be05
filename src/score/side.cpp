// What the two places may be.
#include "score/side.h"

#include "core/error.h"

namespace microdit::score {

bool names_statistics(const std::string& place) {
  return place.ends_with(".npz");
}

Side open_side(const std::string& place, const std::string& split, std::int64_t crop) {
  if (!names_statistics(place)) return {place, open_pictures(place, is_dataset(place) ? split : ""), crop};
  if (!std::filesystem::exists(place)) core::user_error("{}: no such file", place);
  return {place, nullptr, 0};
}

void check_sides(const std::string& pictures, const std::string& reference, const ScoreConfig& config) {
  if (!config.split.empty() && !is_dataset(pictures) && !is_dataset(reference))
    core::user_error("split={}: only datasets have splits, and neither of the two is one", config.split);
  if (config.reference_size > 0 && reference.empty())
    core::user_error("reference_size={}: there is no --reference", config.reference_size);
  if (names_statistics(reference) && config.reference_size > 0)
    core::user_error("reference_size={}: {} holds statistics, no pictures to resize", config.reference_size,
                     reference);
  if (config.kid_subsets == 0) return;
  if (reference.empty()) core::user_error("kid_subsets={}: there is no --reference", config.kid_subsets);
  for (const std::string& side : {pictures, reference})
    if (names_statistics(side))
      core::user_error("kid_subsets={}: {} holds statistics; KID wants the pictures themselves",
                       config.kid_subsets, side);
}

}  // namespace microdit::score
