// Header lines, the verdict on an answer, speed, attempts, waits and redirects.
#include "ingest/http_rules.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <random>
#include <thread>
#include <vector>

#include "core/error.h"
#include "ingest/address.h"
#include "text/strip.h"

namespace microdit::ingest {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

/// -1 when it is no number that stands alone.
std::int64_t parse_int(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

/// "bytes 10-99/100", "bytes 10-99/*" or "bytes */100".
void parse_content_range(std::string_view value, ResponseHeaders& headers) {
  ResponseHeaders read;
  const std::size_t slash = value.find('/'), dash = value.find('-');
  if (!lower(value.substr(0, 6)).starts_with("bytes ") || slash == std::string_view::npos) {
    headers.contradiction = fmt::format("Content-Range: {:.80}", value);
    return;
  }
  read.range_total = parse_int(value.substr(slash + 1));
  if (dash < slash) {
    read.range_begin = parse_int(value.substr(6, dash - 6));
    read.range_end = parse_int(value.substr(dash + 1, slash - dash - 1));
    const bool ordered = read.range_begin >= 0 && read.range_end >= read.range_begin &&
                         (read.range_total < 0 || read.range_end < read.range_total);
    if (!ordered) headers.contradiction = fmt::format("Content-Range: {:.80}", value);
  }
  const bool again = headers.range_begin >= 0 || headers.range_total >= 0;
  if (again && (headers.range_begin != read.range_begin || headers.range_end != read.range_end ||
                headers.range_total != read.range_total)) {
    headers.contradiction = fmt::format("two Content-Range lines, the second {:.80}", value);
  }
  headers.range_begin = read.range_begin;
  headers.range_end = read.range_end;
  headers.range_total = read.range_total;
}

void parse_content_length(std::string_view value, ResponseHeaders& headers) {
  const std::int64_t length = parse_int(value);
  if (length < 0 || (headers.content_length >= 0 && headers.content_length != length)) {
    headers.contradiction = fmt::format("Content-Length: {:.80}", value);
  }
  headers.content_length = length;
}

/// The number behind ";<name>=" in "\"api\";r=499;t=288"; -1 when it is not there.
std::int64_t parameter(std::string_view value, std::string_view name) {
  const std::size_t at = value.find(fmt::format(";{}=", name));
  if (at == std::string_view::npos) return -1;
  const std::string_view rest = value.substr(at + name.size() + 2);
  return parse_int(rest.substr(0, rest.find_first_of(";, ")));
}

/// RateLimit and RateLimit-Policy, and the three lines of the older draft.
void parse_rate_limit(std::string_view name, std::string_view value, RateLimit& rate) {
  const auto seconds = [](std::int64_t number) {
    return static_cast<double>(std::max<std::int64_t>(number, 0));
  };
  if (name == "ratelimit") {
    rate.remaining = parameter(value, "r");
    rate.reset_s = seconds(parameter(value, "t"));
  }
  if (name == "ratelimit-policy") {
    rate.quota = parameter(value, "q");
    rate.window_s = seconds(parameter(value, "w"));
  }
  if (name == "ratelimit-remaining" || name == "x-ratelimit-remaining") rate.remaining = parse_int(value);
  if (name == "ratelimit-reset") rate.reset_s = seconds(parse_int(value));
  if (name == "ratelimit-limit") rate.quota = parse_int(value);
}

/// The target of "<address>; rel=\"next\"".
std::string next_of_link(std::string_view value) {
  for (std::size_t open = value.find('<'); open != std::string_view::npos; open = value.find('<', open + 1)) {
    const std::size_t close = value.find('>', open);
    if (close == std::string_view::npos) return "";
    const std::string_view rest = value.substr(close, value.find(',', close) - close);
    if (rest.find("rel=\"next\"") != std::string_view::npos)
      return std::string(value.substr(open + 1, close - open - 1));
  }
  return "";
}

void read_field(const std::string& name, const std::string& value, ResponseHeaders& headers) {
  if (name == "etag") headers.etag = value;
  if (name == "last-modified") headers.last_modified = value;
  if (name == "content-length") parse_content_length(value, headers);
  if (name == "content-range") parse_content_range(value, headers);
  if (name == "content-encoding") headers.content_encoding = lower(value);
  if (name == "transfer-encoding") headers.transfer_encoding = lower(value);
  if (name == "retry-after") headers.retry_after_s = parse_retry_after(value, std::time(nullptr));
  if (name == "link") headers.next_page = next_of_link(value);
  if (name.find("ratelimit") != std::string::npos) parse_rate_limit(name, value, headers.rate);
  if (name == "x-linked-etag" && value.size() == 66 && value.front() == '"' && value.back() == '"' &&
      value.find_first_not_of("0123456789abcdef", 1) == 65) {
    headers.linked_sha256 = value.substr(1, 64);
  }
}

Answer refused(std::string why) {
  return {Body::refused, std::move(why)};
}

/// An answer that is not the asked-for rest: the whole file is asked for next, or nothing is where it was.
Answer not_asked_for(const Asked& asked, std::string why) {
  return {asked.offset > 0 ? Body::restart : Body::refused, std::move(why)};
}

/// Whether the rest is of another version than the part that is here: what both answers say must agree, letter by letter. A tag that was
/// asked by comes back (RFC 9110, 15.3.7), a date may be left out.
bool is_of_another_version(const ResponseHeaders& headers, const Asked& asked) {
  if (asked.offset == 0) return false;
  const FileVersion &was = asked.version, now = headers.version();
  if (was.total >= 0 && now.total >= 0 && was.total != now.total) return true;
  if (was.has_strong_tag()) return was.etag != now.etag;
  if (!was.etag.empty() && !now.etag.empty() && was.etag != now.etag) return true;
  return !now.last_modified.empty() && was.last_modified != now.last_modified;
}

Answer judge_range(const ResponseHeaders& headers, const Asked& asked) {
  const std::string range = fmt::format("bytes {}-{}/{} under status {}", headers.range_begin,
                                        headers.range_end, headers.range_total, headers.status);
  if (headers.range_begin != static_cast<std::int64_t>(asked.offset)) {
    return not_asked_for(asked,
                         fmt::format("the server sends {}, but {} was asked for", range,
                                     asked.offset > 0 ? fmt::format("the rest from byte {}", asked.offset)
                                                      : std::string("the whole file")));
  }
  if (headers.range_total < 0 || headers.range_end + 1 != headers.range_total) {
    return not_asked_for(asked, fmt::format("the server sends {}: a part only", range));
  }
  const bool lies =
      headers.content_length >= 0 && headers.content_length != headers.range_end - headers.range_begin + 1;
  if (lies) return not_asked_for(asked, fmt::format("{} with {} bytes", range, headers.content_length));
  if (is_of_another_version(headers, asked))
    return not_asked_for(asked, "the server sends the rest of another version, although If-Range was asked");
  return {asked.offset > 0 ? Body::continues : Body::from_start, ""};
}

}  // namespace

std::string to_text(const FileVersion& version) {
  return fmt::format("{}\n{}\n{}\n", version.etag, version.last_modified, version.total);
}

FileVersion file_version_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (lines.size() != 3 || !text.empty()) return {};
  return {lines[0], lines[1], parse_int(lines[2])};
}

