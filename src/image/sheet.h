// A page of pictures for people: sections of captioned blocks, under a title and notes.
#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

/// Pictures side by side that share a caption.
struct Block {
  std::vector<Image> pictures;
  std::string caption{};
};

struct Section {
  std::string title{};
  std::vector<std::string> heads{};  ///< one over each picture of a block
  std::vector<Block> blocks{};
};

struct SheetStyle {
  std::int64_t columns = 1;   ///< blocks in a line
  bool caption_left = false;  ///< beside the block, else beneath it
  std::int64_t cell = 0;      ///< side of a picture's cell; 0 = as GridStyle's
  std::int64_t scale = 1;     ///< pixels per unit of length (Canvas)
  std::string title{};
  std::string note{};  ///< a small line at the end: how the pictures were made
};

/// Sections one under another, a line between them.
Image sheet(const std::vector<Section>& sections, const SheetStyle& style);

}  // namespace microdit::image
