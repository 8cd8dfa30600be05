// Runs a list of image jobs from a folder: pillow_parity_test.py writes the list and compares what comes out.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>

#include "image/decode.h"
#include "image/encode.h"
#include "image/resize.h"

namespace microdit::image {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void write_bytes(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  ASSERT_TRUE(file.good()) << path;
}

void write_pixels(const fs::path& path, const Image& image) {
  std::ofstream file(path, std::ios::binary);
  file << image.height << ' ' << image.width << '\n';
  file.write(reinterpret_cast<const char*>(image.pixels.data()), std::ssize(image.pixels));
  ASSERT_TRUE(file.good()) << path;
}

/// One line: OUT IN decode | OUT IN as_pillow (alpha dropped, 16-bit grey clipped) | OUT IN exif (that, turned as EXIF says)
/// | OUT IN frames (1 or several, in words) | OUT IN resize W H | OUT IN crop SIZE | OUT IN crop_as_pillow SIZE | OUT IN jpeg QUALITY | OUT IN tag.
void run_job(const fs::path& folder, const std::string& line) {
  std::istringstream words(line);
  std::string out, in, verb;
  std::int64_t first = 0, second = 0;
  words >> out >> in >> verb >> first >> second;
  const auto bytes = read_bytes(folder / in);
  try {
    const bool turn = verb == "exif", as_pillow = turn || verb == "as_pillow" || verb == "crop_as_pillow";
    if (verb == "frames") {
      std::ofstream(folder / out) << (has_several_frames(bytes) ? "several" : "one") << '\n';
      return;
    }
    const Image image =
        decode(bytes, {.drop_alpha = as_pillow, .clip_grey16 = as_pillow, .apply_exif = turn});
    if (verb == "resize") {
      write_pixels(folder / out, resize_bicubic(image, first, second));
    } else if (verb == "crop" || verb == "crop_as_pillow") {
      write_pixels(folder / out, resize_and_center_crop(image, first));
    } else if (verb == "jpeg") {
      write_bytes(folder / out, encode_jpeg(image, static_cast<int>(first)));
    } else if (verb == "tag") {
      write_bytes(folder / out,
                  encode_png(image, {{"prompt", "a caf\xc3\xa9"}, {"emoji", "\xf0\x9f\x9a\x97"}}));
    } else {
      ASSERT_TRUE(verb == "decode" || as_pillow) << verb;
      write_pixels(folder / out, image);
    }
  } catch (const BadImage& error) {
    std::ofstream(folder / out) << "bad " << error.what() << '\n';
  }
}

void run_list(const fs::path& folder) {
  std::ifstream list(folder / "jobs.txt");
  ASSERT_TRUE(list.is_open()) << folder;
  int count = 0;
  for (std::string line; std::getline(list, line); ++count) run_job(folder, line);
  ASSERT_GT(count, 0);
}

// Without a folder from outside it checks itself on a list of its own.
TEST(JobList, Runs) {
  if (const char* given = std::getenv("IMAGE_JOBS_DIR")) {
    run_list(given);
    return;
  }
  const fs::path folder = fs::temp_directory_path() / ("image_jobs_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  write_bytes(folder / "a.png", encode_png(Image(4, 6, 9)));
  std::ofstream(folder / "jobs.txt") << "a.raw a.png decode\nb.raw a.png crop 2\nc.raw jobs.txt decode\n";
  run_list(folder);
  EXPECT_EQ(fs::file_size(folder / "a.raw"), 4U + 4 * 6 * 3);
  EXPECT_EQ(fs::file_size(folder / "b.raw"), 4U + 2 * 2 * 3);
  const auto bad = read_bytes(folder / "c.raw");
  EXPECT_EQ(static_cast<char>(bad.at(0)), 'b');
  fs::remove_all(folder);
}

}  // namespace
}  // namespace microdit::image
