// The exit-code contract, counted over lives.
#include "lives/rules.h"

#include <csignal>

#include "core/error.h"

namespace microdit::lives {
namespace {

constexpr int killed_by(int signal) {
  return 128 + signal;
}

bool is_stop(const Ending& ending) {
  switch (ending.exit_code) {
    case core::kRequeueMe:
    case killed_by(SIGUSR1):  // it came before the launcher listened; nobody else sends it
      return true;
    case killed_by(SIGTERM):
      return ending.stop_was_asked;
    default:
      return false;
  }
}

/// Killed from outside or by a bad address. After progress a node is blamed; without, the program is.
bool is_crash(const Ending& ending) {
  const int code = ending.exit_code;
  return code == killed_by(SIGKILL) || code == killed_by(SIGSEGV) || code == killed_by(SIGBUS) ||
         code == killed_by(SIGABRT) || (code == killed_by(SIGTERM) && !ending.stop_was_asked);
}

Decision after_stop(const Limits& limits, Counters& counters, bool progress) {
  if (progress) return {Next::live_again, core::kRequeueMe, "stopped with its work saved"};
  ++counters.fruitless;
  if (counters.fruitless < limits.fruitless)
    return {Next::live_again, core::kRequeueMe,
            fmt::format("stopped and published nothing new ({} of {} such lives in a row)",
                        counters.fruitless, limits.fruitless)};
  return {Next::end, core::kFailed,
          fmt::format("{} lives in a row published nothing new: ended. Is the time limit too short for one "
                      "checkpoint or shard? Raise --time, or MICRODIT_FRUITLESS_LIVES={}",
                      counters.fruitless, 2 * limits.fruitless)};
}

std::string name_of_fault(const Ending& ending) {
  if (ending.was_overdue) return "did not stop in time and was killed";
  if (ending.exit_code == core::kHardwareFault) return "hardware or communication fault (exit 76)";
  if (!ending.ranks_began) return fmt::format("no rank was started (exit {})", ending.exit_code);
  if (ending.exit_code == core::kUserMistake) return "refused (exit 2) what an earlier life was let do";
  return fmt::format("died of a signal (exit {})", ending.exit_code);
}

/// What did run cannot be a mistake now: a file system or a controller is.
bool is_the_sites(const Ending& ending) {
  return ending.is_later && (ending.exit_code == core::kUserMistake || !ending.ranks_began);
}

Decision after_fault(const Ending& ending, const Limits& limits, Counters& counters) {
  ++counters.faults;
  const std::string what = name_of_fault(ending);
  if (counters.faults <= limits.faults)
    return {Next::live_elsewhere, ending.exit_code,
            fmt::format("{}, {} of {} in a row", what, counters.faults, limits.faults)};
  return {Next::end, ending.exit_code,
          fmt::format("{}, number {} without progress between: ended; look at the nodes before the same "
                      "command is submitted again",
                      what, counters.faults)};
}

}  // namespace

Decision decide(const Ending& ending, const Limits& limits, Counters& counters) {
  if (ending.progress) counters.fruitless = counters.faults = 0;
  if (ending.was_overdue)
    return ending.progress ? after_fault(ending, limits, counters) : after_stop(limits, counters, false);
  if (ending.exit_code == core::kDone) return {Next::done, core::kDone, ""};
  if (is_stop(ending)) return after_stop(limits, counters, ending.progress);
  if (ending.exit_code == core::kHardwareFault || (is_crash(ending) && ending.progress) ||
      is_the_sites(ending))
    return after_fault(ending, limits, counters);
  const bool mistake = ending.exit_code == core::kUserMistake;
  return {Next::end, ending.exit_code,
          mistake ? "not started: mend the input (see above) and submit again"
                  : fmt::format("failed with exit code {}", ending.exit_code)};
}

}  // namespace microdit::lives
