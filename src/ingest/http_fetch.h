// One address until it is served, or settled: attempts, redirects (followed by hand, so that every hop is checked), waits,
// outages. For http.cpp alone.
#pragma once

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/address.h"
#include "ingest/http.h"
#include "ingest/not_before.h"

namespace microdit::ingest {

inline constexpr double kSpeakAbove_s = 10;  ///< of a wait for the hub's quota

/// Where an answer's body goes.
struct Sink {
  std::function<void(Hop&)> prepare = [](Hop&) {};  ///< sets range, limits and callbacks of a request
  std::function<std::uint64_t()> bytes = [] { return 0; };
  std::function<void()> restart = [] {};  ///< the next request is for the whole file
  bool may_be_set_aside = false;          ///< NotBefore instead of a long wait
  std::function<std::string()> lack = [] { return std::string(); };  ///< what a whole answer still lacks
};

/// One address until it is served, or settled.
class Fetch {
 public:
  Fetch(HttpClient& client, const std::string& url, Sink sink, const core::StopFlag& stop)
      : client_(client),
        url_(escaped_url(url, "source")),
        name_(shown(url_)),
        sink_(std::move(sink)),
        stop_(stop),
        waiting_{Attempts(sink_.bytes())} {
    if (!sink_.may_be_set_aside) return;
    if (const auto earlier = client_.take_up(url_))
      waiting_ = *earlier;
    else if (sink_.bytes() > 0)
      client_.note_known(url_);
  }

  /// The answer that served it; nothing when stopped.
  std::optional<HopResult> run() {
    for (;;) {
      HopResult result = follow();
      if (stop_.requested()) return std::nullopt;
      if (result.failure) std::rethrow_exception(result.failure);
      if (result.received >= limits::kProgressBytes) client_.note_served(url_);
      const std::string why = reason(result);
      if (why.empty()) {
        client_.note_served(url_);
        return result;
      }
      if (!wait(result, why)) return std::nullopt;
    }
  }

  /// One request with its redirects.
  HopResult follow() {
    std::string url = url_, linked_sha256;
    began_ = Clock::now();
    for (int hop = 0; hop <= limits::kRedirects; ++hop) {
      HopResult result = request(url);
      if (hop == 0 && result.headers.status != 0)
        client_.note_answer(url_, !is_outage(result.headers.status));
      result.unconnected = result.unconnected && hop == 0;
      if (linked_sha256.empty()) linked_sha256 = result.headers.linked_sha256;
      result.headers.linked_sha256 = linked_sha256;  // the hub says it, the store it redirects to does not
      if (stop_.requested() || !result.is_redirect()) return result;
      url = checked_redirect(url, result.redirect);
    }
    core::user_error("{}: more than {} redirects", name_, limits::kRedirects);
  }

 private:
  using Clock = HttpClient::Clock;

  HopResult request(const std::string& url) {
    const HttpOptions& options = client_.options_;
    const std::string host = host_name_of(url);
    Hop hop{.stop = &stop_, .url = url, .proxy = proxy_of(url), .slow_window_s = options.slow_window_s};
    hop.private_allowed = PrivateHosts(options.allow_hosts, url_).allow(host);
    hop.asked.max_bytes = options.max_file_bytes;
    if (!hop.proxy.empty()) {
      client_.say_proxy(hop.proxy);
      if (!hop.private_allowed && is_private_literal(host)) refuse_private(host);
    }
    sink_.prepare(hop);
    const bool to_hub = !options.hub_origin.empty() && origin_of(url) == options.hub_origin;
    if (to_hub && !options.token.empty()) {
      if (!url.starts_with("https://") && !is_loopback_literal(host))
        core::user_error("{}: the hub's token is sent over https only", shown(url));
      hop.header_lines.push_back("Authorization: Bearer " + options.token);
    }
    if (to_hub && !await_turn(url)) return {};
    hop.on_begin = [this, begin = std::move(hop.on_begin)](const ResponseHeaders& headers, Body body) {
      client_.note_answer(url_, true);
      begin(headers, body);
    };
    HopResult result = client_.loop_.perform(hop);
    if (result.refused_address) refuse_private(host);
    if (to_hub) options.after_hub(url, result.headers);
    return result;
  }

  /// The hub's quota. False when stopped.
  bool await_turn(const std::string& url) {
    for (;;) {
      const double wait_s = client_.options_.before_hub(url);
      if (wait_s <= 0) return true;
      if (wait_s > kSpeakAbove_s && client_.may_speak(origin_of(url)))
        core::log_info("the hub's quota is used up; going on in {}", core::duration_text(wait_s));
      if (!may_sleep(wait_s)) set_aside(wait_s, origin_of(url_) == client_.options_.hub_origin);
      if (!sleep_unless_stopped(wait_s, stop_)) return false;
    }
  }

  [[noreturn]] void refuse_private(const std::string& host) const {
    core::user_error(
        "{}: {} is at a private address, which the entry does not name as a number: refused; where it is "
        "meant, say "
        "source.allow_hosts: [{}]",
        name_, host, host);
  }

