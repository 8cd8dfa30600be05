// HTTP through libcurl: one request at a time, redirects followed by hand so that every hop is checked.
#include "ingest/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "ingest/http_rules.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr int kMaxRedirects = 5;
constexpr long kConnectTimeout_s = 30;
constexpr long kStallTimeout_s = 60;

/// What one request came to.
enum class Outcome { complete, stopped, retry };

/// One hop's state, shared with libcurl's callbacks.
struct Transfer {
  Transfer(const HttpOptions& how, const core::StopFlag& when, fs::path where, bool private_is_allowed)
      : options(how), stop(when), partial(std::move(where)), private_allowed(private_is_allowed) {}

  const HttpOptions& options;
  const core::StopFlag& stop;
  fs::path partial;
  bool private_allowed = true;  ///< the entry's own address may be a private one, a redirect to one may not
  bool first_hop_private = false;
  bool refused_address = false;
  bool disk_failed = false;
  std::uint64_t offset = 0;  ///< bytes in `partial` that were asked to be continued
  long status = 0;
  ResponseHeaders headers{};
  std::ofstream out{};
  std::uint64_t received = 0;
};

bool is_private(const curl_sockaddr* address) {
  return is_private_address(&address->addr);
}

curl_socket_t on_open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (is_private(address)) {
    if (!transfer.private_allowed) {
      transfer.refused_address = true;
      return CURL_SOCKET_BAD;
    }
    transfer.first_hop_private = true;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  read_header({data, size * count}, static_cast<Transfer*>(user)->headers);
  return size * count;
}

/// Opens the partial file by what the server chose: 206 continues it, 200 begins it again.
bool open_partial(Transfer& transfer, long status) {
  const bool continues =
      status == 206 && transfer.headers.range_begin == static_cast<std::int64_t>(transfer.offset);
  transfer.out.open(transfer.partial,
                    continues ? std::ios::binary | std::ios::app : std::ios::binary | std::ios::trunc);
  if (!continues) transfer.offset = 0;
  // From here on these bytes are this version of the file; without a validator they cannot be continued.
  std::ofstream tag(fs::path(transfer.partial) += ".etag", std::ios::trunc);
  tag << transfer.headers.validator();
  return transfer.out.good() && tag.good();
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.stop.requested()) return 0;
  const long status = transfer.headers.status;
  if (status != 200 && status != 206) return size * count;  // an error page
  if (status == 206 && transfer.headers.range_begin != static_cast<std::int64_t>(transfer.offset) &&
      transfer.received == 0) {
    return 0;  // another range than was asked for
  }
  if (!transfer.out.is_open() && !open_partial(transfer, status)) {
    transfer.disk_failed = true;
    return 0;
  }
  transfer.out.write(data, static_cast<std::streamsize>(size * count));
  transfer.disk_failed = !transfer.out.good();
  transfer.received += size * count;
  transfer.options.on_bytes(static_cast<double>(size * count));
  return transfer.disk_failed ? 0 : size * count;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->stop.requested() ? 1 : 0;
}

/// A curl handle with the options that every request shares.
class Request {
 public:
  Request(const std::string& url, const std::string& token) : curl_(curl_easy_init()) {
    core::check(curl_ != nullptr, "curl_easy_init failed");
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, kConnectTimeout_s);
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, kStallTimeout_s);
    set(CURLOPT_USERAGENT, "microdit");
    set(CURLOPT_ERRORBUFFER, error_);
    if (!token.empty()) add_header("Authorization: Bearer " + token);
  }
  ~Request() {
    curl_slist_free_all(headers_);
    curl_easy_cleanup(curl_);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  template <class T>
  void set(CURLoption option, T value) {
    core::check(curl_easy_setopt(curl_, option, value) == CURLE_OK, "curl option {}",
                static_cast<int>(option));
  }
  void add_header(const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); }
  CURLcode perform() {
    if (headers_) set(CURLOPT_HTTPHEADER, headers_);
    return curl_easy_perform(curl_);
  }
  std::string error(CURLcode code) const { return error_[0] ? error_ : curl_easy_strerror(code); }
  template <class T>
  T info(CURLINFO what) {
    T value{};
    curl_easy_getinfo(curl_, what, &value);
    return value;
  }

 private:
  CURL* curl_;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
};

/// Libcurl's process-wide state for as long as somebody transfers.
struct CurlSession {
  CurlSession() { core::check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init failed"); }
  ~CurlSession() { curl_global_cleanup(); }
};

/// The whole fetch: attempts, hops, waits.
class Fetch {
 public:
  Fetch(const std::string& url, const fs::path& partial, const HttpOptions& options,
        const core::StopFlag& stop)
      : url_(url), partial_(partial), options_(options), stop_(stop) {}

  HttpResult run() {
    std::uint64_t furthest = size_of_partial();
    for (std::int64_t attempt = 0;;) {
      retry_after_s_ = -1;
      const Outcome outcome = attempt_once();
      if (outcome != Outcome::retry) return {outcome == Outcome::complete, linked_sha256_};
      const std::uint64_t reached = size_of_partial();
      attempt = reached > furthest ? 1 : attempt + 1;
      furthest = std::max(furthest, reached);
      if (attempt >= options_.max_attempts) {
        core::system_error(
            "{}: gave up after {} attempts without progress: {}; run the same command to continue", url_,
            attempt, last_error_);
      }
      const double wait_s = backoff_s(options_.backoff_s, attempt, retry_after_s_);
      core::log_warn("{}: {}; waiting {:.1f} s, then continuing at byte {}", url_, last_error_, wait_s,
                     reached);
      if (!sleep_unless_stopped(wait_s, stop_)) return {};
    }
  }

