// Text in any script, hostile text, clipping; lines and boxes where they were asked for.
#include "image/canvas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"

namespace microdit::image {
namespace {

/// Pixels that are not white.
std::int64_t ink(const Image& image, const Box& box) {
  std::int64_t found = 0;
  for (std::int64_t y = box.y; y < box.y + box.height; ++y)
    for (std::int64_t x = box.x; x < box.x + box.width; ++x) {
      const std::uint8_t* pixel = image.row(y) + 3 * x;
      found += pixel[0] != 255 || pixel[1] != 255 || pixel[2] != 255;
    }
  return found;
}
std::int64_t ink(const Image& image) {
  return ink(image, {0, 0, image.width, image.height});
}

Image drawn(const std::string& text, const TextStyle& style = {.size = 24}) {
  Canvas canvas(60, 400);
  canvas.text(4, 4, text, style);
  return canvas.image();
}

TEST(CanvasText, EveryScriptHasItsOwnShapes) {
  // A letter that no font has is drawn as a box with its number: boxes of two letters differ in few pixels, and hold
  // no colour. What is compared is that each looks different, and how much ink words take.
  std::set<std::vector<std::uint8_t>> shapes;
  const std::vector<std::string> words = {"red heart",  "красное сердце", "κόκκινη καρδιά", "红心",
                                          "赤いハート", "قلب أحمر",       "לב אדום",        "caf\xc3\xa9"};
  for (const std::string& word : words) {
    const Image image = drawn(word);
    EXPECT_GT(ink(image), 60) << word;
    EXPECT_TRUE(shapes.insert(image.pixels).second) << word;
  }
}

TEST(CanvasText, EmojiAreInColour) {
  const Image image = drawn("\xe2\x9d\xa4\xef\xb8\x8f");  // a red heart
  std::int64_t red = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3)
    red += image.pixels[i] > 150 && image.pixels[i + 1] < 90 && image.pixels[i + 2] < 90;
  EXPECT_GT(red, 50);
}

TEST(CanvasText, IsAsLargeAsItsSizeSays) {
  const Size small = text_size("Hamburg"), large = text_size("Hamburg", {.size = 2 * kTextSize});
  EXPECT_NEAR(static_cast<double>(large.width), 2.0 * static_cast<double>(small.width), 4);
  EXPECT_GT(large.height, small.height + 8);
  EXPECT_EQ(text_size("").height, 0);
  const Size upward = text_size("Hamburg", {.upward = true});
  EXPECT_EQ(upward.width, small.height);
  EXPECT_EQ(upward.height, small.width);
  Canvas canvas(200, 200);
  const Size took = canvas.text(20, 100, "Hamburg");
  EXPECT_EQ(took.width, small.width);
  const Image image = canvas.image();
  EXPECT_EQ(ink(image, {20, 100, small.width, small.height}), ink(image));
}

TEST(CanvasText, KeepsToItsWidthAndLines) {
  const std::string words =
      "a very long caption made of many many words that goes on and on and on and then on";
  const TextStyle style{.width = 128, .lines = 3};
  const Size size = text_size(words, style);
  EXPECT_LE(size.width, 128);
  EXPECT_LE(size.height, 3 * text_size("X").height);
  EXPECT_GT(size.height, 2 * text_size("X").height);
  EXPECT_LE(text_size(std::string(400, 'W'), style).width, 128);
  EXPECT_LE(text_size(std::string(400, 'W'), {.width = 5, .lines = 1}).height, text_size("X").height);
  Canvas canvas(100, 300);
  canvas.text(50, 10, words, style);
  const Image image = canvas.image();
  EXPECT_EQ(ink(image), ink(image, {50, 10, 129, 90}));
}

TEST(CanvasText, TakesHostileTexts) {
  for (const std::string& text : {std::string("\xff\xfe broken \xc3"), std::string("nul\0inside", 10),
                                  std::string("two\nlines\x01\x7f"), std::string(1 << 20, 'a'),
                                  std::string(100'000, '\xcc') + std::string(100'000, '\x81'),
                                  std::string("\xe2\x80\xae turned around")}) {
    Canvas canvas(40, 100);
    EXPECT_NO_THROW(canvas.text(0, 0, text, {.width = 100, .lines = 2})) << text.size();
    EXPECT_NO_THROW(canvas.text(-5000, 30, text));
  }
  std::string zalgo = "z";
  for (int i = 0; i < 2000; ++i) zalgo += "\xcc\x81";
  EXPECT_NO_THROW(text_size(zalgo, {.width = 100, .lines = 3}));
  EXPECT_EQ(drawn("two\nlines").pixels, drawn("two lines").pixels);
}

TEST(Canvas, FillsPastesAndClips) {
  Canvas canvas(20, 30);
  canvas.fill({5, 5, 10, 10}, {255, 0, 0});
  canvas.fill({28, 18, 100, 100}, {0, 0, 0});
  Image picture(4, 4, 7);
  canvas.paste(picture, -2, -2);
  canvas.paste(picture, 28, 10);
  const Image image = canvas.image();
  EXPECT_EQ(ink(image), 100 + 4 + 4 + 8);
  EXPECT_EQ(image.row(5)[15], 255);
  EXPECT_EQ(image.row(5)[16], 0);
  EXPECT_EQ(image.row(1)[3], 7);
  EXPECT_EQ(image.row(13)[3 * 29], 7);
}

TEST(Canvas, LinesStayWithin) {
  Canvas canvas(100, 100);
  const Box within{20, 20, 60, 60};
  canvas.line({{-1e9, 50}, {1e9, 50}}, {0, 0, 255}, 2, within);
  canvas.line({{50, 90}}, {0, 0, 255}, 2, within);
  const Image image = canvas.image();
  EXPECT_EQ(ink(image), ink(image, {20, 49, 60, 2}));
  EXPECT_EQ(ink(image), 120);
  canvas.line({{70, 30}}, {0, 0, 255}, 3, within);
  EXPECT_GT(ink(canvas.image()), 124) << "one point is a dot";
}

TEST(Canvas, RefusesWhatCannotBeDrawn) {
  EXPECT_THROW(Canvas(40'000, 10), core::UserError);
  EXPECT_THROW(Canvas(0, 10), std::logic_error);
}

}  // namespace
}  // namespace microdit::image
