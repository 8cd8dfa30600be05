// The rules of a careful HTTP client, apart from the transfer itself.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/stop_flag.h"

namespace microdit::ingest {

/// What we read of a response's header lines; a new status line forgets the earlier response.
struct ResponseHeaders {
  long status = 0;
  std::string etag{}, last_modified{}, linked_sha256{};
  std::int64_t content_length = -1;
  std::int64_t range_begin = -1;  ///< of Content-Range
  std::int64_t range_total = -1;
  double retry_after_s = -1;

  /// What If-Range may carry: a strong ETag, else the date, else nothing.
  std::string validator() const;
  /// The file's whole size; -1 when not announced.
  std::int64_t total_bytes() const { return status == 206 ? range_total : content_length; }
};
void read_header(std::string_view line, ResponseHeaders& headers);

/// Seconds of a Retry-After value: a number, or an HTTP date after `now` (seconds since the epoch); -1 when
/// neither.
double parse_retry_after(std::string_view value, std::int64_t now);

/// Loopback, private, link-local, unspecified and v4-mapped ones of IPv4 and IPv6.
bool is_private_address(const sockaddr* address);

/// "scheme://host:port" of an address.
std::string host_of(std::string_view url);

/// The redirect's target; UserError when it leaves http(s) or goes from https to http.
std::string checked_redirect(std::string_view from, const std::string& to);

/// 408, 429 and 5xx: the same request may succeed later.
bool is_temporary(long status);
/// What to do about a 4xx ("" when there is nothing to say).
std::string remedy_for(long status);

/// How long to wait before the next attempt (the first failure is attempt 1): full jitter under base *
/// 2^(attempt-1), at most 60 s; never less than what the server asked for (at most an hour).
double backoff_s(double base_s, std::int64_t attempt, double retry_after_s);
/// False when stopped before the time was over.
bool sleep_unless_stopped(double seconds, const core::StopFlag& stop);

}  // namespace microdit::ingest
