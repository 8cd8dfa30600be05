// One address until it is served, or settled: attempts, redirects (followed by hand, so that every hop is checked), waits,
// outages. For http.cpp alone.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ingest/http.h"

namespace microdit::ingest {

/// Where an answer's body goes.
struct Sink {
  /// Sets range, limits and callbacks of a request; `whole`: for the whole file, whatever is here.
  std::function<void(Hop&, bool whole)> prepare = [](Hop&, bool) {};
  std::function<std::uint64_t()> bytes = [] { return 0; };
  std::function<void()> restart = [] {};  ///< the next request is for the whole file
  std::string when_refused{};             ///< as FileRequest's
  bool may_be_set_aside = false;          ///< NotBefore instead of a long wait
  bool is_question = false;  ///< whether it is served; no file begins with it, and no quota is waited for
  std::function<bool()> is_whole = [] { return false; };  ///< what is here has the length that was announced
  std::function<std::string()> lack = [] { return std::string(); };  ///< what a whole answer still lacks
};

class Fetch {
 public:
  Fetch(HttpClient& client, const std::string& url, Sink sink, const core::StopFlag& stop);
  ~Fetch();
  Fetch(const Fetch&) = delete;

  /// The answer that served it; nothing when stopped.
  std::optional<HopResult> run();
  /// One request with its redirects: the last hop's answer.
  HopResult follow();
  /// Whether `origin` answered the last request by naming another address.
  bool was_passed_on_by(const std::string& origin) const;
  /// Whether it was `origin` that answered it in the end.
  bool was_answered_by(const std::string& origin) const;

 private:
  using Clock = HttpClient::Clock;

  HopResult request(const std::string& url);
  void take_turn(const std::string& origin);
  bool ask_for_another(const std::string& origin);
  bool await_turn(const std::string& url);
  [[noreturn]] void refuse_private(const std::string& host) const;
  std::string reason(const HopResult& result);
  std::string restart(std::string why);
  std::string settle(long status);
  std::string too_many(const HopResult& result);
  std::string unsatisfiable(const HopResult& result);
  bool wait(const HopResult& result, const std::string& why);
  bool may_sleep(double pause_s) const;
  [[noreturn]] void set_aside(double pause_s, bool host);
  bool is_outage_of(const std::string& origin, const HopResult& result);

  HttpClient& client_;
  Clock::time_point began_{};  ///< the last hop
  const std::string url_, name_;
  Sink sink_;
  const core::StopFlag& stop_;
  HttpClient::Waiting waiting_;
  std::vector<std::string>
      hops_;  ///< of the last request; the last of them answers for what comes, or does not come
  std::set<std::string> turns_;  ///< hosts whose turn was taken
  bool asked_for_rest_ = false, ask_for_whole_ = false;
  int another_ = 0;  ///< times the first host was asked for another target
};

}  // namespace microdit::ingest
