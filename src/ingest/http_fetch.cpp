// The life of one address: requests, redirects, verdicts.
#include "ingest/http_fetch.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/address.h"

namespace microdit::ingest {
namespace {

constexpr int kOthers = 3;  ///< targets that one request asks for at once, in place of one that is away
constexpr double kSpeakAbove_s = 10;  ///< of a wait for the hub's quota

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
    if (result.headers.status != 0) {
      client_.note_answer(hops_.back(), !is_outage(result.headers.status), sink_.is_question);
    }
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
  return another_++ < kOthers && client_.may_name_another(own);
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
  if (to_hub && options.hub_is_offline) core::user_error("{}: HF_HUB_OFFLINE forbids to ask the hub", name_);
  if (to_hub && !options.token.empty()) {
    if (!url.starts_with("https://") && !is_loopback_literal(host))
      core::user_error("{}: the hub's token is sent over https only", shown(url));
    hop.header_lines.push_back("Authorization: Bearer " + options.token);
  }
  if (to_hub && !await_turn(url)) return {};
  hop.on_begin = [this, begin = std::move(hop.on_begin)](const ResponseHeaders& headers, Body body) {
    if (!sink_.is_question) {
      client_.note_begun(hops_, url_);
      if (hops_.size() > 1) client_.note_another(origin_of(url_), /*in_vain=*/false);
    }
    begin(headers, body);
  };
  hop.on_bytes = [this, origin = origin_of(url),
                  take = std::move(hop.on_bytes)](std::span<const std::byte> bytes) {
    client_.note_bytes(origin);
    take(bytes);
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

/// The hub's quota. False when stopped, or where nobody waits for it.
bool Fetch::await_turn(const std::string& url) {
  for (;;) {
    const double wait_s = client_.options_.before_hub(url);
    if (wait_s <= 0) return true;
    if (sink_.is_question) return false;
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

}  // namespace microdit::ingest
