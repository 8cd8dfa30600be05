// The numbers of an evaluation as people read them: few digits, which way is better, what each one means.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::eval {

/// The number at a JSON pointer; nothing where there is none.
std::optional<double> number_at(const core::Json& json, const char* pointer);

/// The loss of a column (trained, held_out, untrained); older files have only eval_loss.
std::optional<double> loss_of(const core::Json& metrics, const std::string& column);

struct SummaryRow {
  std::string name;
  std::string better;                                ///< "lower" | "higher"
  std::string trained, held_out, untrained, chance;  ///< empty: not measured, or without a meaning
  std::string meaning;
};

/// Of a metrics.json that evaluate wrote; empty for another one.
std::vector<SummaryRow> summary_rows(const core::Json& metrics);

/// A sentence where the numbers of held-out data are far worse than those of training data; else empty.
std::string recital(const core::Json& metrics);

/// "heun, 24 steps, guidance 4; checkpoint step 2500, averaged weights" of a metrics.json.
std::string settings_text(const core::Json& metrics);

/// Four significant digits.
std::string short_number(double value);

}  // namespace microdit::eval
