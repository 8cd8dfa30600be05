// Units of lengths.
#include "train/length.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>

#include "core/error.h"

namespace microdit::train {
namespace {

constexpr double kMostSteps = 1e12;

}  // namespace

void Length::field(core::Fields& f, std::string_view key, const core::FieldRule& rule) {
  core::FieldRule plain = rule;
  plain.help += "; also 10ep (epochs), 50000sp (samples)";
  std::string given = f.reading() ? "" : text();
  if (f.reading()) {
    core::FieldRule as_text = plain;
    as_text.max = 30;  // bytes
    f.field(key, given, as_text);
  } else if (!unit_.empty()) {
    f.field(key, given, plain);
    return;
  }
  const std::string_view unit = given.ends_with("ep") ? "ep" : given.ends_with("sp") ? "sp" : "";
  if (unit.empty() && !given.empty() && std::isalpha(static_cast<unsigned char>(given.back())) != 0) {
    f.error(key, fmt::format("'{}' is no length: expected steps (1000), epochs (10ep) or samples (50000sp)",
                             given));
    return;
  }
  if (unit.empty()) {
    f.field(key, steps_, plain);
    if (f.reading() && f.given(key)) unit_.clear();
    return;
  }
  const char* end = given.data() + given.size() - unit.size();
  double amount = 0;
  const auto [read, error] = std::from_chars(given.data(), end, amount);
  if (error != std::errc() || read != end || !(amount >= std::max(0.0, rule.min > 0 ? 1e-9 : 0.0)) ||
      !(amount <= kMostSteps)) {
    f.error(key, fmt::format("'{}' is no length: expected steps (1000), epochs (10ep) or samples (50000sp)",
                             given));
    return;
  }
  amount_ = amount;
  unit_ = unit;
  key_ = key;
  most_ = rule.max;
  steps_ = -1;
}

void Length::resolve(std::int64_t samples, std::int64_t batch) {
  if (unit_.empty()) return;
  const double all = amount_ * (unit_ == "ep" ? static_cast<double>(samples) : 1.0);
  const double steps = std::ceil(all / static_cast<double>(batch) - 1e-9);
  if (steps > std::min(most_, kMostSteps))
    core::user_error("{}={}: that is {:.4g} steps; at most {:.4g} are possible", key_, text(), steps,
                     std::min(most_, kMostSteps));
  steps_ = std::max(static_cast<std::int64_t>(steps), std::int64_t{amount_ > 0 ? 1 : 0});
}

std::int64_t Length::steps() const {
  core::check(is_known(), "{} is not known in steps yet", text());
  return steps_;
}

std::string Length::text() const {
  return unit_.empty() ? std::to_string(steps_) : fmt::format("{}{}", amount_, unit_);
}

}  // namespace microdit::train
