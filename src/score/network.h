// The networks by name: where their weights lie, and how they want their pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "score/feature_net.h"

namespace microdit::score {

struct NetworkChoice {
  std::string name;   ///< inception | efficientnet_lite0 | mobilenet_v2
  std::string title;  ///< for people
  std::filesystem::path weights;
  std::string sha256;   ///< of the weights: the caller's to fill in
  std::string scaling;  ///< see score/input.h
  std::int64_t dims = 0;
  std::function<std::unique_ptr<FeatureNet>()> load{};
};

/// `weights` empty: the usual files below MICRODIT_DATA/weights. `dims` 0: all. UserError says how to fetch what is missing.
NetworkChoice choose_network(const std::string& name, const std::string& weights, std::int64_t dims);

}  // namespace microdit::score