void read_header(std::string_view line, ResponseHeaders& headers) {
  headers.bytes += line.size();
  ++headers.lines;
  if (headers.over) return;  // a trailer
  if (line.starts_with("HTTP/")) {
    const ResponseHeaders earlier = headers;
    headers = {};
    headers.bytes = earlier.bytes;
    headers.lines = earlier.lines;
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos)
      headers.status = static_cast<long>(parse_int(line.substr(space + 1, 3)));
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    headers.over = headers.status >= 200 && text::strip(line).empty();
    return;
  }
  read_field(lower(line.substr(0, colon)), std::string(text::strip(line.substr(colon + 1))), headers);
}

Answer judge_headers(const ResponseHeaders& headers, const Asked& asked) {
  if (headers.status != 200 && headers.status != 206) return {};
  if (!headers.contradiction.empty())
    return not_asked_for(asked, fmt::format("the server contradicts itself ({})", headers.contradiction));
  if (!headers.content_encoding.empty() && headers.content_encoding != "identity") {
    return refused(
        fmt::format("the server sends Content-Encoding: {:.80}, which was not asked for: the file is stored "
                    "encoded there; name another address, or decode a copy and name its file:// address",
                    headers.content_encoding));
  }
  if (!headers.transfer_encoding.empty() && headers.transfer_encoding != "chunked" &&
      headers.transfer_encoding != "identity") {
    return refused(fmt::format("the server sends Transfer-Encoding: {:.80}, which was not asked for",
                               headers.transfer_encoding));
  }
  Answer answer{Body::from_start, ""};
  if (headers.has_range())
    answer = judge_range(headers, asked);
  else if (headers.status == 206)
    answer = not_asked_for(asked, "the server answers 206 without a Content-Range");
  if (answer.body != Body::from_start && answer.body != Body::continues) return answer;
  const std::int64_t total = headers.total_bytes();
  if (total >= 0 && static_cast<std::uint64_t>(total) > asked.max_bytes) {
    return refused(fmt::format("the server announces {} bytes, source.max_file_bytes allows {}", total,
                               asked.max_bytes));
  }
  if (total >= 0 && asked.expected_bytes >= 0 && total != asked.expected_bytes) {
    return not_asked_for(asked, fmt::format("the server announces {} bytes, the listing says {}", total,
                                            asked.expected_bytes));
  }
  return answer;
}

