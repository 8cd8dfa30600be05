// What the transfers of a process know of their hosts together.
#include <utility>

#include "core/log.h"
#include "ingest/address.h"
#include "ingest/http.h"
#include "ingest/not_before.h"

namespace microdit::ingest {

void HttpClient::note_served(const std::string& url) {
  const std::lock_guard lock(mutex_);
  hosts_[origin_of(url)] = {Clock::now(), std::nullopt, std::nullopt, url};
}

std::optional<HttpClient::Clock::time_point> HttpClient::served(const std::string& origin) {
  const std::lock_guard lock(mutex_);
  return hosts_[origin].served;
}

void HttpClient::leave_alone(const std::string& origin, Clock::time_point until) {
  const std::lock_guard lock(mutex_);
  hosts_[origin].not_before = until;
}

void HttpClient::check_turn(const std::string& url) {
  const std::lock_guard lock(mutex_);
  const Host& host = hosts_[origin_of(url)];
  if (host.not_before && Clock::now() < *host.not_before) throw NotBefore{*host.not_before};
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
                 host_name_of(proxy.find("://") == std::string::npos ? "http://" + proxy : proxy));
}

}  // namespace microdit::ingest
