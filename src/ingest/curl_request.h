// A request on its way through libcurl: what is asked, and its callbacks. For http_transfer.cpp alone.
#pragma once

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "ingest/address.h"
#include "ingest/http_transfer.h"

namespace microdit::ingest {

inline constexpr std::size_t kPieceBytes =
    512 << 10;  ///< of a file, passed on at once: libcurl itself passes on 16 KiB
inline constexpr auto kPieceTime = std::chrono::seconds(1);  ///< a slow one's bytes wait no longer

/// A request on its way. All of it but `done` belongs to the loop's thread until it is done.
class Transfer {
 public:
  explicit Transfer(const Hop& hop) : hop_(hop), curl_(curl_easy_init()) {
    core::check(curl_ != nullptr, "curl_easy_init failed");
    set_what();
    set_callbacks();
  }
  ~Transfer() {
    curl_slist_free_all(lines_);
    curl_easy_cleanup(curl_);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* handle() const { return curl_; }
  /// On the loop's thread, before its first byte.
  void start() { speed_.emplace(hop_.slow_window_s, network_time()); }
  bool stopped() const { return hop_.stop->requested(); }

  /// Fills the result; on the loop's thread, when libcurl is through with it.
  void end(CURLcode code) {
    HopResult& r = result_;
    r.whole = code == CURLE_OK;
    pass_on();
    if (!r.whole) r.error = why(code);
    r.unreachable =
        r.headers.status == 0 &&
        (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PROXY ||
         code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_GOT_NOTHING ||
         code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_SSL_CONNECT_ERROR ||
         r.too_slow);
    curl_easy_getinfo(curl_, CURLINFO_HTTP_CONNECTCODE, &r.proxy_status);
    r.hung_up = r.unreachable && r.proxy_status < 400 &&
                (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR);
    // CURLE_UNSUPPORTED_PROTOCOL is what an answer is called that does not begin with HTTP.
    r.hopeless = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT;
    r.refused_address = r.refused_address && !r.whole && r.headers.status == 0;
    char* next = nullptr;
    curl_easy_getinfo(curl_, CURLINFO_REDIRECT_URL, &next);
    if (next != nullptr) r.redirect = next;
    if (begun_ || !r.headers.over) return;
    if (r.whole)
      begin();  // an answer without a body
    else
      r.answer = judge_headers(r.headers, hop_.asked);
  }
  HopResult take() { return std::move(result_); }
  bool done = false;

 private:
  /// libcurl's own words, but those that may name the proxy with its password.
  std::string why(CURLcode code) const {
    const std::string& proxy = hop_.proxy;
    if (error_[0] && proxy.find('@') == proxy.npos) return error_;
    return fmt::format("{}{}", curl_easy_strerror(code),
                       proxy.empty() ? "" : fmt::format(" (through the proxy {})", shown_proxy(proxy)));
  }

  template <class T>
  void set(CURLoption option, T value) {
    core::check(curl_easy_setopt(curl_, option, value) == CURLE_OK, "curl option {}",
                static_cast<int>(option));
  }

  void set_what() {
    set(CURLOPT_URL, hop_.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_PROXY,
        hop_.proxy.c_str());  // "" is none, whatever the environment says: it was asked already
    set(CURLOPT_NOPROXY, "");
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's consent is not the server's answer
    if (const std::string authorities = certificate_file(); !authorities.empty())
      set(CURLOPT_CAINFO, authorities.c_str());
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, limits::kConnectSeconds);
    set(CURLOPT_BUFFERSIZE, static_cast<long>(kPieceBytes));
#if LIBCURL_VERSION_NUM >= 0x075700
    // A request that is ended while its name is being looked up leaves the look-up to itself: waiting for it would hold up
    // every other transfer, and the stop. Older versions know no way.
    set(CURLOPT_QUICK_EXIT, 1L);
#endif
    set(CURLOPT_USERAGENT, "microdit");
    if (hop_.head_only) set(CURLOPT_NOBODY, 1L);
    lines_ = curl_slist_append(lines_, "Accept-Encoding: identity");
    for (const std::string& line : hop_.header_lines) lines_ = curl_slist_append(lines_, line.c_str());
    set(CURLOPT_HTTPHEADER, lines_);
  }

  void set_callbacks() {
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open_socket);
    set(CURLOPT_OPENSOCKETDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
    set(CURLOPT_XFERINFODATA, this);
  }

