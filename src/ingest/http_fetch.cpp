// The life of one address: requests, redirects, verdicts, waits.
#include "ingest/http_fetch.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/address.h"
#include "ingest/not_before.h"

namespace microdit::ingest {
namespace {

constexpr double kSpeakAbove_s = 10;  ///< of a wait for the hub's quota
constexpr std::int64_t kHangUps =
    8;  ///< count as one silence of a host: it is there, and may refuse some files so
constexpr std::int64_t kLeastSilences = 2;  ///< in a row until a host is given up: one may be a single file's

std::chrono::steady_clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

/// How long a host that has served before is waited for.
double patience_s(const HopResult& result) {
  return result.unreachable ? limits::kOutageSeconds : limits::kBusySeconds;
}

/// Too many requests, with a time: that is not of one file.
bool is_of_the_host(const HopResult& result) {
  return result.headers.status == 429 && result.headers.retry_after_s > 0;
}

}  // namespace

Fetch::Fetch(HttpClient& client, const std::string& url, Sink sink, const core::StopFlag& stop)
    : client_(client),
      url_(escaped_url(url, "source")),
      name_(shown(url_)),
      sink_(std::move(sink)),
      stop_(stop),
      waiting_{Attempts(sink_.bytes()), origin_of(url_)} {
  if (!sink_.may_be_set_aside) return;
  if (const auto earlier = client_.take_up(url_)) waiting_ = *earlier;
}

Fetch::~Fetch() {
  for (const std::string& origin : turns_) client_.end_turn(origin, this);
}

std::optional<HopResult> Fetch::run() {
  take_turn(std::string(waiting_.host));
  for (;;) {
    HopResult result = follow();
    if (stop_.requested()) return std::nullopt;
    if (result.failure) std::rethrow_exception(result.failure);
    const std::string why = reason(result);
    if (why.empty() || result.received >= limits::kProgressBytes) client_.note_served(hops_, url_);
    if (why.empty()) return result;
    if (!wait(result, why)) return std::nullopt;
  }
}

HopResult Fetch::follow() {
  std::string linked_sha256;
  hops_ = {url_};
  for (;;) {
    take_turn(origin_of(hops_.back()));
    began_ = Clock::now();
    HopResult result = request(hops_.back());
    if (result.headers.status != 0) client_.note_answer(hops_.back(), !is_outage(result.headers.status));
    if (linked_sha256.empty()) linked_sha256 = result.headers.linked_sha256;
    result.headers.linked_sha256 = linked_sha256;  // the hub says it, the store it redirects to does not
    if (stop_.requested() || !result.is_redirect()) return result;
    if (hops_.size() > limits::kRedirects)
      core::user_error("{}: more than {} redirects", name_, limits::kRedirects);
    const std::string target = checked_redirect(hops_.back(), result.redirect);
    if (ask_for_another(origin_of(target)))
      hops_ = {url_};
    else
      hops_.push_back(target);
  }
}

/// Whether the first host is to be asked once more, as it redirects to one that is away: it may have others.
bool Fetch::ask_for_another(const std::string& origin) {
  if (!sink_.may_be_set_aside || turns_.contains(origin) || !client_.is_away(origin)) return false;
  const std::string own = origin_of(url_);
  client_.note_another(own, /*in_vain=*/true);
  return client_.may_name_another(own);
}

bool Fetch::was_passed_on_by(const std::string& origin) const {
  return std::any_of(hops_.begin(), hops_.end() - 1,
                     [&](const std::string& hop) { return origin_of(hop) == origin; });
}

bool Fetch::was_answered_by(const std::string& origin) const {
  return origin_of(hops_.back()) == origin;
}

/// NotBefore or UserError as HttpClient::check_turn.
void Fetch::take_turn(const std::string& origin) {
  if (!sink_.may_be_set_aside) return;
  waiting_.host = origin;
  if (turns_.contains(origin)) return;
  client_.take_turn(origin, url_, waiting_, this);
  turns_.insert(origin);
}

HopResult Fetch::request(const std::string& url) {
  const HttpOptions& options = client_.options_;
  const std::string host = host_name_of(url);
  Hop hop;
  hop.stop = &stop_;
  hop.url = url;
  hop.proxy = proxy_of(url);
  hop.slow_window_s = options.slow_window_s;
  hop.private_allowed = PrivateHosts(options.allow_hosts, url_).allow(host);
  hop.asked.max_bytes = options.max_file_bytes;
  if (!hop.proxy.empty()) {
    client_.say_proxy(hop.proxy);
    if (!hop.private_allowed && is_private_literal(host)) refuse_private(host);
  }
  sink_.prepare(hop, ask_for_whole_);
  asked_for_rest_ = hop.asked.offset > 0;
  const bool to_hub = !options.hub_origin.empty() && origin_of(url) == options.hub_origin;
  if (to_hub && !options.token.empty()) {
    if (!url.starts_with("https://") && !is_loopback_literal(host))
      core::user_error("{}: the hub's token is sent over https only", shown(url));
    hop.header_lines.push_back("Authorization: Bearer " + options.token);
  }
  if (to_hub && !await_turn(url)) return {};
  hop.on_begin = [this, begin = std::move(hop.on_begin)](const ResponseHeaders& headers, Body body) {
    client_.note_begun(hops_, url_);
    client_.note_another(origin_of(url_), /*in_vain=*/false);
    begin(headers, body);
  };
  HopResult result = client_.loop_.perform(hop);
  if (result.refused_address) refuse_private(host);
  if (result.proxy_status >= 400 && !is_temporary(result.proxy_status)) {
    core::user_error("{}: the proxy {} answered {} when asked for {}: {}, or name it in no_proxy", name_,
                     shown_proxy(hop.proxy), result.proxy_status, host,
                     result.proxy_status == 407
                         ? "put an account that it knows into https_proxy (http://USER:PASSWORD@HOST:PORT)"
                         : "allow the host there");
  }
  if (to_hub) options.after_hub(url, result.headers);
  return result;
}

/// The hub's quota. False when stopped.
bool Fetch::await_turn(const std::string& url) {
  for (;;) {
    const double wait_s = client_.options_.before_hub(url);
    if (wait_s <= 0) return true;
    if (wait_s > kSpeakAbove_s && client_.may_speak(origin_of(url)))
      core::log_info("the hub's quota is used up; going on in {}", core::duration_text(wait_s));
    if (!may_sleep(wait_s)) set_aside(wait_s, true);
    if (!sleep_unless_stopped(wait_s, stop_)) return false;
  }
}

void Fetch::refuse_private(const std::string& host) const {
  core::user_error(
      "{}: {} is at a private address, which the entry does not name as a number: refused; where it is "
      "meant, say "
      "source.allow_hosts: [{}]",
      name_, host, host);
}

/// Why the answer does not serve, yet may be better next time; "" when it serves. UserError when it settles it.
std::string Fetch::reason(const HopResult& result) {
  const long status = result.headers.status;
  if (result.headers.is_flood()) {
    core::user_error("{}: the server sends more than {} bytes or {} lines of headers", name_,
                     limits::kHeaderBytes, limits::kHeaderLines);
  }
  if (result.answer.body == Body::refused) core::user_error("{}: {}", name_, result.answer.why);
  if (result.answer.body == Body::restart) return restart(result.answer.why);
  if (result.too_many_bytes) return too_many(result);
  if (result.too_slow) {
    return fmt::format("slower than {:.0f} KiB/s over {:.0f} s", limits::kSlowBytesPerSecond / 1024,
                       client_.options_.slow_window_s);
  }
  if (status == 416) return unsatisfiable(result);
  if (status >= 400) return settle(status);
  if (result.hopeless) core::user_error("{}: {}", name_, result.error);
  if (!result.whole) return result.error;
  if (status != 200 && status != 206) return fmt::format("the server answered {}", status);
  return sink_.lack();
}

std::string Fetch::restart(std::string why) {
  sink_.restart();
  return why;
}

/// An error that is the server's word, or may be better next time. Some refuse parts, and serve the whole file.
std::string Fetch::settle(long status) {
  if (asked_for_rest_ && may_refuse_parts(status)) {
    ask_for_whole_ = true;
    return fmt::format("the server answered {} when asked for the rest; the whole file is asked for", status);
  }
  if (is_temporary(status)) return fmt::format("the server answered {}", status);
  client_.note_another(origin_of(url_), /*in_vain=*/false);
  const bool refused = status == 401 || status == 403 || status == 410;
  core::user_error("{}: the server answered {}{}", name_, status,
                   refused && !sink_.when_refused.empty() ? sink_.when_refused : remedy_for(status));
}

std::string Fetch::too_many(const HopResult& result) {
  if (result.headers.total_bytes() < 0) {
    core::user_error("{}: more bytes came than {}: refused", name_,
                     "source.max_file_bytes or the listing allows");
  }
  return restart(
      fmt::format("more bytes came than the {} that were announced", result.headers.total_bytes()));
}

/// 416 to a continued range: the file here is whole already, or belongs to another version.
std::string Fetch::unsatisfiable(const HopResult& result) {
  const auto here = static_cast<std::int64_t>(sink_.bytes());
  const bool is_whole =
      result.headers.range_total < 0 ? sink_.is_whole() : result.headers.range_total == here;
  if (here > 0 && is_whole) return "";
  return restart("the server cannot continue there (416)");
}

/// False when stopped meanwhile.
bool Fetch::wait(const HopResult& result, const std::string& why) {
  const std::string origin = origin_of(hops_.back());
  const std::string whose = origin == origin_of(url_) ? "" : origin + ": ";
  const HttpClient::Silence silence =
      result.is_silence() ? client_.note_silence(origin, began_, result.hung_up) : HttpClient::Silence();
  // Of a host that may be a wrong address.
  const std::int64_t silences = !result.unreachable || client_.is_known(origin)
                                    ? 0
                                    : silence.count - silence.hang_ups + silence.hang_ups / kHangUps;
  const std::int64_t attempt = std::max(waiting_.attempts.failed(sink_.bytes()), silences);
  double pause_s = 0;
  const bool outage = silence.since && is_outage_of(origin, result);
  if (outage && silence.seconds() >= patience_s(result)) {
    const std::string end = fmt::format("no service for {} ({}); run the same command to continue",
                                        core::duration_text(silence.seconds()), why);
    client_.give_up(origin, url_, end);
    core::user_error("{}: {} does not answer: {}", name_, origin, end);
  }
  if (outage) {
    waiting_.attempts.forgive();
    pause_s = backoff_s(client_.options_.backoff_s, silence.count, result.headers.retry_after_s);
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
    pause_s = backoff_s(client_.options_.backoff_s, attempt, result.headers.retry_after_s);
    core::log_warn("{}: {}{}; {} for {}, then continuing at byte {}", name_, whose, why,
                   may_sleep(pause_s) && silences == 0 && !is_of_the_host(result) ? "waiting" : "set aside",
                   core::duration_text(pause_s), sink_.bytes());
  }
  const bool host_is_away = silences > 0 || (outage && result.unreachable) || is_of_the_host(result);
  if (!sink_.may_be_set_aside || (may_sleep(pause_s) && !host_is_away))
    return sleep_unless_stopped(pause_s, stop_);
  const bool host_said_so = is_outage(result.headers.status) && result.headers.retry_after_s > 0 &&
                            (is_of_the_host(result) || !client_.served(origin));
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

/// Whether the host as a whole is silent: it has served before, and serves nobody now.
bool Fetch::is_outage_of(const std::string& origin, const HopResult& result) {
  return client_.is_known(origin) &&
         (is_of_the_host(result) || !client_.still_serves(origin, origin_of(url_), stop_));
}

}  // namespace microdit::ingest
