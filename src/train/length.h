// How long something lasts, or how often it is done, in steps, epochs or samples.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/config.h"

namespace microdit::train {

/// 1000 (steps), 10ep (epochs: samples of the data once) or 50000sp (samples). Epochs and samples become steps, rounded up (so no length but
/// 0 becomes 0), when the data are open; until then only `text` is known.
class Length {
 public:
  Length(std::int64_t steps = 0) : steps_(steps) {}  // NOLINT: a number of steps is one
  /// Reads and prints it as one of the config's fields. `rule`: of its amount.
  void field(core::Fields& f, std::string_view key, const core::FieldRule& rule);
  /// `samples`: of an epoch; `batch`: of a step. UserError where that are more steps than the key takes.
  void resolve(std::int64_t samples, std::int64_t batch);
  bool is_known() const { return unit_.empty() || steps_ >= 0; }
  /// A bug where it is not known yet.
  std::int64_t steps() const;
  operator std::int64_t() const { return steps(); }  // NOLINT
  /// As it was written.
  std::string text() const;

 private:
  std::int64_t steps_ = 0;  ///< -1: not known yet
  double amount_ = 0;       ///< of `unit_`
  std::string unit_;        ///< "", "ep" or "sp"
  std::string key_;         ///< that it was read from
  double most_ = 0;         ///< steps that the key takes
};

}  // namespace microdit::train
