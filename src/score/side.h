// The two sides of a comparison, as they are named.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "score/pictures.h"
#include "score/score.h"

namespace microdit::score {

/// One side of the comparison: statistics that a file holds, or pictures.
struct Side {
  std::string place;
  std::unique_ptr<Pictures> pictures;  ///< null: a file
  std::int64_t crop = 0;

  bool is_file() const { return !pictures; }
  std::filesystem::path folder() const { return pictures->folder(); }
};

/// Whether the place is an .npz.
bool names_statistics(const std::string& place);
/// UserError: nothing there.
Side open_side(const std::string& place, const std::string& split, std::int64_t crop);
/// UserError: settings that these two sides cannot have.
void check_sides(const std::string& pictures, const std::string& reference, const ScoreConfig& config);

}  // namespace microdit::score
