// Pages of captioned blocks: where pictures, captions and the line between sections are.
#include "image/sheet.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace microdit::image {
namespace {

/// Pixels of the box that are not white.
std::int64_t ink(const Image& image, std::int64_t x, std::int64_t y, std::int64_t width,
                 std::int64_t height) {
  std::int64_t found = 0;
  for (std::int64_t row = y; row < y + height; ++row) {
    for (std::int64_t column = x; column < x + width; ++column) {
      const std::uint8_t* pixel = image.row(row) + column * 3;
      found += pixel[0] != 255 || pixel[1] != 255 || pixel[2] != 255;
    }
  }
  return found;
}

const Image kBlack(128, 128, 0);
const Image kWhite(128, 128, 255);

TEST(Sheet, HasACaptionOnceAtTheLeftOfItsLine) {
  Section section;
  section.blocks = {{.pictures = {kBlack, kBlack}, .caption = "first"},
                    {.pictures = {kBlack, kBlack}, .caption = "second"}};
  const Image page = sheet({section}, {.caption_left = true});
  const std::int64_t label = 10 + 150, second = 10 + 128 + 8;
  EXPECT_EQ(page.width, label + 128 + 4 + 128 + 10);
  for (const std::int64_t top : {std::int64_t{10}, second}) {
    EXPECT_GT(ink(page, 10, top, 150, 128), 20) << "a caption";
    EXPECT_EQ(ink(page, label, top, 128, 128), 128 * 128);
    EXPECT_EQ(ink(page, label + 128 + 4, top, 128, 128), 128 * 128);
  }
  EXPECT_EQ(ink(page, label, 10 + 128, 260, 8), 0) << "nothing beneath a picture";
}

TEST(Sheet, DividesItsSectionsAndNamesTheirColumns) {
  const Section half{.title = "Best 1",
                     .heads = {"original", "generated"},
                     .blocks = {{.pictures = {kWhite, kWhite}, .caption = "rank 1: x"}}};
  const Image one = sheet({half}, {.columns = 4, .note = "how"});
  const Image two = sheet({half, half}, {.columns = 4, .note = "how"});
  EXPECT_GT(two.height, one.height + 128);
  std::int64_t rules = 0;
  for (std::int64_t y = 0; y < two.height; ++y) rules += ink(two, 10, y, two.width - 20, 1) == two.width - 20;
  EXPECT_EQ(rules, 2) << "a line of two pixels between the halves";
  Section headless = half;
  headless.heads.clear();
  EXPECT_LT(sheet({headless}, {.columns = 4, .note = "how"}).height, one.height);
  EXPECT_LT(sheet({half}, {.columns = 4}).height, one.height);
}

TEST(Sheet, PutsBlocksSideBySide) {
  Section section;
  for (int i = 0; i < 5; ++i) section.blocks.push_back({.pictures = {kBlack, kBlack}, .caption = "c"});
  const Image page = sheet({section}, {.columns = 4});
  EXPECT_EQ(page.width, 10 + 4 * (260 + 20) - 20 + 10);
  EXPECT_EQ(ink(page, 10 + 260, 10, 20, 128), 0);
  EXPECT_THROW(sheet({}, {}), std::logic_error);
}

}  // namespace
}  // namespace microdit::image
