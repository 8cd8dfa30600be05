// Decoding: golden pictures, hostile bytes, limits.
#include "image/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "core/hash.h"
#include "image/encode.h"
#include "image/fixtures.h"
#include "image/png_inflate.h"

namespace microdit::image {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::string pixel_hash(const Image& image) {
  return core::sha256(std::as_bytes(std::span(image.pixels)));
}

Image noise(std::int64_t height, std::int64_t width, unsigned seed = 1) {
  Image image(height, width);
  std::mt19937 random(seed);
  for (auto& value : image.pixels) value = static_cast<std::uint8_t>(random());
  return image;
}

std::uint32_t crc32_of(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1U ^ (0xedb88320U & (0U - (crc & 1U)));
  }
  return ~crc;
}

void put_big_endian(std::vector<std::byte>& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (24 - 8 * i));
}

/// A PNG whose header claims width x height, with a right checksum.
std::vector<std::byte> with_claimed_size(std::uint32_t width, std::uint32_t height) {
  std::vector<std::byte> png = encode_png(Image(4, 4));
  put_big_endian(png, 16, width);
  put_big_endian(png, 20, height);
  put_big_endian(png, 29, crc32_of(std::span(png).subspan(12, 17)));
  return png;
}

/// Whatever the bytes are: a picture within the limits or BadImage.
bool decodes(std::span<const std::byte> bytes) {
  try {
    const Image image = decode(bytes, {.max_pixels = 1'000'000, .max_side = 2000});
    EXPECT_EQ(std::ssize(image.pixels), image.width * image.height * 3);
    return true;
  } catch (const BadImage& error) {
    EXPECT_STRNE(error.what(), "");
    return false;
  }
}

class Fixtures : public testing::TestWithParam<fixtures::Fixture> {};

TEST_P(Fixtures, DecodeToPillowsPixels) {
  const auto bytes = fixtures::bytes_of(GetParam());
  const Image image = decode(bytes);
  EXPECT_EQ(image.width, 13);
  EXPECT_EQ(image.height, 11);
  EXPECT_EQ(pixel_hash(image), GetParam().sha256);
}

TEST_P(Fixtures, AreProbedFromTheHeader) {
  const auto bytes = fixtures::bytes_of(GetParam());
  const ImageInfo info = probe_image(bytes);
  EXPECT_EQ(info.width, 13);
  EXPECT_EQ(info.height, 11);
  const std::string name = GetParam().name;
  const Format expected = name.starts_with("png")    ? Format::png
                          : name.starts_with("jpeg") ? Format::jpeg
                                                     : Format::webp;
  EXPECT_EQ(info.format, expected);
}

// Cut anywhere: refused, or (where only the format's own trailer is missing) the very same picture.
TEST_P(Fixtures, CutAtEveryPrefix) {
  const auto bytes = fixtures::bytes_of(GetParam());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    try {
      EXPECT_EQ(pixel_hash(decode(prefix)), GetParam().sha256) << size;
      EXPECT_GE(size + 12, bytes.size()) << "a picture out of " << size << " bytes";
    } catch (const BadImage&) {
    }
  }
}

TEST_P(Fixtures, SurviveEveryFlippedByte) {
  const auto bytes = fixtures::bytes_of(GetParam());
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      auto damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(mask);
      refused += decodes(damaged) ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 0);
}

TEST_P(Fixtures, SurviveRandomDamage) {
  const auto bytes = fixtures::bytes_of(GetParam());
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    auto damaged = bytes;
    for (int i = 0; i < 8; ++i) damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    decodes(damaged);
  }
}

INSTANTIATE_TEST_SUITE_P(AllFormats, Fixtures, testing::ValuesIn(fixtures::kFixtures),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Decode, RefusesWhatIsNoPicture) {
  EXPECT_THROW(decode({}), BadImage);
  const std::string html = "<html><body>404 not found</body></html>";
  EXPECT_THAT([&] { decode(std::as_bytes(std::span(html))); },
              ThrowsMessage<BadImage>(HasSubstr("neither PNG, JPEG, WebP")));
  for (const char* start : {"\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0", "RIFF....WEBP"}) {
    const std::string text = start;
    EXPECT_THROW(decode(std::as_bytes(std::span(text))), BadImage);
  }
}

TEST(Decode, HasNoDifferencesAfterAPngRoundTrip) {
  const Image image = noise(37, 53);
  const Image back = decode(encode_png(image));
  EXPECT_EQ(back.height, 37);
  EXPECT_EQ(back.width, 53);
  EXPECT_EQ(back.pixels, image.pixels);
}

