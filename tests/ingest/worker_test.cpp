// Worker processes: what they return, what their death costs, what they may not do.
#include "ingest/picture_worker.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/fixtures.h"
#include "image/resize.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

image::Image gradient(std::int64_t height, std::int64_t width) {
  image::Image picture(height, width);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    picture.pixels[i] = static_cast<std::uint8_t>(i * 7 + i / 97);
  return picture;
}

/// The processes that this one has started and that still run.
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(entry.path() / "children");
    for (pid_t pid; list >> pid;) found.push_back(pid);
  }
  return found;
}

TEST(PictureWorker, ChecksAndResizesAsInThisProcess) {
  const image::Image picture = gradient(90, 120);
  const auto bytes = image::encode_png(picture);
  PictureWorker worker({});
  const PictureResult checked = worker.check(bytes, 90);
  EXPECT_EQ(checked.reason, "");
  EXPECT_EQ(checked.width, 120);
  EXPECT_EQ(checked.height, 90);
  EXPECT_EQ(worker.check(bytes, 91).reason, "filtered.too_small");
  const std::vector<std::int64_t> sizes = {32, 64, 128};
  const PictureResult made = worker.squares(bytes, sizes, false);
  ASSERT_EQ(made.squares.size(), 3u);
  EXPECT_EQ(made.squares[0].pixels, image::resize_and_center_crop(picture, 32).pixels);
  EXPECT_EQ(made.squares[1].pixels, image::resize_and_center_crop(picture, 64).pixels);
  EXPECT_EQ(made.squares[2].height, 0);  // larger than the picture
  EXPECT_EQ(worker.squares(bytes, sizes, true).squares[2].pixels,
            image::resize_and_center_crop(picture, 128).pixels);
}

TEST(PictureWorker, HeedsTheEntrysRules) {
  const image::fixtures::Fixture& fixture = image::fixtures::kFixtures[0];
  ASSERT_STREQ(fixture.name, "png_rgba");
  const auto bytes = image::fixtures::bytes_of(fixture);
  const std::vector<std::int64_t> sizes = {8};
  PictureSection rules;
  rules.alpha = "drop";
  const PictureResult dropped = PictureWorker(rules).squares(bytes, sizes, false);
  const PictureResult composed = PictureWorker(PictureSection()).squares(bytes, sizes, false);
  ASSERT_EQ(dropped.squares.size(), 1u);
  ASSERT_EQ(composed.squares.size(), 1u);
  image::DecodeRules drop;
  drop.drop_alpha = true;
  EXPECT_EQ(dropped.squares[0].pixels, image::resize_and_center_crop(image::decode(bytes, drop), 8).pixels);
  EXPECT_NE(dropped.squares[0].pixels, composed.squares[0].pixels);
}

/// As a camera writes it that was held upright: EXIF with Orientation 6.
std::vector<std::byte> lying_jpeg(const image::Image& picture) {
  using namespace std::string_view_literals;
  constexpr std::string_view kExif =
      "\xff\xe1\0\x22"
      "Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"sv;
  std::vector<std::byte> bytes = image::encode_jpeg(picture, 90);
  const auto exif = std::as_bytes(std::span(kExif));
  bytes.insert(bytes.begin() + 2, exif.begin(), exif.end());
  return bytes;
}

TEST(PictureWorker, TurnsAPictureWhereExifIsToBeApplied) {
  const auto bytes = lying_jpeg(gradient(40, 60));
  const image::Image stored = image::decode(bytes);
  ASSERT_EQ(stored.width, 60);
  const std::vector<std::int64_t> sizes = {40};
  PictureSection rules;
  const PictureResult ignored = PictureWorker(rules).squares(bytes, sizes, false);
  rules.exif = "apply";
  const PictureResult applied = PictureWorker(rules).squares(bytes, sizes, false);
  EXPECT_EQ(ignored.width, 60);
  EXPECT_EQ(ignored.squares.at(0).pixels, image::resize_and_center_crop(stored, 40).pixels);
  EXPECT_EQ(applied.width, 40);
  EXPECT_EQ(applied.height, 60);
  // A quarter turn to the right: the left column becomes the upper row.
  image::Image upright(60, 40);
  for (std::int64_t y = 0; y < 60; ++y)
    for (std::int64_t x = 0; x < 40; ++x) std::copy_n(stored.row(39 - x) + 3 * y, 3, upright.row(y) + 3 * x);
  EXPECT_EQ(applied.squares.at(0).pixels, image::resize_and_center_crop(upright, 40).pixels);
  EXPECT_NE(PictureSection().algorithms(), rules.algorithms());
}

TEST(PictureWorker, EveryReason) {
  PictureWorker worker({});
  const auto reason = [&](std::string_view text) {
    return worker.check(std::as_bytes(std::span(text)), 0).reason;
  };
  EXPECT_EQ(reason(""), "damaged.header");
  EXPECT_EQ(reason("no picture at all"), "unsupported.format");
  EXPECT_EQ(reason("\xff\xd8\xff\xd9"), "damaged.header");
  auto png = image::encode_png(gradient(64, 64));
  png.resize(png.size() / 2);
  EXPECT_EQ(worker.check(png, 0).reason, "damaged.picture");
  EXPECT_EQ(worker.check(image::encode_png(gradient(8, 8)), 0).reason, "");  // it goes on
}

