// Where a dataset lies that a config names.
#pragma once

#include <filesystem>
#include <string>

namespace microdit::core {

/// `dataset` as a path where it has a slash, else data_root()/KIND/DATASET; kind: samples or latents.
std::filesystem::path dataset_folder(const std::string& kind, const std::string& dataset);

}  // namespace microdit::core
