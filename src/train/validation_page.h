// Validations of a run, for the report: the newest and the best by noise level, and how each level went.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "image/plot.h"
#include "train/run_folder.h"
#include "train/validated.h"

namespace microdit::train {

/// One line of metrics.jsonl. A loss that was not finite is not a number.
struct ValidationLine {
  std::int64_t step = 0;
  Validated raw = {};
  Validated average = {};  ///< without levels where the run has no average
  bool best = false;       ///< when it was measured

  bool has_average() const { return !average.levels.empty(); }
  /// Of the weights that decide what is best.
  const Validated& deciding() const { return has_average() ? average : raw; }
};

/// Nothing: `line` is no validation, or not whole.
std::optional<ValidationLine> validation_of(const core::Json& line);

/// The mean over the levels, as a curve; empty without validations.
image::Series validation_curve(const std::vector<ValidationLine>& lines);

/// A section of the page; (re)writes RUN/validation.png. Empty without validations.
std::string validation_html(const RunFolder& run, const std::vector<ValidationLine>& lines);

}  // namespace microdit::train
