// An MDS folder as a source of the stream, where it lies: latents and text of every sample by index, nothing copied or converted.
#pragma once

#include <memory>
#include <string>

#include "stream/mds_table.h"
#include "stream/row_source.h"

namespace microdit::stream {

struct MdsConfig {
  std::filesystem::path folder;
  /// Columns. `{size}` stands for the picture's side in pixels; the defaults are micro_diffusion's.
  std::string latents = "latents_{size}";
  std::string text = "caption_latents";
  std::string caption = "caption";
  std::int64_t size = 0;         ///< picture side in pixels
  std::int64_t downscale = 8;    ///< of the codec
  std::int64_t channels = 0;     ///< 0: from the first sample
  std::int64_t text_length = 0;  ///< 0: from text_width, or from the column where it says its shape
  std::int64_t text_width = 0;
  core::Json facts = core::Json::object();  ///< codec, text_encoder: nothing in the folder names them
};

/// UserError: see read_mds_index and MdsTable; a column that is missing or whose values do not fit the sizes.
std::unique_ptr<RowSource> open_mds(const MdsConfig& config, const MdsOpening& opening);

}  // namespace microdit::stream