std::uint32_t crc_of(std::span<const std::byte> bytes) {
  std::uint32_t crc = ~0u;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

/// The PNG's pixel data in IDAT chunks of `lengths` bytes and one of the rest.
std::vector<std::byte> in_chunks(std::span<const std::byte> png, std::vector<std::size_t> lengths) {
  constexpr std::size_t kPixels = 33, kEnd = 12;  // where the first IDAT begins; IEND
  std::vector<std::byte> joined;
  for (std::size_t at = kPixels; at < png.size() - kEnd;) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<std::size_t>(png[at + i]);
    joined.insert(joined.end(), &png[at + 8], &png[at + 8 + length]);
    at += length + 12;
  }
  std::span<const std::byte> data = joined;
  lengths.push_back(data.size() - std::accumulate(lengths.begin(), lengths.end(), std::size_t{0}));
  std::vector<std::byte> out(png.begin(), png.begin() + kPixels);
  const auto put = [&](std::uint32_t value) {
    for (int i = 3; i >= 0; --i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
  };
  for (const std::size_t length : lengths) {
    put(static_cast<std::uint32_t>(length));
    const std::size_t type = out.size();
    for (const char c : {'I', 'D', 'A', 'T'}) out.push_back(static_cast<std::byte>(c));
    out.insert(out.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(length));
    data = data.subspan(length);
    put(crc_of(std::span(out).subspan(type)));
  }
  out.insert(out.end(), png.end() - kEnd, png.end());
  return out;
}

// 300 x 400 RGB pixels are six stored blocks; of 1 to 4 chunks, empty ones too.
TEST(Decode, APngInAnyNumberOfChunks) {
  const Image image = noise(300, 400);
  const auto png = encode_png(image);
  for (const std::vector<std::size_t>& lengths :
       {std::vector<std::size_t>{}, {5}, {0, 1, 40'000}, {0, 0}, {1, 0, 100'000}}) {
    const auto chunks = in_chunks(png, lengths);
    EXPECT_EQ(decode(chunks).pixels, image.pixels);
    EXPECT_FALSE(unpack_png(chunks, {}).pieces.empty()) << "it was left to libpng";
  }
  auto cut = in_chunks(png, {40'000});
  cut.erase(cut.begin() + 33 + 12 + 40'000, cut.end() - 12);  // the second chunk
  EXPECT_THROW(decode(cut), BadImage);
  EXPECT_TRUE(unpack_png(cut, {}).pieces.empty());
}

TEST(Decode, RefusesBombsByTheirHeader) {
  EXPECT_THAT([] { decode(with_claimed_size(65'000, 65'000)); },
              ThrowsMessage<BadImage>(HasSubstr("over the limit")));
  EXPECT_THAT([] { decode(with_claimed_size(0x7fffffff, 1)); },
              ThrowsMessage<BadImage>(HasSubstr("pixels a side")));
  EXPECT_THROW(decode(with_claimed_size(0xffffffff, 0xffffffff)), BadImage);
  EXPECT_THROW(decode(with_claimed_size(0, 5)), BadImage);
}

TEST(Decode, RefusesSizesThatTheFileCannotFill) {
  EXPECT_THAT([] { decode(with_claimed_size(9000, 9000)); },
              ThrowsMessage<BadImage>(HasSubstr("cannot hold")));
}

TEST(Decode, AppliesTheLimitsToEveryFormat) {
  for (const auto& fixture : fixtures::kFixtures) {
    const auto bytes = fixtures::bytes_of(fixture);
    EXPECT_THAT([&] { decode(bytes, {.max_pixels = 13 * 11 - 1}); },
                ThrowsMessage<BadImage>(HasSubstr("over the limit of 142 pixels")));
    EXPECT_THAT([&] { decode(bytes, {.max_side = 12}); },
                ThrowsMessage<BadImage>(HasSubstr("12 pixels a side")));
    EXPECT_NO_THROW(decode(bytes, {.max_pixels = 13 * 11, .max_side = 13}));
  }
}

TEST(Decode, RefusesAWrongChecksum) {
  auto png = encode_png(noise(8, 8));
  auto wrong_header = png;
  wrong_header[29] ^= std::byte{1};
  EXPECT_THAT([&] { decode(wrong_header); }, ThrowsMessage<BadImage>(HasSubstr("CRC")));
  // The pixels' chunk ends where the 12 bytes of IEND begin; its checksum is the 4 bytes before.
  png[png.size() - 13] ^= std::byte{1};
  EXPECT_THROW(decode(png), BadImage);
}

TEST(Decode, SkipsAncillaryBombs) {
  // A compressed text would have to be unpacked to be read; the chunk is passed over unread.
  const std::map<std::string, std::string> text = {{"comment", std::string(1 << 20, 'a')}};
  const Image image = noise(6, 6);
  auto png = encode_png(image, text);
  const std::string type = "tEXt";
  const auto at = std::search(png.begin(), png.end(), reinterpret_cast<const std::byte*>(type.data()),
                              reinterpret_cast<const std::byte*>(type.data()) + 4);
  ASSERT_NE(at, png.end());
  std::copy_n(reinterpret_cast<const std::byte*>("zTXt"), 4,
              at);  // its stream is garbage and its checksum wrong
  EXPECT_EQ(decode(png).pixels, image.pixels);
}

TEST(Decode, RefusesAJpegWithoutAnEnd) {
  auto jpeg = encode_jpeg(noise(40, 40));
  jpeg.resize(jpeg.size() - 2);
  EXPECT_THAT([&] { decode(jpeg); }, ThrowsMessage<BadImage>(HasSubstr("truncated")));
}

}  // namespace
}  // namespace microdit::image
