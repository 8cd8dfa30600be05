// What a part of the page holds.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "image/image.h"

namespace microdit::explain {

struct Figure {
  std::string name;     ///< of its file, without .png
  std::string caption;  ///< plain text
  image::Image picture;
};

struct Chapter {
  std::string title;
  std::string words;  ///< HTML, above the figures
  std::vector<Figure> figures{};
  std::string tables{};                       ///< HTML, below them
  core::Json numbers = core::Json::object();  ///< what is drawn, for explain.json
};

/// Pixels per unit of length in all figures: sharp also on a projector.
inline constexpr std::int64_t kScale = 2;
/// Width that all figures share, units of length: the page's.
inline constexpr std::int64_t kWidth = 960;

}  // namespace microdit::explain
