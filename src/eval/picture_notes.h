// What a painted picture says of itself: the line that picture tools read, and all that paints it again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "diffusion/sampler_config.h"
#include "image/image.h"

namespace microdit::eval {

/// The text chunk `microdit`, a JSON object with these keys. It holds no time, host or path: its bytes are the same for any
/// number of ranks.
struct PictureNotes {
  std::string prompt, negative;
  std::string class_name;  ///< `class`: of a model of text and classes
  std::uint64_t seed = 0;
  std::string run;        ///< its name
  std::int64_t step = 0;  ///< of the checkpoint
  std::string weights = "auto";
  diffusion::SamplerConfig sampler;
  std::string precision = "auto";
  std::string checkpoint_sha256;  ///< TrainedRun::checkpoint_sha256
  std::int64_t size = 0;          ///< of the picture, which is square; 0 = not said
  /// The pictures that were painted together, and which of them it is: its bits depend on both.
  std::int64_t batch_size = 0, slot = 0;
  std::string version;          ///< of the suite
  std::int64_t trajectory = 0;  ///< of a strip of so many states
  void fields(core::Fields& f);

  /// Another program's picture: of its line `parameters` only prompt, negative, seed, steps, guidance and size are taken.
  bool is_foreign = false;
  std::vector<std::string> not_understood{};  ///< "Sampler: Euler a"
};

/// The members without which the picture is still the same one: whether one call made two pictures does not depend on them.
core::Json without_surroundings(core::Json notes);

/// The form of AUTOMATIC1111's web UI: prompt, negative prompt, settings in one line. `notes`: as in the chunk.
std::string parameters_text(const core::Json& notes, const std::string& path, const image::Image& picture);
/// That text of any program. UserError, with `where`: no such text.
PictureNotes parse_parameters(const std::string& text, const std::string& where);

/// Of a PNG file: the chunk `microdit`, else `parameters`. UserError: no PNG, larger than 256 MiB, a strip, notes that are missing
/// or not what they must be.
PictureNotes read_picture_notes(const std::filesystem::path& file);

/// "microdit 0.1.0"
std::string suite_version();

}  // namespace microdit::eval
