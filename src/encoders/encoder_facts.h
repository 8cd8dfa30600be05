// What manifests and runs say of the frozen encoders, and how one is found again from that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::encoders {

/// `folder` is a hint where the weights lay; all else is the encoder's identity.
struct CodecFacts {
  std::string kind{};
  std::string folder{};
  std::string sha256{};
  std::string network{};  ///< as TextEncoderFacts has it
  double scaling_factor = 1;
  double shift_factor = 0;
  /// Per channel, or none: latent = (z - mean) / std * scaling, without a shift.
  std::vector<double> latents_mean{}, latents_std{};
  std::int64_t channels = 0;
  std::int64_t downscale = 0;
  void fields(core::Fields& f);
};
/// The kind, and the model_type in config.json, of a tokenizer that no frozen network belongs to: a model has its own (model.text_conditioner).
/// Its `sha256` is the tokenizer's.
inline constexpr const char* kTokenizerAlone = "tokenizer";

struct TextEncoderFacts {
  std::string kind{};
  std::string folder{};
  std::string sha256{};
  /// The values of its config that decide the rows, "layers=2 heads=2 ..."; empty where what was written is older than this
  /// member: then nothing is compared (core/later_facts.h). The same of the next.
  std::string network{};
  std::string tokenizer_sha256{};  ///< Tokenizer::sha256
  std::int64_t width = 0;
  std::string pads = "zero";       ///< rows of pad tokens: zero, or what the encoder gives (encoder)
  std::string precision = "fp32";  ///< that the rows are computed in: fp32 or bf16
  std::int64_t vocabulary = 0;     ///< of a tokenizer alone: how many tokens it knows
  void fields(core::Fields& f);
};

/// The hint to store for a folder: weights/NAME below the data root, assets/NAME of the repository, else the
/// absolute path. It does not change when the data root or the repository moves.
std::string folder_hint(const std::filesystem::path& folder);

/// What is looked for: the weights with this SHA-256, in a folder that makes the same of them.
struct Sought {
  std::string what;  ///< "codec", for messages
  std::string hint;  ///< as stored
  std::string sha256;
  std::function<std::string(const std::filesystem::path&)> sha256_of;  ///< of the weights in a folder
  /// What a folder with these weights says otherwise, or "".
  std::function<std::string(const std::filesystem::path&)> difference = [](const auto&) { return ""; };
};
/// The first folder whose weights have the SHA-256, without a difference: the hint's, MICRODIT_DATA/weights/NAME, assets/NAME
/// beside the program or the folder it was started in, NAME in the run's folder. UserError lists all that
/// were looked at.
std::filesystem::path find_folder(const Sought& sought, const std::filesystem::path& run_folder);

}  // namespace microdit::encoders
