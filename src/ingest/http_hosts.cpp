// What the transfers of a process know of their hosts together.
#include <algorithm>
#include <fstream>
#include <utility>

#include "core/append_file.h"
#include "core/error.h"
#include "core/log.h"
#include "ingest/address.h"
#include "ingest/http.h"
#include "ingest/not_before.h"

namespace microdit::ingest {
namespace {

/// For the one that asks whether a host is back.
constexpr auto kAnswerTime = std::chrono::seconds(static_cast<int>(limits::kSlowSeconds) + 5);
/// When the others look at what became of it: after as long as it has been asked, within these.
constexpr std::chrono::steady_clock::duration kLookedSoonest = std::chrono::milliseconds(200),
                                              kLookedLatest = std::chrono::seconds(5);
constexpr auto kSentElsewhere =
    std::chrono::seconds(30);        ///< when who waits for another's host looks whether others were
constexpr int kInVain = 3;           ///< redirects in a row until a host is not asked for another target
constexpr std::size_t kSeveral = 3;  ///< files without a byte in a row, of which the host is the cause

}  // namespace

void HttpClient::keep_hosts(const std::filesystem::path& file) {
  hosts_file_ = file;
  std::ifstream in(file);
  for (std::string origin; std::getline(in, origin);) known_.insert(origin);
}

void HttpClient::note_fetched(const std::string& url) {
  const std::lock_guard lock(mutex_);
  hosts_[origin_of(url)].served_url = url;
}

void HttpClient::note_begun(const std::vector<std::string>& hops, const std::string& url) {
  const std::lock_guard lock(mutex_);
  for (const std::string& hop : hops) {
    const std::string origin = origin_of(hop);
    Host& host = hosts_[origin];
    host.not_before.reset();
    host.silence = {};
    host.unserved.clear();
    if (host.served_url.empty()) host.served_url = url;
    if (!known_.insert(origin).second || hosts_file_.empty()) continue;
    std::filesystem::create_directories(hosts_file_.parent_path());
    core::AppendFile(hosts_file_).append(origin + "\n");
  }
}

void HttpClient::note_served(const std::vector<std::string>& hops, const std::string& url) {
  const std::lock_guard lock(mutex_);
  for (const std::string& hop : hops) {
    Host& host = hosts_[origin_of(hop)];
    host.served_url = url;
    host.not_before.reset();
    host.silence = {};
    host.unserved.clear();
    host.given_up_for.clear();
  }
}

bool HttpClient::is_known(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  return known_.contains(origin);
}

void HttpClient::note_answer(const std::string& hop, bool is_back, bool question) {
  const std::lock_guard lock(mutex_);
  const std::string origin = origin_of(hop);
  Host& host = hosts_[origin];
  host.asked_until = {};
  host.given_up.clear();
  if (is_back) host.not_before.reset();
  if ((is_back && !question) || !known_.contains(origin)) host.silence = {};
}

void HttpClient::note_bytes(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  hosts_[origin].silence.bytes_came(Clock::now());
}

Silence HttpClient::note_silence(const std::string& origin, const std::string& url, Clock::time_point began,
                                 const HopResult& result) {
  const std::lock_guard lock(mutex_);
  Host& host = hosts_[origin];
  host.silence.failed(result.unreachable ? Silence::Kind::mute : Silence::Kind::busy, result.hung_up, began,
                      Clock::now());
  if (!result.unreachable && host.unserved.size() < kSeveral) host.unserved.insert(url);
  return host.silence;
}

void HttpClient::note_pause(const std::string& origin, double pause_s) {
  const std::lock_guard lock(mutex_);
  hosts_[origin].silence.pause(pause_s);
}

bool HttpClient::serves_no_file(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  return hosts_[origin].unserved.size() >= kSeveral;
}

void HttpClient::give_up(const std::string& origin, const std::string& url, const std::string& why) {
  const std::lock_guard lock(mutex_);
  Host& host = hosts_[origin];
  host.given_up = why;
  host.given_up_for.insert(url);
}

bool HttpClient::is_away(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  const Host& host = hosts_[origin];
  const auto now = Clock::now();
  return !host.given_up.empty() || (host.not_before && (now < *host.not_before || now < host.asked_until));
}

bool HttpClient::may_name_another(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  return in_vain_[origin] < kInVain;
}

void HttpClient::note_another(const std::string& origin, bool in_vain) {
  const std::lock_guard lock(mutex_);
  in_vain_[origin] = in_vain ? in_vain_[origin] + 1 : 0;
}

void HttpClient::leave_alone(const std::string& origin, Clock::time_point until) {
  const std::lock_guard lock(mutex_);
  hosts_[origin].not_before = until;
  hosts_[origin].asked_until = {};
}

void HttpClient::check_turn(const std::string& url) {
  const std::lock_guard lock(mutex_);
  const std::string address = escaped_url(url, "source"), own = origin_of(address);
  const auto aside = set_aside_.find(address);
  std::string origin = aside == set_aside_.end() ? own : aside->second.host;
  if (origin != own && !hosts_[origin].given_up.empty()) {  // whoever redirected to it may name another now
    set_aside_.erase(aside);
    origin = own;
  } else if (origin != own && in_vain_[own] < kInVain) {
    origin = aside->second.host = own;
  }
  look(origin, address);
}

void HttpClient::take_turn(const std::string& origin, const std::string& url, const Waiting& waiting,
                           const void* asker) {
  const std::lock_guard lock(mutex_);
  set_aside_.insert_or_assign(url, waiting);
  if (look(origin, url)) {
    hosts_[origin].asked_until = Clock::now() + kAnswerTime;
    hosts_[origin].asker = asker;
  }
  set_aside_.erase(url);
}

void HttpClient::end_turn(const std::string& origin, const void* asker) {
  const std::lock_guard lock(mutex_);
  Host& host = hosts_[origin];
  if (host.asker != asker) return;
  host.asker = nullptr;
  host.asked_until = {};
}

bool HttpClient::look(const std::string& origin, const std::string& address) {
  Host& host = hosts_[origin];
  if (!host.given_up.empty()) {
    set_aside_.erase(address);
    if (host.given_up_for.insert(address).second)
      core::user_error("{}: not asked for, as {} does not answer: {}", shown(address), origin, host.given_up);
    // It had its turn before the others: now once more. One that was waited for is not waited for again from the beginning.
    if (!known_.contains(origin)) host.silence = {};
    host.not_before.reset();
    host.given_up.clear();
    host.given_up_for.clear();
  }
  if (!host.not_before) return false;
  const auto now = Clock::now();
  const bool may_move = origin != origin_of(address);
  if (now < *host.not_before)
    throw NotBefore{may_move ? std::min(*host.not_before, now + kSentElsewhere) : *host.not_before, true};
  if (now < host.asked_until) {
    const Clock::duration asked_for = now - (host.asked_until - kAnswerTime);
    throw NotBefore{now + std::clamp(asked_for, kLookedSoonest, kLookedLatest), true};
  }
  return true;
}

void HttpClient::set_aside(const std::string& url, const Waiting& waiting) {
  const std::lock_guard lock(mutex_);
  set_aside_.insert_or_assign(url, waiting);
}

std::optional<HttpClient::Waiting> HttpClient::take_up(const std::string& url) {
  const std::lock_guard lock(mutex_);
  const auto found = set_aside_.find(url);
  if (found == set_aside_.end()) return std::nullopt;
  const Waiting waiting = found->second;
  set_aside_.erase(found);
  return waiting;
}

bool HttpClient::may_speak(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  Host& host = hosts_[origin];
  const auto now = Clock::now();
  if (host.spoken && std::chrono::duration<double>(now - *host.spoken).count() < options_.outage_line_s)
    return false;
  host.spoken = now;
  return true;
}

void HttpClient::say_proxy(const std::string& proxy) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(proxy_said_, true)) return;
  core::log_info("downloads go through the proxy {}: it decides which addresses are reached",
                 shown_proxy(proxy));
}

}  // namespace microdit::ingest
