// Log lines to stderr through spdlog: one unbuffered write per line, so that a batch log is never behind.
#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

#include "core/shown_text.h"

namespace microdit::core {
namespace {

std::atomic<int> log_rank{0};
std::atomic<LogLevel> lowest_level{LogLevel::info};

spdlog::logger& logger() {
  // Never destroyed: other static destructors and detached threads may still log.
  static spdlog::logger* const shared = [] {
    auto* made = new spdlog::logger("microdit", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("[%Y-%m-%d %H:%M:%S] %v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *shared;
}

std::string_view mark_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug: ";
    case LogLevel::info:
      return "";
    case LogLevel::warn:
      return "warning: ";
    case LogLevel::error:
      return "error: ";
  }
  return "";
}

}  // namespace

void start_log(int rank, LogLevel level) {
  log_rank = rank;
  lowest_level = rank > 0 && level < LogLevel::warn ? LogLevel::warn : level;
}

void log_line(LogLevel level, std::string_view message) {
  if (level < lowest_level.load()) return;
  const int rank = log_rank;
  const std::string who = rank > 0 ? fmt::format("[rank {}] ", rank) : std::string();
  logger().log(spdlog::level::info, "{}{}{}", who, mark_of(level),
               without_controls(without_secrets(message)));
}

}  // namespace microdit::core
