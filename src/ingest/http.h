// One file over HTTP(S): resumed where it was left, retried with backoff, never trusted by its status alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/stop_flag.h"

namespace microdit::ingest {

struct HttpOptions {
  std::int64_t max_attempts = 8;  ///< in a row without a new byte
  double backoff_s = 1;           ///< longest first wait; doubles up to 60 s, full jitter
  std::string token{};            ///< sent to the first host only
  std::function<void(double bytes)> on_bytes = [](double) {};
};

struct HttpResult {
  bool complete = false;        ///< false: `stop` was seen; the partial file stays for the next start
  std::string linked_sha256{};  ///< what the hub says about a large file ("" = nothing)
};

/// Fetches `url` into `partial`, continuing what is there when the server says it is still the same file
/// (If-Range with a strong ETag or a date, kept in `partial` + ".etag"). Waits out 408, 429, 5xx and broken
/// connections, and honours Retry-After. UserError: other 4xx, a redirect to another scheme or from a public
/// to a private address, a certificate that does not verify. SystemError: attempts are used up, or the disk
/// failed.
HttpResult fetch_http(const std::string& url, const std::filesystem::path& partial,
                      const HttpOptions& options, const core::StopFlag& stop);

/// Length that the server announces for `url` (HEAD); -1 when it does not say.
std::int64_t remote_size(const std::string& url, const std::string& token);

}  // namespace microdit::ingest
