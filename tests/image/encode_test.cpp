// Encoding: same bytes every time, text that comes back, JPEG close to its source.
#include "image/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "image/decode.h"

namespace microdit::image {
namespace {

/// Smooth colours, as a photograph has.
Image gradient(std::int64_t height, std::int64_t width) {
  Image image(height, width);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      image.row(y)[x * 3] = static_cast<std::uint8_t>(x * 255 / width);
      image.row(y)[x * 3 + 1] = static_cast<std::uint8_t>(y * 255 / height);
      image.row(y)[x * 3 + 2] =
          static_cast<std::uint8_t>(128 + 100 * std::sin(static_cast<double>(x + y) / 9));
    }
  }
  return image;
}

double mean_difference(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

TEST(EncodePng, DependsOnTheInputAlone) {
  const std::map<std::string, std::string> text = {{"prompt", "a red car"}, {"seed", "7"}};
  EXPECT_EQ(encode_png(gradient(30, 40), text), encode_png(gradient(30, 40), text));
  EXPECT_NE(encode_png(gradient(30, 40), text), encode_png(gradient(30, 40)));
}

TEST(EncodePng, TextComesBack) {
  const std::map<std::string, std::string> text = {
      {"caf", "caf\xc3\xa9 \xc3\xbf"},                 // Latin-1: tEXt
      {"emoji", "\xf0\x9f\x9a\x97 car \xe2\x82\xac"},  // beyond: iTXt
      {"empty", ""},
      {"long", std::string(100'000, 'x')},
      {"settings", "{\n  \"steps\": 30\n}"},
  };
  EXPECT_EQ(read_png_text(encode_png(gradient(5, 5), text)), text);
  EXPECT_EQ(read_png_text(encode_png(gradient(700, 900), text)), text) << "several chunks of pixels";
  EXPECT_TRUE(read_png_text(encode_png(gradient(5, 5))).empty());
}

TEST(EncodePng, RefusesKeywordsThatTheFormatForbids) {
  for (const std::string& keyword :
       {std::string(), std::string(80, 'k'), std::string(" a"), std::string("a\nb")}) {
    EXPECT_THROW(encode_png(gradient(2, 2), {{keyword, "x"}}), std::logic_error) << keyword;
  }
  EXPECT_THROW(encode_png(gradient(2, 2), {{"a", std::string("x\0y", 3)}}), std::logic_error);
  EXPECT_THROW(encode_png(Image()), std::logic_error);
}

TEST(ReadPngText, RefusesWhatIsNoPng) {
  EXPECT_THROW(read_png_text({}), BadImage);
  EXPECT_THROW(read_png_text(encode_jpeg(gradient(8, 8))), BadImage);
  const auto whole = encode_png(gradient(8, 8), {{"a", "b"}});
  EXPECT_EQ(read_png_text(whole).size(), 1U);
  for (std::size_t size = 0; size + 4 < whole.size(); ++size) {
    const std::vector<std::byte> prefix(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(read_png_text(prefix), BadImage) << size;
  }
}

TEST(EncodeJpeg, StaysCloseAndQualityCounts) {
  const Image image = gradient(61, 47);
  const auto fine = encode_jpeg(image, 95);
  const auto coarse = encode_jpeg(image, 20);
  EXPECT_LT(coarse.size(), fine.size());
  const Image back = decode(fine);
  ASSERT_EQ(back.pixels.size(), image.pixels.size());
  EXPECT_LT(mean_difference(back, image), 1.0);
  EXPECT_GT(mean_difference(decode(coarse), image), mean_difference(back, image));
  EXPECT_THROW(encode_jpeg(image, 0), std::logic_error);
}

}  // namespace
}  // namespace microdit::image
