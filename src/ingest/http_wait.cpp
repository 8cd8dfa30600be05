// What a failure means for a file and for its host: waiting, setting aside, giving up.
#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/address.h"
#include "ingest/http_fetch.h"
#include "ingest/not_before.h"

namespace microdit::ingest {
namespace {

constexpr std::int64_t kHangUps =
    8;  ///< count as one silence of a host: it is there, and may refuse some files so
constexpr std::int64_t kLeastSilences = 2;  ///< in a row until a host is given up: one may be a single file's

std::chrono::steady_clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

/// Too many requests, with a time: that is not of one file.
bool is_of_the_host(const HopResult& result) {
  return result.headers.status == 429 && result.headers.wait_s() > 0;
}

}  // namespace

/// False when stopped meanwhile.
bool Fetch::wait(const HopResult& result, const std::string& why) {
  const std::string origin = origin_of(hops_.back());
  const std::string whose = origin == origin_of(url_) ? "" : origin + ": ";
  const bool no_service = result.is_no_service();
  const Silence silence = no_service ? client_.note_silence(origin, url_, began_, result) : Silence();
  // Of a host that may be a wrong address.
  const std::int64_t silences = !result.unreachable || client_.is_known(origin)
                                    ? 0
                                    : silence.count() - silence.hang_ups() + silence.hang_ups() / kHangUps;
  const std::int64_t attempt = std::max(waiting_.attempts.failed(sink_.bytes()), silences);
  double pause_s = 0;
  const bool outage = no_service && is_outage_of(origin, result);
  if (outage && silence.is_over(client_.options_.patience)) {
    const std::string end = fmt::format("no service for {} ({}); run the same command to continue",
                                        core::duration_text(silence.seconds()), why);
    client_.give_up(origin, url_, end);
    core::user_error("{}: {} does not answer: {}", name_, origin, end);
  }
  if (outage) {
    waiting_.attempts.forgive();
    pause_s = backoff_s(client_.options_.backoff_s, silence.count(), result.headers.wait_s());
    if (client_.may_speak(origin)) {
      core::log_warn(
          "{}: no service for {} ({}); waiting, and asking again until it serves or the job is stopped",
          origin, core::duration_text(silence.seconds()), why);
    }
  } else {
    if (attempt >= client_.options_.max_attempts) {
      const std::string end =
          fmt::format("gave up after {} attempts without progress: {}{}; run the same command to continue",
                      attempt, whose, why);
      if (silences >= std::max(kLeastSilences, client_.options_.max_attempts))
        client_.give_up(origin, url_, end);
      core::user_error("{}: {}{}", name_, silences >= attempt ? origin + " does not answer: " : "", end);
    }
    pause_s = backoff_s(client_.options_.backoff_s, attempt, result.headers.wait_s());
    core::log_warn("{}: {}{}; {} for {}, then continuing at byte {}", name_, whose, why,
                   may_sleep(pause_s) && silences == 0 && !is_of_the_host(result) ? "waiting" : "set aside",
                   core::duration_text(pause_s), sink_.bytes());
  }
  if (no_service) client_.note_pause(origin, pause_s);
  const bool host_is_away =
      silences > 0 || (outage && (result.unreachable || result.is_stalled())) || is_of_the_host(result);
  if (!sink_.may_be_set_aside || (may_sleep(pause_s) && !host_is_away))
    return sleep_unless_stopped(pause_s, stop_);
  const bool host_said_so = is_outage(result.headers.status) && result.headers.wait_s() > 0 &&
                            (is_of_the_host(result) || !client_.is_known(origin));
  set_aside(pause_s, outage || silences > 0 || host_said_so);
}

bool Fetch::may_sleep(double pause_s) const {
  return !sink_.may_be_set_aside || pause_s <= client_.options_.longest_wait_s;
}

/// With `host`, no other file of it is asked for meanwhile; then those that were not asked for yet go first.
void Fetch::set_aside(double pause_s, bool host) {
  const auto until = Clock::now() + duration_of(pause_s);
  waiting_.host = origin_of(hops_.back());
  if (host) client_.leave_alone(waiting_.host, until);
  client_.set_aside(url_, waiting_);
  throw NotBefore{until + std::chrono::milliseconds(host ? 500 : 0), host};
}

/// Whether it is the host's: it has served before, and serves nobody now, or none of several files.
bool Fetch::is_outage_of(const std::string& origin, const HopResult& result) {
  return client_.is_known(origin) &&
         (is_of_the_host(result) || (!result.unreachable && client_.serves_no_file(origin)) ||
          !client_.still_serves(origin, origin_of(url_), stop_));
}

}  // namespace microdit::ingest
