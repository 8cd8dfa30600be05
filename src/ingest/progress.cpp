// Progress lines for batch logs: whole lines, seldom.
#include "ingest/progress.h"

#include <cmath>
#include <utility>

#include "core/log.h"

namespace microdit::ingest {
namespace {

constexpr double kSecondsBetweenLines = 5;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::ceil(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

}  // namespace

std::string readable(double amount, const std::string& unit) {
  const bool bytes = unit == "B";
  const char* prefixes[] = {"", "k", "M", "G", "T", "P"};
  int power = 0;
  while (amount >= (bytes ? 1000 : 100'000) && power < 5) {
    amount /= 1000;
    ++power;
  }
  const char* prefix = prefixes[power];
  return fmt::format("{:.{}f} {}{}", amount, power == 0 ? 0 : 1, prefix, unit);
}

Progress::Progress(std::string verb, std::string unit, std::int64_t total_items)
    : verb_(std::move(verb)), unit_(std::move(unit)), total_(total_items) {}

void Progress::add(double amount) {
  amount_ += amount;
  print_if_due();
}

void Progress::item_done(bool fresh) {
  ++done_;
  fresh_ += fresh;
  print_if_due();
}

void Progress::print_if_due() {
  if (seconds_since(last_line_) < kSecondsBetweenLines) return;
  last_line_ = Clock::now();
  const double elapsed = seconds_since(start_);
  std::string eta = "?";
  if (fresh_ > 0) eta = duration(elapsed / static_cast<double>(fresh_) * static_cast<double>(total_ - done_));
  core::log_info("{} {}/{}, {} ({}/s), ETA {}", verb_, done_, total_, readable(amount_, unit_),
                 readable(amount_ / elapsed, unit_), eta);
}

void Progress::finish(bool stopped) const {
  if (total_ == 0) return;
  const double elapsed = seconds_since(start_);
  core::log_info("{} {} {}/{}: {} in {} ({}/s), {} were done before", verb_, stopped ? "stopped at" : "done",
                 done_, total_, readable(amount_, unit_), duration(elapsed),
                 readable(amount_ / elapsed, unit_), done_ - fresh_);
}

}  // namespace microdit::ingest
