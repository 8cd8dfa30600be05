// Settings of a resumed run, the cut-back of metrics, TensorBoard framing.
#include "train/run_folder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "train/metrics.h"
#include "train/tensorboard.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest() : folder_(fs::path(testing::TempDir()) / ("run_folder_" + core::generation())) {}
  ~RunFolderTest() override { fs::remove_all(folder_); }
  fs::path folder_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

RunSettings settings(core::Json json) {
  return {json, json.dump(), {{"steps", core::AtResume::free}, {"bucket_mb", core::AtResume::rounding}}, {}};
}

TEST_F(RunFolderTest, RefusesChangedSettingsAndTakesThoseThatMayChange) {
  const core::Json facts = {{"channels", 4}, {"codec", {{"folder", "/a"}, {"sha256", "x"}}}};
  const core::Json first = {{"steps", 10}, {"bucket_mb", 1}, {"optimizer", {{"lr", 0.1}}}};
  RunFolder(folder_).open(settings(first), facts, *comm_);
  RunFolder run(folder_);
  EXPECT_TRUE(run.exists(*comm_));
  const core::Json later = {{"steps", 20}, {"bucket_mb", 2}, {"optimizer", {{"lr", 0.1}}}};
  testing::internal::CaptureStderr();
  run.compare_settings(settings(later), *comm_);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("bucket_mb: 1 -> 2"), std::string::npos) << said;
  EXPECT_EQ(said.find("steps"), std::string::npos) << said;
  run.open(settings(later), facts, *comm_);
  EXPECT_EQ(core::read_json(run.settings()), later);
  try {
    run.compare_settings(settings({{"steps", 20}, {"bucket_mb", 2}, {"optimizer", {{"lr", 0.2}}}}), *comm_);
    FAIL();
  } catch (const core::UserError& error) {
    EXPECT_NE(std::string(error.what()).find("optimizer.lr: 0.1 -> 0.2"), std::string::npos) << error.what();
  }
  EXPECT_THROW(run.compare_facts({{"channels", 16}, {"codec", {{"folder", "/a"}, {"sha256", "x"}}}}, *comm_),
               core::UserError);
  EXPECT_THROW(run.compare_facts({{"channels", 4}, {"codec", {{"folder", "/a"}, {"sha256", "y"}}}}, *comm_),
               core::UserError);
  run.compare_facts({{"channels", 4}, {"codec", {{"folder", "/moved"}, {"sha256", "x"}}}}, *comm_);
}

TEST_F(RunFolderTest, OneProcessAtATimeHoldsIt) {
  const core::Json first = {{"steps", 10}};
  {
    RunFolder holder(folder_);
    holder.open(settings(first), {}, *comm_);
    RunFolder second(folder_);
    try {
      second.open(settings({{"steps", 11}}), {}, *comm_);
      FAIL();
    } catch (const core::UserError& error) {
      EXPECT_NE(std::string(error.what()).find("is training this run"), std::string::npos) << error.what();
    }
    EXPECT_EQ(core::read_json(second.settings()), first);
    setenv("MICRODIT_TAKE_OVER", "1", 1);
    second.open(settings({{"steps", 11}}), {}, *comm_);
    unsetenv("MICRODIT_TAKE_OVER");
  }
  RunFolder(folder_).open(settings(first), {}, *comm_);
}

TEST_F(RunFolderTest, MetricsAreCutBackToTheResumedStep) {
  RunFolder run(folder_);
  run.open(settings({{"a", 1}}), core::Json::object(), *comm_);
  {
    Metrics metrics(run, {}, 10, 1, 100);
    for (int step = 1; step <= 5; ++step) metrics.step({.step = step, .loss = 0.1 * step});
  }
  std::ofstream(run.metrics(), std::ios::app) << "{\"step\": 6, \"lo";  // torn by a kill
  { Metrics metrics(run, {3}, 10, 1, 100); }
  std::vector<std::int64_t> steps;
  std::ifstream in(run.metrics());
  for (std::string line; std::getline(in, line);) steps.push_back(core::parse_json(line, "line")["step"]);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 3}));
}

TEST(TensorBoard, ChecksumsAreTheFormats) {
  // crc32c("123456789") = e3069283, then the format's mask.
  const std::uint32_t crc = 0xe3069283u;
  EXPECT_EQ(masked_crc32c("123456789"), ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

}  // namespace
}  // namespace microdit::train
