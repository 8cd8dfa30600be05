// The grid's geometry, and captions that stay in their cell.
#include "image/grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "image/canvas.h"

namespace microdit::image {
namespace {

/// Whether all pixels of the box are the one grey value.
bool is_flat(const Image& image, std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
             std::uint8_t value) {
  for (std::int64_t row = y; row < y + height; ++row) {
    const std::uint8_t* from = image.row(row) + x * 3;
    if (!std::all_of(from, from + width * 3, [&](std::uint8_t v) { return v == value; })) return false;
  }
  return true;
}

TEST(Grid, PlacesCellsWithPadding) {
  const std::vector<Image> pictures(5, Image(200, 200, 10));
  const Image result = grid(pictures, {}, {.columns = 3, .padding = 4});
  EXPECT_EQ(result.width, 4 + 3 * 204);
  EXPECT_EQ(result.height, 4 + 2 * 204);
  EXPECT_TRUE(is_flat(result, 4, 4, 200, 200, 10));
  EXPECT_TRUE(is_flat(result, 204, 0, 4, result.height, 255));
  EXPECT_TRUE(is_flat(result, 208, 208, 200, 200, 10));
  EXPECT_TRUE(is_flat(result, 412, 208, 200, 200, 255)) << "the sixth cell is empty";
}

TEST(Grid, IsAboutSquareByDefault) {
  const Image result = grid(std::vector<Image>(7, Image(128, 128)), {}, {.padding = 0});
  EXPECT_EQ(result.width, 3 * 128);
  EXPECT_EQ(result.height, 3 * 128);
  EXPECT_EQ(grid({Image(128, 128)}, {}, {.columns = 8, .padding = 0}).width, 128);
}

TEST(Grid, EnlargesByWholeFactorsAndCentres) {
  Image small(2, 2, 0);
  small.row(0)[0] = 255;
  const Image result =
      grid({small}, {}, {.cell = 7, .padding = 0});  // 3 times 2 = 6, then one row and column over
  EXPECT_EQ(result.width, 7);
  for (std::int64_t y = 0; y < 6; ++y) {
    for (std::int64_t x = 0; x < 6; ++x) EXPECT_EQ(result.row(y)[x * 3], y < 3 && x < 3 ? 255 : 0);
  }
  EXPECT_TRUE(is_flat(result, 6, 0, 1, 7, 255));
  EXPECT_EQ(grid({Image(50, 64)}, {}, {.padding = 0}).width, 128);
}

TEST(Grid, ReducesLargePicturesInProportion) {
  const Image result = grid({Image(300, 100, 0)}, {}, {.cell = 150, .padding = 0});
  EXPECT_EQ(result.width, 150);
  EXPECT_TRUE(is_flat(result, 50, 0, 50, 150, 0));
  EXPECT_TRUE(is_flat(result, 0, 0, 50, 150, 255));
  EXPECT_TRUE(is_flat(result, 100, 0, 50, 150, 255));
}

TEST(Grid, CaptionsStayBeneathTheirCell) {
  const std::string endless(400, 'W');
  const std::string words =
      "a very long caption made of many many words that goes on and on and on and then on";
  const Image result = grid({Image(128, 128, 0), Image(128, 128, 0), Image(128, 128, 0)},
                            {endless, words, ""}, {.columns = 3, .padding = 6});
  const std::int64_t beneath = 6 + 128;
  const std::int64_t height = result.height - beneath;
  EXPECT_GE(height, text_size(words, {.width = 128, .lines = 3}).height);
  EXPECT_TRUE(is_flat(result, 128 + 6, beneath, 6, height, 255));
  EXPECT_FALSE(is_flat(result, 6, beneath, 128, height, 255));
  EXPECT_FALSE(is_flat(result, 140, beneath, 128, height, 255));
  EXPECT_TRUE(is_flat(result, 274, beneath, 128, height, 255)) << "no caption, no ink";
}

TEST(Grid, HasATitleAndRefusesNothing) {
  const Image plain = grid({Image(128, 128, 0)}, {});
  const Image titled = grid({Image(128, 128, 0)}, {}, {.title = "a title far too long for so small a grid"});
  EXPECT_EQ(titled.width, plain.width);
  EXPECT_GT(titled.height, plain.height);
  EXPECT_THROW(grid({}, {}), std::logic_error);
}

}  // namespace
}  // namespace microdit::image
