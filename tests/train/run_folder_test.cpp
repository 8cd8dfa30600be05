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

TEST_F(RunFolderTest, refuses_changed_settings_and_takes_harmless_ones) {
  const RunFolder run(folder_);
  const core::Json facts = {{"channels", 4}};
  const core::Json first = {{"steps", 10}, {"optimizer", {{"lr", 0.1}}}};
  run.open(first, "steps: 10\n", facts, {"steps"}, *comm_);
  run.open({{"steps", 20}, {"optimizer", {{"lr", 0.1}}}}, "steps: 20\n", facts, {"steps"}, *comm_);
  EXPECT_EQ(core::read_text(run.config()), "steps: 20\n");
  try {
    run.open({{"steps", 20}, {"optimizer", {{"lr", 0.2}}}}, "", facts, {"steps"}, *comm_);
    FAIL();
  } catch (const core::UserError& error) {
    EXPECT_NE(std::string(error.what()).find("optimizer.lr: 0.1 -> 0.2"), std::string::npos) << error.what();
  }
  EXPECT_THROW(run.open(first, "", {{"channels", 16}}, {"steps"}, *comm_), core::UserError);
}

TEST_F(RunFolderTest, metrics_are_cut_back_to_the_resumed_step) {
  const RunFolder run(folder_);
  run.open({{"a", 1}}, "", core::Json::object(), {}, *comm_);
  {
    Metrics metrics(run, 0, 10, 1, 100);
    for (int step = 1; step <= 5; ++step) metrics.step({.step = step, .loss = 0.1 * step});
  }
  std::ofstream(run.metrics(), std::ios::app) << "{\"step\": 6, \"lo";  // torn by a kill
  { Metrics metrics(run, 3, 10, 1, 100); }
  std::vector<std::int64_t> steps;
  std::ifstream in(run.metrics());
  for (std::string line; std::getline(in, line);) steps.push_back(core::parse_json(line, "line")["step"]);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 3}));
}

TEST(TensorBoardTest, known_vector) {
  // crc32c("123456789") = e3069283, then the format's mask.
  const std::uint32_t crc = 0xe3069283u;
  EXPECT_EQ(masked_crc32c("123456789"), ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

}  // namespace
}  // namespace microdit::train
