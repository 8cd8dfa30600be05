// How latents are made: codec, text encoder, sizes. A recipe is a small YAML file of its own (configs/latents/*.yaml).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::ingest {

struct ImageRecipe {
  std::string codec{};          ///< diffusers folder
  std::string latent = "mean";  ///< mean | sample
  std::vector<std::int64_t> sizes = {256, 512};
  bool enlarge = false;  ///< false: a size larger than a picture's shorter side is left out of that picture
  bool flips =
      false;  ///< true: each picture is two samples with the same captions, itself and its mirror image
  std::int64_t batch_size = 32;
  std::string precision = "fp32";
  std::int64_t seed = 0;  ///< of `latent: sample`
  void fields(core::Fields& f);
  std::int64_t samples_per_picture() const { return flips ? 2 : 1; }
};
struct TextRecipe {
  std::string
      encoder{};  ///< folder; "none": captions are kept, but nothing is encoded, for models of classes
  std::int64_t length = 77;
  std::int64_t batch_size = 32;
  std::string precision = "fp32";
  bool int8 = false;         ///< stored as int8 with one scale per token row
  bool tokens_only = false;  ///< token ids alone: the encoder runs in training
  void fields(core::Fields& f);
  bool has_encoder() const { return encoder != "none"; }
};

/// Lies under latents/DATASET/<name>.
struct Recipe {
  std::string name;
  ImageRecipe images;
  TextRecipe text;
  void fields(core::Fields& f);
};

/// UserError names `dataset` when `file` is empty or no such file. Paths are relative to the current folder.
Recipe load_recipe(const std::string& dataset, const std::filesystem::path& file);

}  // namespace microdit::ingest
