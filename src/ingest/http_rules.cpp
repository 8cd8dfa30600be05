// Header lines, waits, addresses and redirects.
#include "ingest/http_rules.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <random>
#include <thread>

#include "core/error.h"
#include "ingest/captions.h"

namespace microdit::ingest {
namespace {

constexpr double kLongestBackoff_s = 60;
constexpr double kLongestRetryAfter_s = 3600;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::int64_t parse_int(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

/// "bytes 10-99/100" or "bytes */100".
void parse_content_range(std::string_view value, ResponseHeaders& headers) {
  if (!value.starts_with("bytes ")) return;
  value.remove_prefix(6);
  const std::size_t slash = value.find('/');
  if (slash == std::string_view::npos) return;
  headers.range_total = parse_int(value.substr(slash + 1));
  headers.range_begin = parse_int(value.substr(0, value.find('-')));
}

bool is_private_v4(std::uint32_t ip) {  // host byte order
  const auto in = [&](std::uint32_t net, int bits) { return (ip >> (32 - bits)) == (net >> (32 - bits)); };
  return in(0x00000000, 8) || in(0x0a000000, 8) || in(0x64400000, 10) || in(0x7f000000, 8) ||
         in(0xa9fe0000, 16) || in(0xac100000, 12) || in(0xc0a80000, 16) || in(0xe0000000, 3);
}

}  // namespace

std::string ResponseHeaders::validator() const {
  if (!etag.empty() && !etag.starts_with("W/")) return etag;
  return last_modified;
}

void read_header(std::string_view line, ResponseHeaders& headers) {
  if (line.starts_with("HTTP/")) {
    headers = {};
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos)
      headers.status = static_cast<long>(parse_int(line.substr(space + 1, 3)));
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string name = lower(line.substr(0, colon)), value = strip(line.substr(colon + 1));
  if (name == "etag") headers.etag = value;
  if (name == "last-modified") headers.last_modified = value;
  if (name == "content-length") headers.content_length = parse_int(value);
  if (name == "content-range") parse_content_range(value, headers);
  if (name == "retry-after") headers.retry_after_s = parse_retry_after(value, std::time(nullptr));
  if (name == "x-linked-etag" && value.size() == 66 && value.front() == '"' && value.back() == '"' &&
      value.find_first_not_of("0123456789abcdef", 1) == 65) {
    headers.linked_sha256 = value.substr(1, 64);
  }
}

double parse_retry_after(std::string_view value, std::int64_t now) {
  const std::int64_t seconds = parse_int(value);
  if (seconds >= 0) return static_cast<double>(seconds);
  const std::time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  return date < 0 ? -1 : static_cast<double>(std::max<std::int64_t>(0, date - now));
}

bool is_private_address(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return is_private_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return true;  // a local socket
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof v6);
  const std::uint8_t* b = v6.sin6_addr.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) || IN6_IS_ADDR_V4COMPAT(&v6.sin6_addr)) {
    return is_private_v4(static_cast<std::uint32_t>(b[12]) << 24 | static_cast<std::uint32_t>(b[13]) << 16 |
                         static_cast<std::uint32_t>(b[14]) << 8 | b[15]);
  }
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr) ||
         IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) || IN6_IS_ADDR_SITELOCAL(&v6.sin6_addr) ||
         IN6_IS_ADDR_MULTICAST(&v6.sin6_addr) || (b[0] & 0xfe) == 0xfc;
}

std::string host_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return lower(url);
  return lower(url.substr(0, url.find_first_of("/?#", scheme + 3)));
}

std::string checked_redirect(std::string_view from, const std::string& to) {
  const bool secure = to.starts_with("https://");
  if (!secure && !to.starts_with("http://"))
    core::user_error("{}: redirects to '{}': only http and https are followed", from, to);
  if (from.starts_with("https://") && !secure)
    core::user_error("{}: redirects from https to {}: refused", from, to);
  return to;
}

bool is_temporary(long status) {
  return status == 408 || status == 429 || (status >= 500 && status < 600);
}

std::string remedy_for(long status) {
  if (status == 401 || status == 403) {
    return ": a gated data set needs `gated: true` and a token in HF_TOKEN_FILE, a signed link may have "
           "expired";
  }
  if (status == 404 || status == 410) return ": no such file there; check the entry's source";
  return "";
}

double backoff_s(double base_s, std::int64_t attempt, double retry_after_s) {
  const double longest = std::min(
      base_s * std::exp2(static_cast<double>(std::min<std::int64_t>(attempt - 1, 30))), kLongestBackoff_s);
  std::random_device entropy;
  const double jitter = std::uniform_real_distribution<double>(0, 1)(entropy) * longest;
  return std::max(jitter, std::min(retry_after_s, kLongestRetryAfter_s));
}

bool sleep_unless_stopped(double seconds, const core::StopFlag& stop) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (stop.requested()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return !stop.requested();
}

}  // namespace microdit::ingest
