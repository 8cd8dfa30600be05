// Where a dataset lies that a config names.
#pragma once

#include <filesystem>
#include <string>

namespace microdit::core {

/// `dataset` as a path where it has a slash, else data_root()/KIND/DATASET; kind: samples or latents.
std::filesystem::path dataset_folder(const std::string& kind, const std::string& dataset);

/// The folder of latents that a recipe made of a dataset: latents/DATASET/RECIPE under the data root, or below `dataset` where
/// that is a path (which may also be the recipe's folder itself). `recipe` may be empty where there is only one. UserError
/// lists them otherwise; a file system that fails is an error (entries_of), never "no recipe".
std::filesystem::path latents_folder(const std::string& dataset, const std::string& recipe);

/// `path` from the root on, without a slash at its end, "." or ".."; so that its name and its parent are what they seem.
std::filesystem::path whole_path(const std::filesystem::path& path);

}  // namespace microdit::core
