// Validations as the report reads and shows them.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/atomic_file.h"
#include "train/validation_page.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

std::optional<ValidationLine> read(const char* line) {
  return validation_of(core::Json::parse(line));
}

TEST(ValidationPage, LinesThatAreNotWholeAreNoValidation) {
  const auto found = read(
      R"({"step": 4, "validation": {"raw": {"loss": 0.5, "levels": [0.25, null]}, "average": {"loss": 0.375, "levels": [0.25, 0.5]}}, "best": true})");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step, 4);
  EXPECT_TRUE(found->best && found->has_average());
  EXPECT_EQ(found->deciding().loss, 0.375);
  EXPECT_TRUE(std::isnan(found->raw.levels.at(1)));  // JSON has no other word for what is not finite
  EXPECT_FALSE(read(R"({"step": 4, "validation": {"raw": {"loss": 0.5, "levels": [1]}}})")->has_average());
  for (const char* line :
       {R"({"step": 4, "loss": 0.5})", R"({"validation": {"raw": {"loss": 0.5, "levels": [1]}}})",
        R"({"step": "4", "validation": {"raw": {"loss": 0.5, "levels": [1]}}})",
        R"({"step": 4, "validation": 0.5})", R"({"step": 4, "validation": {"raw": 0.5}})",
        R"({"step": 4, "validation": {"average": {"loss": 0.5, "levels": [1]}}})",
        R"({"step": 4, "validation": {"raw": {"loss": 0.5, "levels": []}}})",
        R"({"step": 4, "validation": {"raw": {"loss": 0.5, "levels": 8}}})"})
    EXPECT_FALSE(read(line)) << line;
}

/// Levels that changed in number on the way, one that is not finite, more levels than a plot has colours for.
TEST(ValidationPage, ShowsWhatWasMeasured) {
  const fs::path folder = fs::path(testing::TempDir()) / ("validation_page_" + core::generation());
  fs::create_directories(folder);
  std::vector<ValidationLine> lines = {{.step = 0, .raw = {.loss = 1, .levels = {1, 1}}}};
  for (std::int64_t step : {2, 4, 6}) {
    ValidationLine line{.step = step, .best = step == 4};
    line.raw.loss = 0.125;
    for (int level = 0; level < 20; ++level)
      line.raw.levels.push_back((level + 1.0) / static_cast<double>(step));
    lines.push_back(line);
  }
  lines[2].raw.levels[5] = std::nan("");
  EXPECT_EQ(validation_curve(lines).y, (std::vector<double>{1, 0.125, 0.125, 0.125}));
  const std::string page = validation_html(RunFolder(folder), lines);
  for (const char* part :
       {"<th>newest (step 6)</th><th>best (step 4)</th>", "<td>all levels</td><td>0.125</td>",
        "<td>level 1, least noise</td><td>0.1667</td><td>0.25</td>",
        "<td>level 20, most noise</td><td>3.333</td><td>5</td>"})
    EXPECT_NE(page.find(part), page.npos) << part << " in " << page.substr(0, 2000);
  EXPECT_EQ(page.find("average"), page.npos);
  EXPECT_GT(fs::file_size(folder / "validation.png"), 5000U);
  EXPECT_EQ(validation_html(RunFolder(folder), {}), "");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace microdit::train