  /// Why the answer does not serve, yet may be better next time; "" when it serves. UserError when it settles it.
  std::string reason(const HopResult& result) {
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
    if (is_temporary(status)) return fmt::format("the server answered {}", status);
    if (status >= 400) core::user_error("{}: the server answered {}{}", name_, status, remedy_for(status));
    if (result.hopeless) core::user_error("{}: {}", name_, result.error);
    if (!result.whole) return result.error;
    if (status != 200 && status != 206) return fmt::format("the server answered {}", status);
    return sink_.lack();
  }

  std::string restart(std::string why) {
    sink_.restart();
    return why;
  }

  std::string too_many(const HopResult& result) {
    if (result.headers.total_bytes() < 0) {
      core::user_error("{}: more bytes came than {}: refused", name_,
                       "source.max_file_bytes or the listing allows");
    }
    return restart(
        fmt::format("more bytes came than the {} that were announced", result.headers.total_bytes()));
  }

  /// 416 to a continued range: the file here is whole already, or belongs to another version.
  std::string unsatisfiable(const HopResult& result) {
    const auto here = static_cast<std::int64_t>(sink_.bytes());
    if (here > 0 && result.headers.range_total == here) return "";
    return restart("the server cannot continue there (416)");
  }

  /// False when stopped meanwhile.
  bool wait(const HopResult& result, const std::string& why) {
    const std::string origin = origin_of(url_);
    const std::int64_t unreached = result.unconnected ? client_.note_unreached(url_, began_) : 0;
    const std::int64_t attempt = std::max(waiting_.attempts.failed(sink_.bytes()), unreached);
    std::optional<Clock::time_point>& since = waiting_.silent_since;
    if (!result.is_silence() || sink_.bytes() >= waiting_.silent_at + limits::kProgressBytes) since.reset();
    if (result.is_silence() && !since) {
      since = Clock::now();
      waiting_.silent_at = sink_.bytes();
      waiting_.silences = 0;
    }
    double pause_s = 0;
    const bool outage = is_outage_of(origin, result);
    if (outage) {
      waiting_.attempts.forgive();
      pause_s = backoff_s(client_.options_.backoff_s, ++waiting_.silences, result.headers.retry_after_s);
      const double silent_s = std::chrono::duration<double>(Clock::now() - *since).count();
      if (client_.may_speak(origin)) {
        core::log_warn(
            "{}: no service for {} ({}); waiting, and asking again until it serves or the job is stopped",
            origin, core::duration_text(silent_s), why);
      }
    } else {
      if (attempt >= client_.options_.max_attempts) {
        const std::string end = fmt::format(
            "gave up after {} attempts without progress: {}; run the same command to continue", attempt, why);
        if (unreached > 0) client_.give_up(url_, end);
        core::user_error("{}: {}", name_, end);
      }
      pause_s = backoff_s(client_.options_.backoff_s, attempt, result.headers.retry_after_s);
      core::log_warn("{}: {}; {} for {}, then continuing at byte {}", name_, why,
                     may_sleep(pause_s) && unreached == 0 ? "waiting" : "set aside",
                     core::duration_text(pause_s), sink_.bytes());
    }
    const bool host_is_away = unreached > 0 || (outage && result.unconnected);
    if (!sink_.may_be_set_aside || (may_sleep(pause_s) && !host_is_away))
      return sleep_unless_stopped(pause_s, stop_);
    const bool host_said_so =
        is_outage(result.headers.status) && result.headers.retry_after_s > 0 && !client_.served(origin);
    set_aside(pause_s, outage || unreached > 0 || host_said_so);
  }

  bool may_sleep(double pause_s) const {
    return !sink_.may_be_set_aside || pause_s <= client_.options_.longest_wait_s;
  }

  /// With `host`, no other file of it is asked for meanwhile; then those that were not asked for yet go first.
  [[noreturn]] void set_aside(double pause_s, bool host) {
    const auto until =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(pause_s));
    if (host) client_.leave_alone(origin_of(url_), until);
    client_.set_aside(url_, waiting_);
    throw NotBefore{until + std::chrono::milliseconds(host ? 500 : 0), host};
  }

  /// Whether the host as a whole is silent: it has served before, and nobody was served since this file was not.
  bool is_outage_of(const std::string& origin, const HopResult& result) {
    if (!waiting_.silent_since) return false;
    const auto served = client_.served(origin);
    if (!client_.is_known(url_)) return false;
    if (served && *served > *waiting_.silent_since) return false;
    const double silent_s = std::chrono::duration<double>(Clock::now() - *waiting_.silent_since).count();
    const double patience_s = result.unreachable ? limits::kOutageSeconds : limits::kBusySeconds;
    return silent_s < patience_s && !client_.still_serves(origin, stop_);
  }

  HttpClient& client_;
  Clock::time_point began_{};  ///< the last request
  const std::string url_, name_;
  Sink sink_;
  const core::StopFlag& stop_;
  HttpClient::Waiting waiting_;
};

}  // namespace microdit::ingest
