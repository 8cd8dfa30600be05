// Progress for scripts and for people.
#include "core/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>

#include "core/atomic_file.h"
#include "core/log.h"

namespace microdit::core {

void report_progress(std::string_view what) {
  const char* file = std::getenv("MICRODIT_PROGRESS");
  if (file == nullptr || *file == '\0') return;
  try {
    atomic_write(file, fmt::format("{}\n", what));
  } catch (const std::exception& error) {
    log_warn("MICRODIT_PROGRESS: {}", error.what());
  }
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::ceil(std::max(0.0, seconds)));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

double progress_interval_s(double total, double rate) {
  constexpr double kShortest_s = 30;
  return rate > 0 ? std::max(kShortest_s, 0.01 * total / rate) : kShortest_s;
}

}  // namespace microdit::core