 private:
  std::uint64_t size_of_partial() const {
    std::error_code missing;
    const std::uintmax_t bytes = fs::file_size(partial_, missing);
    return missing ? 0 : bytes;
  }

  /// One request with its redirects.
  Outcome attempt_once() {
    std::string url = url_;
    bool first_hop_private = false;
    for (int hop = 0; hop <= kMaxRedirects; ++hop) {
      Transfer transfer(options_, stop_, partial_, hop == 0 || first_hop_private);
      const bool same_host = host_of(url) == host_of(url_);
      Request request(url, same_host ? options_.token : "");
      const CURLcode code = perform(request, transfer);
      if (hop == 0) {
        first_hop_private = transfer.first_hop_private;
        linked_sha256_ = transfer.headers.linked_sha256;
      }
      if (transfer.status >= 300 && transfer.status < 400 && transfer.status != 304 && code == CURLE_OK) {
        const char* next = request.info<char*>(CURLINFO_REDIRECT_URL);
        url = checked_redirect(url, next ? next : "");
        continue;
      }
      return judge(request, code, transfer);
    }
    core::user_error("{}: more than {} redirects", url_, kMaxRedirects);
  }

  CURLcode perform(Request& request, Transfer& transfer) {
    const std::string validator =
        fs::exists(fs::path(partial_) += ".etag") ? core::read_text(fs::path(partial_) += ".etag") : "";
    if (!validator.empty() && size_of_partial() > 0) {
      transfer.offset = size_of_partial();
      request.add_header(fmt::format("Range: bytes={}-", transfer.offset));
      request.add_header("If-Range: " + validator);
    }
    request.set(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    request.set(CURLOPT_OPENSOCKETDATA, &transfer);
    request.set(CURLOPT_HEADERFUNCTION, on_header);
    request.set(CURLOPT_HEADERDATA, &transfer);
    request.set(CURLOPT_WRITEFUNCTION, on_body);
    request.set(CURLOPT_WRITEDATA, &transfer);
    request.set(CURLOPT_NOPROGRESS, 0L);
    request.set(CURLOPT_XFERINFOFUNCTION, on_progress);
    request.set(CURLOPT_XFERINFODATA, &transfer);
    const CURLcode code = request.perform();
    transfer.status = request.info<long>(CURLINFO_RESPONSE_CODE);
    if (transfer.out.is_open()) {
      transfer.out.close();
      transfer.disk_failed |= !transfer.out;
    }
    return code;
  }

  Outcome judge(Request& request, CURLcode code, Transfer& transfer) {
    if (transfer.disk_failed)
      core::system_error("{}: cannot be written: {}; is the disk full?", partial_.string(),
                         std::strerror(errno));
    if (stop_.requested()) return Outcome::stopped;
    if (transfer.refused_address)
      core::user_error("{}: redirects from a public to a private address: refused", url_);
    const long status = transfer.status;
    retry_after_s_ = transfer.headers.retry_after_s;
    if (status == 416) return judge_unsatisfiable(transfer);
    if (is_temporary(status)) return retry(fmt::format("the server answered {}", status));
    if (status >= 400) core::user_error("{}: the server answered {}{}", url_, status, remedy_for(status));
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
        code == CURLE_UNSUPPORTED_PROTOCOL) {
      core::user_error("{}: {}", url_, request.error(code));
    }
    if (code != CURLE_OK) {
      if (status == 206 && transfer.received == 0 && !transfer.out.is_open()) restart();
      return retry(request.error(code));
    }
    if (status != 200 && status != 206) return retry(fmt::format("the server answered {}", status));
    if (transfer.received == 0) std::ofstream(partial_, std::ios::trunc);  // an empty file is a file
    const std::int64_t total = transfer.headers.total_bytes();
    if (total >= 0 && size_of_partial() != static_cast<std::uint64_t>(total)) {
      restart();
      return retry(fmt::format("{} bytes arrived, {} were announced", size_of_partial(), total));
    }
    return Outcome::complete;
  }

  /// 416 to a continued range: the partial file is whole already, or belongs to another version.
  Outcome judge_unsatisfiable(const Transfer& transfer) {
    if (transfer.headers.range_total == static_cast<std::int64_t>(transfer.offset) && transfer.offset > 0)
      return Outcome::complete;
    restart();
    return retry("the server cannot continue there (416)");
  }

  Outcome retry(std::string why) {
    last_error_ = std::move(why);
    return Outcome::retry;
  }
  void restart() { fs::remove(fs::path(partial_) += ".etag"); }

  const std::string& url_;
  const fs::path& partial_;
  const HttpOptions& options_;
  const core::StopFlag& stop_;
  CurlSession session_;
  std::string last_error_, linked_sha256_;
  double retry_after_s_ = -1;
};

}  // namespace

HttpResult fetch_http(const std::string& url, const fs::path& partial, const HttpOptions& options,
                      const core::StopFlag& stop) {
  return Fetch(url, partial, options, stop).run();
}

std::int64_t remote_size(const std::string& url, const std::string& token) {
  const CurlSession session;
  Request request(url, token);
  request.set(CURLOPT_NOBODY, 1L);
  request.set(CURLOPT_FOLLOWLOCATION, 1L);
  request.set(CURLOPT_MAXREDIRS, static_cast<long>(kMaxRedirects));
  request.set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  if (request.perform() != CURLE_OK || request.info<long>(CURLINFO_RESPONSE_CODE) != 200) return -1;
  return request.info<curl_off_t>(CURLINFO_CONTENT_LENGTH_DOWNLOAD_T);
}

}  // namespace microdit::ingest
