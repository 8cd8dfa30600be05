// Tables and curves of validations.
#include "train/validation_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "core/atomic_file.h"
#include "core/html.h"
#include "eval/summary.h"
#include "image/encode.h"

namespace microdit::train {
namespace {

constexpr std::size_t kMostCurves = 8;  // that a plot has colours for
constexpr std::size_t kMostMarks = 30;

double number(const core::Json& json) {  // JSON has no other numbers
  return json.is_number() ? json.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::optional<Validated> read(const core::Json& json) {
  if (!json.is_object() || !json.contains("loss") || !json.contains("levels") || !json["levels"].is_array() ||
      json["levels"].empty())
    return std::nullopt;
  Validated found{.loss = number(json["loss"])};
  for (const core::Json& level : json["levels"]) found.levels.push_back(number(level));
  return found;
}

std::string level_name(std::size_t level, std::size_t levels) {
  const char* end = levels == 1           ? ""
                    : level == 0          ? ", least noise"
                    : level + 1 == levels ? ", most noise"
                                          : "";
  return fmt::format("level {}{}", level + 1, end);
}

/// The curves of at most kMostCurves levels, the ends among them.
image::Image level_curves(const std::vector<ValidationLine>& lines) {
  const std::size_t levels = lines.back().deciding().levels.size(), shown = std::min(levels, kMostCurves);
  std::vector<image::Series> all;
  for (std::size_t i = 0; i < shown; ++i) {
    const std::size_t level = shown == 1 ? 0 : i * (levels - 1) / (shown - 1);
    image::Series curve{
        .name = level_name(level, levels), .x = {}, .y = {}, .marks = lines.size() <= kMostMarks};
    for (const ValidationLine& line : lines) {
      if (line.deciding().levels.size() != levels) continue;  // measured in another way before
      curve.x.push_back(static_cast<double>(line.step));
      curve.y.push_back(line.deciding().levels[level]);
    }
    all.push_back(std::move(curve));
  }
  return image::plot(
      all, {.title = "Held-out loss by noise level", .x_label = "step", .y_label = "loss", .log_y = true});
}

}  // namespace

std::optional<ValidationLine> validation_of(const core::Json& line) {
  if (!line.contains("validation") || !line.contains("step") || !line["step"].is_number_integer())
    return std::nullopt;
  const core::Json& found = line["validation"];
  const auto raw = found.is_object() ? read(found.value("raw", core::Json())) : std::nullopt;
  if (!raw) return std::nullopt;
  const auto average = read(found.value("average", core::Json()));
  return ValidationLine{.step = line["step"].get<std::int64_t>(),
                        .raw = *raw,
                        .average = average.value_or(Validated()),
                        .best = line.contains("best") && line["best"] == true};
}

image::Series validation_curve(const std::vector<ValidationLine>& lines) {
  image::Series curve{.name = "validation", .x = {}, .y = {}, .marks = true};
  for (const ValidationLine& line : lines) {
    curve.x.push_back(static_cast<double>(line.step));
    curve.y.push_back(line.deciding().loss);
  }
  return curve;
}

std::string validation_html(const RunFolder& run, const std::vector<ValidationLine>& lines) {
  if (lines.empty()) return "";
  const ValidationLine& newest = lines.back();
  const auto best = std::find_if(lines.rbegin(), lines.rend(), [](const auto& one) { return one.best; });
  struct Column {
    std::string head;
    const Validated* values;
  };
  std::vector<Column> columns;
  const auto add = [&](const char* what, const ValidationLine& line) {
    const std::string head = fmt::format("{} (step {})", what, line.step);
    columns.push_back({line.has_average() ? head + ", raw weights" : head, &line.raw});
    if (line.has_average()) columns.push_back({head + ", average", &line.average});
  };
  add("newest", newest);
  if (best != lines.rend()) add("best", *best);
  std::vector<std::vector<std::string>> rows = {{""}, {"all levels"}};
  for (const Column& column : columns) {
    rows[0].push_back(column.head);
    rows[1].push_back(eval::short_number(column.values->loss));
  }
  const std::size_t levels = newest.raw.levels.size();
  for (std::size_t level = 0; level < levels; ++level) {
    rows.push_back({level_name(level, levels)});
    for (const Column& column : columns)
      rows.back().push_back(
          column.values->levels.size() == levels ? eval::short_number(column.values->levels[level]) : "");
  }
  const std::filesystem::path png = run.path() / "validation.png";
  core::atomic_write(png, image::encode_png(level_curves(lines)));
  return fmt::format(
             "<h2>Validation</h2>\n<p>Loss on the same held-out samples with the same noise each time. Level "
             "n of {} is the middle of the "
             "n-th share of the times that are trained on, from the least noise on.{}</p>\n",
             levels, newest.has_average() ? " The average's loss decides what is best." : "") +
         core::html_table(rows) +
         core::html_picture(png, fmt::format("Held-out loss by noise level{}",
                                             newest.has_average() ? ", of the averaged weights" : ""));
}

}  // namespace microdit::train
