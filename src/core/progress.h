// What a job tells the outside about its progress: the file that the job scripts look at, and times for people.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace microdit::core {

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Writes `what` ("step 1200", "12 items") and a newline to the file that MICRODIT_PROGRESS names, which tells the job
/// scripts that this life published something. Nothing without that variable; a failure only warns. Call it
/// after a publication, on one rank.
void report_progress(std::string_view what);

/// "1 h 02 min", "3 min 20 s", "45 s"; rounded up, so that a wait is never said to be over early.
std::string duration_text(double seconds);

/// Seconds between two progress lines of a batch log when `total` units of work remain at `rate` a second: 1 % of the
/// work, but at least 30 s.
double progress_interval_s(double total, double rate);

}  // namespace microdit::core
