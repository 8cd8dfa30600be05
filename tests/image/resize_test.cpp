// Resizing: Pillow's pixels by golden hash, the crop's rule, and equality of the crop with a full resize.
#include "image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <span>
#include <stdexcept>
#include <string>

#include "core/hash.h"

namespace microdit::image {
namespace {

/// The picture that the golden hashes were made from: value = (y * 7 + x * 13 + c * 29 + x * y) mod 256.
Image pattern(std::int64_t height, std::int64_t width) {
  Image image(height, width);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        image.row(y)[x * 3 + c] = static_cast<std::uint8_t>(y * 7 + x * 13 + c * 29 + x * y);
      }
    }
  }
  return image;
}

std::string pixel_hash(const Image& image) {
  return core::sha256(std::as_bytes(std::span(image.pixels)));
}

struct Golden {
  std::int64_t width;
  std::int64_t height;
  const char* sha256;  ///< of Pillow's resize of pattern(61, 83)
};

class Goldens : public testing::TestWithParam<Golden> {};

TEST_P(Goldens, EqualPillow) {
  const Image result = resize_bicubic(pattern(61, 83), GetParam().width, GetParam().height);
  EXPECT_EQ(result.width, GetParam().width);
  EXPECT_EQ(result.height, GetParam().height);
  EXPECT_EQ(pixel_hash(result), GetParam().sha256);
}

INSTANTIATE_TEST_SUITE_P(
    Pillow, Goldens,
    testing::Values(Golden{32, 32, "3a1afbef8d1e3ed80994d2b38216823136e0e3bec4decd5040410b1cbc4db0ec"},
                    Golden{83, 20, "09531fba1ff4772b7f1478fef78f69a703dcf09f56f0f9382e0529a9785e66f7"},
                    Golden{20, 61, "75b10af1150a0d41ae71ff964cdecd28630eaa151bb0d1e0647e162f4912d351"},
                    Golden{1, 1, "8e12ed997390722b1dc7ca965adb7faf6ae81d73f885da8267c96355b3d6e435"},
                    Golden{166, 122, "eb065e74520196c6aae23a439f4b8e1eecf790350b9a769df5b11e4374096906"},
                    Golden{200, 7, "d2a3e23059471a28f9fc93399007e089218b83c87a241047bec0d0ac49487e70"},
                    Golden{7, 200, "33f63ca804a90f3cfc06cf364dbeb02d1890712f341695784d64b0396e2b2989"},
                    Golden{82, 60, "b7e8918578fb55055794c262219e0e174c59ce6f0398896fbcd89632f75e1182"},
                    Golden{84, 62, "0d3c1e5017efb7ac84943177793df4e7ea28845042ea1f6e781dfae99a764242"},
                    Golden{16, 48, "62a724a5bf1aac14a40212bdf053647462cd2a2f7a3017e63d047bf1736b9503"}));

TEST(Resize, KeepsAPictureOfTheSameSize) {
  const Image image = pattern(19, 23);
  EXPECT_EQ(resize_bicubic(image, 23, 19).pixels, image.pixels);
}

TEST(Resize, KeepsAFlatColour) {
  const Image flat(37, 41, 200);
  for (const std::uint8_t value : resize_bicubic(flat, 17, 90).pixels) ASSERT_EQ(value, 200);
}

TEST(Resize, RefusesEmptySizes) {
  EXPECT_THROW(resize_bicubic(pattern(4, 4), 0, 4), std::logic_error);
  EXPECT_THROW(resize_bicubic(Image(), 4, 4), std::logic_error);
  EXPECT_THROW(resize_and_center_crop(pattern(4, 4), 0), std::logic_error);
}

/// The crop by its definition: resize everything, then cut at int(round((long - size) / 2.0)), halves to
/// even.
Image crop_of_full(const Image& source, std::int64_t size, std::int64_t long_side, std::int64_t offset) {
  const bool wide = source.width >= source.height;
  const Image full = wide ? resize_bicubic(source, long_side, size) : resize_bicubic(source, size, long_side);
  Image result(size, size);
  for (std::int64_t y = 0; y < size; ++y) {
    const std::uint8_t* from = wide ? full.row(y) + offset * 3 : full.row(y + offset);
    std::copy_n(from, size * 3, result.row(y));
  }
  return result;
}

struct Crop {
  std::int64_t height, width, size, long_side, offset;
};

class Crops : public testing::TestWithParam<Crop> {};

TEST_P(Crops, EqualTheFullResize) {
  const Crop& crop = GetParam();
  const Image source = pattern(crop.height, crop.width);
  EXPECT_EQ(resize_and_center_crop(source, crop.size).pixels,
            crop_of_full(source, crop.size, crop.long_side, crop.offset).pixels);
}

INSTANTIATE_TEST_SUITE_P(TorchvisionsRule, Crops,
                         testing::Values(Crop{50, 50, 32, 32, 0},    // square
                                         Crop{60, 101, 32, 53, 10},  // 21 / 2 = 10.5 -> 10
                                         Crop{60, 105, 32, 56, 12},  // even
                                         Crop{60, 104, 32, 55, 12},  // 23 / 2 = 11.5 -> 12
                                         Crop{101, 60, 32, 53, 10},  // tall
                                         Crop{32, 47, 32, 47, 8},    // only the crop: 7.5 -> 8
                                         Crop{16, 24, 64, 96, 16},   // enlarged
                                         Crop{1, 9, 16, 144, 64}));  // a strip

TEST(Resize, NeverBuildsTheFullPictureForACrop) {
  // 2 x 60000 to 256: the whole would be 256 x 7,680,000 pixels.
  const Image result = resize_and_center_crop(pattern(2, 60'000), 256);
  EXPECT_EQ(result.width, 256);
  EXPECT_EQ(result.height, 256);
}

}  // namespace
}  // namespace microdit::image
