// Names of datasets to folders, and paths as they are typed to whole ones.
#include "core/dataset_folder.h"

#include <fmt/ranges.h>

#include <vector>

#include "core/config.h"
#include "core/disk.h"
#include "core/error.h"

namespace microdit::core {

std::filesystem::path dataset_folder(const std::string& kind, const std::string& dataset) {
  if (dataset.find('/') != std::string::npos) return dataset;
  return data_root() / kind / dataset;
}

std::filesystem::path latents_folder(const std::string& dataset, const std::string& recipe) {
  namespace fs = std::filesystem;
  const fs::path base = dataset_folder("latents", dataset);
  const auto is_stage_folder = [](const fs::path& path) {
    return input_bytes(path / "facts.json").has_value();
  };
  if (!recipe.empty()) return base / recipe;
  if (is_stage_folder(base)) return base;
  std::vector<std::string> recipes;
  for (const fs::path& entry : entries_of(base))
    if (is_stage_folder(entry)) recipes.push_back(entry.filename().string());
  if (recipes.size() > 1)
    user_error("data.recipe: {} has latents of several recipes ({}); name one, as recipe: {}", base.string(),
               fmt::join(recipes, ", "), recipes.front());
  return recipes.empty() ? base : base / recipes.front();
}

std::filesystem::path whole_path(const std::filesystem::path& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace microdit::core