TEST(PictureWorker, ADeathCostsOnePicture) {
  const auto bytes = image::encode_png(gradient(3000, 3000));
  PictureWorker worker({});
  ASSERT_EQ(worker.check(bytes, 0).reason, "");
  const std::vector<pid_t> first = children();
  ASSERT_EQ(first.size(), 1u);
  ::kill(first[0], SIGSEGV);
  const PictureResult crashed = worker.check(bytes, 0);
  EXPECT_EQ(crashed.reason, "damaged.crashed");
  EXPECT_NE(crashed.detail.find("signal 11"), std::string::npos) << crashed.detail;
  EXPECT_EQ(worker.check(bytes, 0).reason, "");
  // Killed by somebody else: that says nothing about the picture.
  ::kill(children().at(0), SIGKILL);
  EXPECT_EQ(worker.check(bytes, 0).reason, "");
}

// A machine out of memory kills workers again and again: the pictures are not at fault.
TEST(PictureWorker, KilledAgainAndAgainIsNoVerdict) {
  const auto bytes = image::encode_png(gradient(3000, 3000));
  std::atomic<bool> over = false;
  std::jthread killer([&] {
    while (!over) {
      for (const pid_t child : children()) ::kill(child, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  PictureWorker worker({});
  try {
    worker.check(bytes, 0);
    ADD_FAILURE() << "a verdict";
  } catch (const core::InputFault& error) {
    EXPECT_NE(std::string(error.what()).find("memory"), std::string::npos) << error.what();
  }
  over = true;
}

TEST(PictureWorker, SignalsOfTheBatchSystemAreForTheStage) {
  const auto bytes = image::encode_png(gradient(64, 64));
  PictureWorker worker({});
  ASSERT_EQ(worker.check(bytes, 0).reason, "");
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT, SIGHUP}) ::kill(children().at(0), signal);
  EXPECT_EQ(worker.check(bytes, 0).reason, "");
}

TEST(PictureWorker, TimeIsLimited) {
  PictureWorker worker({}, 1);
  const auto bytes = image::encode_png(gradient(9000, 9000));
  const std::vector<std::int64_t> sizes = {4096, 4098, 4100, 4102, 4104, 4106, 4108, 4110,
                                           4112, 4114, 4116, 4118, 4120, 4122, 4124, 4126};
  EXPECT_EQ(worker.squares(bytes, sizes, false).reason, "damaged.time");
  EXPECT_EQ(worker.check(image::encode_png(gradient(8, 8)), 0).reason, "");
}

TEST(PictureWorker, LimitsAndSurroundingsOfTheProcess) {
  ::setenv("HF_TOKEN", "secret", 1);
  PictureWorker worker({});
  worker.check(image::encode_png(gradient(8, 8)), 0);
  const std::filesystem::path process = "/proc/" + std::to_string(children().at(0));
  std::ifstream environment(process / "environ");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(environment), {}), "");
  std::ifstream file(process / "limits");
  const std::string limits(std::istreambuf_iterator<char>(file), {});
  const auto line = [&](const std::string& name) {
    const std::size_t at = limits.find(name);
    return limits.substr(at + name.size(), limits.find('\n', at) - at - name.size());
  };
  EXPECT_NE(line("Max address space").find("2147483648"), std::string::npos) << limits;
  EXPECT_NE(line("Max open files").find(" 16 "), std::string::npos) << limits;
  EXPECT_NE(line("Max core file size").find(" 0 "), std::string::npos) << limits;
  int descriptors = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(process / "fd"))
    ++descriptors;
  EXPECT_LE(descriptors, 4);
}

TEST(PicturePool, ResultsByFuture) {
  PicturePool pool({}, 2);
  std::vector<std::vector<std::byte>> pictures;
  for (int i = 1; i <= 20; ++i) pictures.push_back(image::encode_png(gradient(8 * i, 100)));
  std::vector<std::future<PictureResult>> results;
  for (const auto& bytes : pictures) results.push_back(pool.check(bytes, 0));
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i - 1)].get().height, 8 * i);
}

TEST(PicturePool, AStopGivesUpWhatIsInWork) {
  core::StopFlag stop;
  PicturePool pool({}, 1, 20, &stop);
  const std::vector<std::byte> bytes = image::encode_png(gradient(3000, 3000));
  std::vector<PictureFuture> results;
  for (int i = 0; i < 4; ++i) results.push_back(pool.check(bytes, 0));
  stop.request();
  EXPECT_EQ(results.back().get().reason, "stopped");
}

// Who loses interest in a picture frees its bytes: not before the workers have let go of them.
TEST(PicturePool, AFutureThatGoesWaitsForItsPicture) {
  PicturePool pool({}, 1);
  const std::vector<std::byte> bytes = image::encode_png(gradient(2000, 2000));
  PictureFuture first = pool.check(bytes, 0);
  { const PictureFuture second = pool.check(bytes, 0); }
  EXPECT_EQ(first.wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

}  // namespace
}  // namespace microdit::ingest
