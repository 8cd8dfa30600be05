// Placing sections, lines and blocks from top to bottom.
#include "image/sheet.h"

#include <algorithm>

#include "core/error.h"
#include "image/cells.h"
#include "image/font.h"
#include "image/stroke.h"

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
    cell_ = default_cell(side);
    columns_ = std::clamp(style.columns, std::int64_t{1}, static_cast<std::int64_t>(most_blocks));
    label_ = style.caption_left ? kLabelWidth : 0;
    block_ = label_ + static_cast<std::int64_t>(most_pictures) * (cell_ + kInnerGap) - kInnerGap;
    width_ = std::max(kNarrowest, 2 * kMargin + columns_ * (block_ + kBlockGap) - kBlockGap);
  }

  std::int64_t width() const { return width_; }

  /// The height of the page.
  std::int64_t place(Image* canvas) const {
    std::int64_t y = text(canvas, kMargin, kMargin, style_.title, width_ - 2 * kMargin, kTitleScale);
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      if (i > 0) {
        if (canvas != nullptr) fill(*canvas, {kMargin, y + 4, width_ - kMargin - 1, y + 5}, kRuleColor);
        y += 16;
      }
      y = section(canvas, y, sections_[i]);
    }
    return text(canvas, kMargin, y, style_.note, width_ - 2 * kMargin, 1) + kMargin - kLineGap;
  }

 private:
  /// Where the next thing may start.
  std::int64_t text(Image* canvas, std::int64_t x, std::int64_t y, const std::string& words,
                    std::int64_t width, int scale) const {
    if (words.empty()) return y;
    for (const std::string& line : wrap(words, width, kMaxLines, scale)) {
      if (canvas != nullptr) draw_text_styled(*canvas, x, y, line, {.scale = scale});
      y += kLineHeight * scale;
    }
    return y + kLineGap;
  }

  std::int64_t section(Image* canvas, std::int64_t y, const Section& section) const {
    y = text(canvas, kMargin, y, section.title, width_ - 2 * kMargin, kTitleScale);
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

  std::int64_t heads(Image* canvas, std::int64_t y, const Section& section, std::int64_t columns) const {
    for (std::int64_t column = 0; column < columns && canvas != nullptr; ++column) {
      for (std::size_t i = 0; i < section.heads.size(); ++i) {
        const std::string head = shorten(to_ascii(section.heads[i]), cell_);
        const std::int64_t x = left_of(column) + label_ + static_cast<std::int64_t>(i) * (cell_ + kInnerGap);
        draw_text_styled(*canvas, x + (cell_ - text_width(head)) / 2, y, head, {.color = kFaintTextColor});
      }
    }
    return y + kLineHeight + 2;
  }

  /// The block's lower edge, the gap to the next line included.
  std::int64_t block(Image* canvas, std::int64_t x, std::int64_t y, const Block& block) const {
    std::int64_t left = x + label_;
    for (const Image& picture : block.pictures) {
      if (canvas != nullptr) paste_into_cell(*canvas, picture, left, y, cell_);
      left += cell_ + kInnerGap;
    }
    const std::int64_t width = style_.caption_left ? label_ - kLineGap : block_;
    const std::int64_t most =
        style_.caption_left ? std::max<std::int64_t>(1, cell_ / kLineHeight) : kMaxLines;
    const auto lines = wrap(block.caption, width, most);
    const auto height = static_cast<std::int64_t>(lines.size()) * kLineHeight;
    std::int64_t top = style_.caption_left ? y + (cell_ - height) / 2 : y + cell_ + kCaptionGap;
    for (const std::string& line : lines) {
      const std::int64_t inset = style_.caption_left ? 0 : (block_ - text_width(line)) / 2;
      if (canvas != nullptr) draw_text_styled(*canvas, x + inset, top, line, {});
      top += kLineHeight;
    }
    return (style_.caption_left || lines.empty() ? y + cell_ : top) + kLineGap;
  }

  const std::vector<Section>& sections_;
  const SheetStyle& style_;
  std::int64_t cell_ = 0, columns_ = 1, label_ = 0, block_ = 0, width_ = 0;
};

}  // namespace

Image sheet(const std::vector<Section>& sections, const SheetStyle& style) {
  const Page page(sections, style);
  Image canvas(page.place(nullptr), page.width());
  page.place(&canvas);
  return canvas;
}

}  // namespace microdit::image
