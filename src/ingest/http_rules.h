// The rules of a careful HTTP client, apart from the transfer itself.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/stop_flag.h"
#include "ingest/file_version.h"
#include "ingest/limits.h"

namespace microdit::ingest {

/// What the hub says of a quota: `remaining` requests for the next `reset_s` seconds; `quota` per `window_s`.
struct RateLimit {
  std::int64_t remaining = -1;  ///< -1: nothing was said
  double reset_s = 0;
  std::int64_t quota = -1;
  double window_s = 0;
};

/// What we read of a response's header lines; a new status line forgets the earlier response. Lines behind the body
/// (trailers) are counted, not read.
struct ResponseHeaders {
  long status = 0;
  std::string etag{}, last_modified{}, linked_sha256{}, content_encoding{}, transfer_encoding{}, next_page{};
  std::int64_t content_length = -1;
  std::int64_t range_begin = -1;  ///< of Content-Range
  std::int64_t range_end = -1;    ///< its last byte
  std::int64_t range_total = -1;
  double retry_after_s = -1;
  RateLimit rate{};
  std::string contradiction{};  ///< two lengths or two ranges that differ: the answer is not to be used
  bool over = false;            ///< the empty line of a final answer was read
  std::uint64_t bytes = 0;      ///< of all lines, earlier responses included
  int lines = 0;

  FileVersion version() const { return {etag, last_modified, total_bytes()}; }
  /// The file's whole size; -1 when not announced.
  std::int64_t total_bytes() const { return has_range() ? range_total : content_length; }
  bool has_range() const { return range_begin >= 0; }
  /// For how long the server asks to be left alone; -1 when it does not say. Some say it of a used up quota alone.
  double wait_s() const {
    return status == 429 && rate.reset_s > 0 ? std::max(retry_after_s, rate.reset_s) : retry_after_s;
  }
  bool is_flood() const { return bytes > limits::kHeaderBytes || lines > limits::kHeaderLines; }
};
void read_header(std::string_view line, ResponseHeaders& headers);

/// What was asked of the server.
struct Asked {
  std::uint64_t offset = 0;          ///< 0: the whole file
  FileVersion version{};             ///< of what lies before `offset`
  std::int64_t expected_bytes = -1;  ///< of the whole file, from a listing; -1 = not known
  std::uint64_t max_bytes = limits::kGiB;
};

/// What becomes of the answer's body.
enum class Body {
  from_start,  ///< the whole file
  continues,   ///< the rest that was asked for
  ignored,     ///< of a redirect or an error
  restart,     ///< not what was asked for: ask for the whole file
  refused,     ///< not what was asked for, and the whole file was: give up
};
struct Answer {
  Body body = Body::ignored;
  std::string why{};  ///< of restart and refused
};
Answer judge_headers(const ResponseHeaders& headers, const Asked& asked);

/// Whether a transfer is a drip: fewer than kSlowBytesPerSecond over a whole window.
class SpeedRule {
 public:
  using Clock = std::chrono::steady_clock;
  explicit SpeedRule(double window_s, Clock::time_point now) : window_s_(window_s), since_(now) {}
  /// `bytes` have arrived by `now`. True: too slow.
  bool too_slow(std::uint64_t bytes, Clock::time_point now);

 private:
  double window_s_;
  Clock::time_point since_;
  std::uint64_t bytes_then_ = 0;
};

/// Counts attempts: a failure counts anew when kProgressBytes came since the last count began.
class Attempts {
 public:
  explicit Attempts(std::uint64_t bytes) : furthest_(bytes) {}
  /// One more failure with `bytes` of the file here; returns how many in a row that is.
  std::int64_t failed(std::uint64_t bytes);
  /// The failure that was counted last is none of this file's.
  void forgive() { --count_; }

 private:
  std::uint64_t furthest_;
  std::int64_t count_ = 0;
};

/// Seconds of a Retry-After value: a number, or an HTTP date after `now` (seconds since the epoch); -1 when
/// neither.
double parse_retry_after(std::string_view value, std::int64_t now);

/// The redirect's target, escaped; UserError when it leaves http(s), goes from https to http, or has a user name.
std::string checked_redirect(std::string_view from, const std::string& target);

/// 408, 429 and 5xx: the same request may succeed later.
bool is_temporary(long status);
/// 429, 500, 502, 503, 504 and a content network's own for an origin that is away (520 to 527, 530): the server as a whole may be away.
bool is_outage(long status);
/// What servers that serve no parts answer to a request for one: 400, 403, 405, 412, 501.
bool may_refuse_parts(long status);
/// What to do about a 4xx ("" when there is nothing to say).
std::string remedy_for(long status);

/// How long to wait before the next attempt (the first failure is attempt 1): full jitter under base *
/// 2^(attempt-1), at most 60 s; never less than what the server asked for (at most an hour).
double backoff_s(double base_s, std::int64_t attempt, double retry_after_s);
/// False when stopped before the time was over.
bool sleep_unless_stopped(double seconds, const core::StopFlag& stop);

}  // namespace microdit::ingest
