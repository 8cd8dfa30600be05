// Placing sections, lines and blocks from top to bottom.
#include "image/sheet.h"

#include <algorithm>

#include "core/error.h"
#include "image/cells.h"

namespace microdit::image {
namespace {

constexpr std::int64_t kMargin = 10;
constexpr std::int64_t kInnerGap = 4;   // between the pictures of a block
constexpr std::int64_t kBlockGap = 20;  // between blocks of a line
constexpr std::int64_t kLineGap = 8;
constexpr std::int64_t kLabelWidth = 150;
constexpr std::int64_t kNarrowest = 320;  // a title needs the room
constexpr std::int64_t kMaxLines = 3;     // of a caption beneath, a title, a note
constexpr Color kRuleColor{190, 190, 190};
constexpr TextStyle kTitle{.size = kTitleSize, .bold = true};

/// One pass over the page; without a canvas it only measures.
class Page {
 public:
  Page(const std::vector<Section>& sections, const SheetStyle& style) : sections_(sections), style_(style) {
    std::size_t most_blocks = 1, most_pictures = 1;
    std::int64_t side = 0;
    for (const Section& section : sections) {
      most_blocks = std::max(most_blocks, section.blocks.size());
      for (const Block& block : section.blocks) {
        most_pictures = std::max(most_pictures, block.pictures.size());
        side = std::max(side, largest_side(block.pictures));
      }
    }
    core::check(side > 0, "a sheet of no pictures");
    cell_ = style.cell > 0 ? style.cell : default_cell(side);
    columns_ = std::clamp(style.columns, std::int64_t{1}, static_cast<std::int64_t>(most_blocks));
    label_ = style.caption_left ? kLabelWidth : 0;
    block_ = label_ + static_cast<std::int64_t>(most_pictures) * (cell_ + kInnerGap) - kInnerGap;
    width_ = std::max(kNarrowest, 2 * kMargin + columns_ * (block_ + kBlockGap) - kBlockGap);
  }

  std::int64_t width() const { return width_; }

  /// The height of the page.
  std::int64_t place(Canvas* canvas) const {
    std::int64_t y = text(canvas, kMargin, kMargin, style_.title, kTitle);
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      if (i > 0) {
        if (canvas != nullptr) canvas->fill({kMargin, y + 4, width_ - 2 * kMargin, 2}, kRuleColor);
        y += 16;
      }
      y = section(canvas, y, sections_[i]);
    }
    return text(canvas, kMargin, y, style_.note, {.color = kFaintTextColor}) + kMargin - kLineGap;
  }

 private:
  /// Over the page's whole width; where the next thing may start.
  std::int64_t text(Canvas* canvas, std::int64_t x, std::int64_t y, const std::string& words,
                    TextStyle style) const {
    if (words.empty()) return y;
    style.width = width_ - 2 * kMargin;
    style.lines = kMaxLines;
    if (canvas != nullptr) canvas->text(x, y, words, style);
    return y + text_size(words, style).height + kLineGap;
  }

  std::int64_t section(Canvas* canvas, std::int64_t y, const Section& section) const {
    y = text(canvas, kMargin, y, section.title, kTitle);
    const auto count = static_cast<std::int64_t>(section.blocks.size());
    if (!section.heads.empty() && count > 0) y = heads(canvas, y, section, std::min(columns_, count));
    for (std::int64_t first = 0; first < count; first += columns_) {
      std::int64_t bottom = y;
      for (std::int64_t i = first; i < std::min(first + columns_, count); ++i) {
        bottom = std::max(bottom,
                          block(canvas, left_of(i - first), y, section.blocks[static_cast<std::size_t>(i)]));
      }
      y = bottom;
    }
    return y;
  }

  std::int64_t left_of(std::int64_t column) const { return kMargin + column * (block_ + kBlockGap); }

  std::int64_t heads(Canvas* canvas, std::int64_t y, const Section& section, std::int64_t columns) const {
    const TextStyle style{.color = kFaintTextColor, .width = cell_, .centred = true};
    std::int64_t height = 0;
    for (const std::string& head : section.heads) height = std::max(height, text_size(head, style).height);
    for (std::int64_t column = 0; column < columns && canvas != nullptr; ++column)
      for (std::size_t i = 0; i < section.heads.size(); ++i)
        canvas->text(left_of(column) + label_ + static_cast<std::int64_t>(i) * (cell_ + kInnerGap), y,
                     section.heads[i], style);
    return y + height + 2;
  }

  /// The block's lower edge, the gap to the next line included.
  std::int64_t block(Canvas* canvas, std::int64_t x, std::int64_t y, const Block& block) const {
    std::int64_t left = x + label_;
    for (const Image& picture : block.pictures) {
      if (canvas != nullptr) paste_into_cell(*canvas, picture, left, y, cell_);
      left += cell_ + kInnerGap;
    }
    TextStyle style{.width = block_, .lines = kMaxLines, .centred = true};
    if (style_.caption_left)
      style = {.width = label_ - kLineGap, .lines = std::max<std::int64_t>(1, cell_ / text_size("X").height)};
    const std::int64_t height = text_size(block.caption, style).height;
    const std::int64_t top =
        style_.caption_left ? y + std::max<std::int64_t>(0, cell_ - height) / 2 : y + cell_ + kCaptionGap;
    if (canvas != nullptr) canvas->text(x, top, block.caption, style);
    return (style_.caption_left || height == 0 ? y + cell_ : top + height) + kLineGap;
  }

  const std::vector<Section>& sections_;
  const SheetStyle& style_;
  std::int64_t cell_ = 0, columns_ = 1, label_ = 0, block_ = 0, width_ = 0;
};

}  // namespace

Image sheet(const std::vector<Section>& sections, const SheetStyle& style) {
  const Page page(sections, style);
  Canvas canvas(page.place(nullptr), page.width(), {255, 255, 255}, style.scale);
  page.place(&canvas);
  return canvas.image();
}

}  // namespace microdit::image
