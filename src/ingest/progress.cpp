// Progress lines for batch logs: whole lines, seldom.
#include "ingest/progress.h"

#include <utility>

#include "core/log.h"
#include "core/progress.h"

namespace microdit::ingest {

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
  const std::scoped_lock lock(lock_);
  amount_ += amount;
  print_if_due();
}

void Progress::item_done(bool fresh) {
  const std::scoped_lock lock(lock_);
  ++done_;
  fresh_ += fresh;
  print_if_due();
}

void Progress::print_if_due() {
  const double elapsed = core::seconds_since(start_);
  const double rate = static_cast<double>(fresh_) / elapsed;
  if (core::seconds_since(last_line_) < core::progress_interval_s(static_cast<double>(total_), rate)) return;
  last_line_ = Clock::now();
  std::string eta = "?";
  if (fresh_ > 0) eta = core::duration_text(static_cast<double>(total_ - done_) / rate);
  core::log_info("{} {}/{}, {} ({}/s), ETA {}", verb_, done_, total_, readable(amount_, unit_),
                 readable(amount_ / elapsed, unit_), eta);
}

void Progress::finish(bool stopped) const {
  if (total_ == 0) return;
  const double elapsed = core::seconds_since(start_);
  core::log_info("{} {} {}/{}: {} in {} ({}/s), {} were done before", verb_, stopped ? "stopped at" : "done",
                 done_, total_, readable(amount_, unit_), core::duration_text(elapsed),
                 readable(amount_ / elapsed, unit_), done_ - fresh_);
}

}  // namespace microdit::ingest