  bool checks_addresses() const {
    return !hop_.private_allowed && hop_.proxy.empty();
  }

  static curl_socket_t on_open_socket(void* user, curlsocktype, curl_sockaddr* address) {
    auto& self = *static_cast<Transfer*>(user);
    if (self.checks_addresses() && is_private_address(&address->addr)) {
      self.result_.refused_address = true;
      return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  /// A connection that another request opened is held to this request's rule too.
  bool peer_is_refused() {
    if (!checks_addresses()) return false;
    char* text = nullptr;
    curl_easy_getinfo(curl_, CURLINFO_PRIMARY_IP, &text);
    return text != nullptr && text[0] != '\0' && is_private_literal(text);
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
    auto& self = *static_cast<Transfer*>(user);
    if (self.result_.headers.lines == 0 && self.peer_is_refused()) {
      self.result_.refused_address = true;
      return 0;
    }
    read_header({data, size * count}, self.result_.headers);
    return self.result_.headers.is_flood() ? 0 : size * count;
  }

  /// The verdict on the answer, once its header lines are known. False: no byte of the body is wanted.
  bool begin() {
    begun_ = true;
    result_.answer = judge_headers(result_.headers, hop_.asked);
    const Body body = result_.answer.body;
    if (body == Body::restart || body == Body::refused) return false;
    if (body == Body::ignored || hop_.head_only) return true;
    const std::int64_t total = result_.headers.total_bytes();
    limit_ = hop_.asked.max_bytes;
    if (hop_.asked.expected_bytes >= 0) limit_ = static_cast<std::uint64_t>(hop_.asked.expected_bytes);
    if (total >= 0) limit_ = static_cast<std::uint64_t>(total);
    offset_ = body == Body::continues ? hop_.asked.offset : 0;
    return guarded([&] { hop_.on_begin(result_.headers, body); });
  }

  /// Nothing may be thrown through libcurl.
  template <class Work>
  bool guarded(const Work& work) {
    const auto began = SpeedRule::Clock::now();
    bool good = true;
    try {
      work();
    } catch (...) {
      result_.failure = std::current_exception();
      good = false;
    }
    on_disk += SpeedRule::Clock::now() - began;
    return good;
  }

  /// The clock without what the disk took: while one transfer waits for that, none of the others can arrive.
  static SpeedRule::Clock::time_point network_time() {
    return SpeedRule::Clock::now() - on_disk;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
    auto& self = *static_cast<Transfer*>(user);
    const std::size_t bytes = size * count;
    if (self.stopped() || (!self.begun_ && !self.begin())) return 0;
    self.arrived_ += bytes;
    if (self.result_.answer.body == Body::ignored) return self.arrived_ > limits::kErrorPageBytes ? 0 : bytes;
    if (self.offset_ + self.arrived_ > self.limit_) {
      self.result_.too_many_bytes = true;
      return 0;
    }
    const auto piece = std::as_bytes(std::span(data, bytes));
    self.piece_.insert(self.piece_.end(), piece.begin(), piece.end());
    return self.piece_.size() < kPieceBytes || self.pass_on() ? bytes : 0;
  }

  /// What has come since the last time. False: it was not taken.
  bool pass_on() {
    passed_ = SpeedRule::Clock::now();
    if (piece_.empty() || result_.failure) return !result_.failure;
    if (!guarded([&] { hop_.on_bytes(piece_); })) return false;
    result_.received += piece_.size();
    piece_.clear();
    return true;
  }

  static int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& self = *static_cast<Transfer*>(user);
    if (self.stopped()) return 1;
    const auto now = SpeedRule::Clock::now();
    if (now - self.passed_ >= kPieceTime && !self.pass_on()) return 1;
    self.result_.too_slow |= self.speed_->too_slow(self.arrived_, network_time());
    return self.result_.too_slow ? 1 : 0;
  }

  const Hop& hop_;
  CURL* curl_;
  curl_slist* lines_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  static inline thread_local SpeedRule::Clock::duration on_disk{0};  ///< of the loop's thread, in all
  std::optional<SpeedRule> speed_;
  HopResult result_;
  std::vector<std::byte> piece_;
  SpeedRule::Clock::time_point passed_ = SpeedRule::Clock::now();
  bool begun_ = false;
  std::uint64_t arrived_ = 0, offset_ = 0, limit_ = 0;
};

}  // namespace microdit::ingest