bool SpeedRule::too_slow(std::uint64_t bytes, Clock::time_point now) {
  const double elapsed_s = std::chrono::duration<double>(now - since_).count();
  if (elapsed_s < window_s_) return false;
  const bool slow = static_cast<double>(bytes - bytes_then_) < limits::kSlowBytesPerSecond * elapsed_s;
  since_ = now;
  bytes_then_ = bytes;
  return slow;
}

std::int64_t Attempts::failed(std::uint64_t bytes) {
  if (bytes >= furthest_ + limits::kProgressBytes) {
    furthest_ = bytes;
    count_ = 0;
  }
  return ++count_;
}

double parse_retry_after(std::string_view value, std::int64_t now) {
  const std::int64_t seconds = parse_int(value);
  if (seconds >= 0) return static_cast<double>(seconds);
  const std::time_t date = curl_getdate(std::string(value).c_str(), nullptr);
  return date < 0 ? -1 : static_cast<double>(std::max<std::int64_t>(0, date - now));
}

std::string checked_redirect(std::string_view from, const std::string& target) {
  const std::string to = escaped_url(target, shown(from) + ": a redirect");
  const bool secure = to.starts_with("https://");
  if (!secure && !to.starts_with("http://"))
    core::user_error("{}: redirects to '{:.200}': only http and https are followed", shown(from), shown(to));
  if (from.starts_with("https://") && !secure)
    core::user_error("{}: redirects from https to {:.200}: refused", shown(from), shown(to));
  if (has_user_name(to))
    core::user_error("{}: redirects to {:.200} with a user name: refused", shown(from), shown(to));
  return to;
}

bool is_temporary(long status) {
  return status == 408 || status == 429 || (status >= 500 && status < 600);
}

bool is_outage(long status) {
  return status == 429 || status == 500 || (status >= 502 && status <= 504) ||
         (status >= 520 && status <= 527) || status == 530;
}

bool may_refuse_parts(long status) {
  return status == 400 || status == 403 || status == 405 || status == 412 || status == 501;
}

std::string remedy_for(long status) {
  if (status == 401 || status == 403) {
    return ": gated data and weights need `gated: true` and the token of an account that accepted their "
           "terms "
           "(HF_TOKEN_FILE or HF_TOKEN), a signed link may have expired";
  }
  if (status == 404 || status == 410) return ": no such file there; check the entry's source";
  return "";
}

double backoff_s(double base_s, std::int64_t attempt, double retry_after_s) {
  const double longest =
      std::min(base_s * std::exp2(static_cast<double>(std::min<std::int64_t>(attempt - 1, 30))),
               limits::kBackoffSeconds);
  std::random_device entropy;
  const double jitter = std::uniform_real_distribution<double>(0, 1)(entropy) * longest;
  return std::max(jitter, std::min(retry_after_s, limits::kRetryAfterSeconds));
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
