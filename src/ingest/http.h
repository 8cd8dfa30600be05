// Files over HTTP(S): resumed where they were left, retried with patience, never trusted by their status alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/host_silence.h"
#include "ingest/http_transfer.h"
#include "ingest/partial_file.h"

namespace microdit::ingest {

struct HttpOptions {
  std::int64_t max_attempts = 8;  ///< in a row without kProgressBytes of progress
  double backoff_s = 1;           ///< longest first wait; doubles up to 60 s, full jitter
  std::uint64_t max_file_bytes = 64 * limits::kGiB;
  std::vector<std::string> allow_hosts{};  ///< hosts of private addresses that may be reached
  double slow_window_s = limits::kSlowSeconds;
  double outage_line_s = 60;  ///< between two lines about one outage
  Silence::Patience patience{};
  double longest_wait_s =
      std::numeric_limits<double>::infinity();  ///< fetch() throws NotBefore for longer ones

  std::string hub_origin{};  ///< the only place that gets the token, over https or loopback only
  std::string token{};
  bool hub_is_offline = false;  ///< then nothing is asked there: UserError
  /// Around every request to hub_origin (its address; its answer). The first returns 0, or seconds to wait and ask again.
  std::function<double(const std::string& url)> before_hub = [](const std::string&) { return 0; };
  std::function<void(const std::string& url, const ResponseHeaders& headers)> after_hub =
      [](const std::string&, const ResponseHeaders&) {};
};

struct FileRequest {
  std::string url;
  std::int64_t expected_bytes = -1;                            ///< from a listing
  std::function<void(double bytes)> on_bytes = [](double) {};  ///< on the transfers' thread
  std::string when_refused{};  ///< what to do about 401, 403 and 410, in place of the usual words
};

/// What a fetched file is besides its bytes.
struct Fetched {
  std::string linked_sha256{};  ///< what the hub says about a large file ("" = nothing)
};

struct TextAnswer {
  std::string text{};
  std::string next_page{};  ///< of a Link line
};

/// All calls may come from several threads at once; their transfers share one thread.
/// Errors: UserError when the server's answer settles it (4xx, an answer that was not asked for, a redirect to another
/// scheme or to a private address, a certificate that does not verify) or max_attempts are used up; SystemError when
/// the disk fails. A server that has served before and is silent now is waited for (kOutageSeconds).
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);

  /// Fetches into `partial`, continuing what is there when the server says it is still the same file (If-Range).
  /// Nothing when stopped: the partial file stays for the next start. NotBefore when it, or its whole host, is to be left
  /// alone for longer than longest_wait_s; the next call for the same address goes on counting its attempts.
  std::optional<Fetched> fetch(const FileRequest& request, PartialFile& partial, const core::StopFlag& stop);
  /// Keeps in `file`, a line each, which hosts have begun to send a file. One of them, of an earlier life too, is waited for when it is
  /// silent; any other may be a wrong address. Before the first request.
  void keep_hosts(const std::filesystem::path& file);
  /// An earlier life fetched `url`.
  void note_fetched(const std::string& url);
  /// What fetch() throws without a request while `url` waits for a host: NotBefore while that (its own; or one that it was redirected to)
  /// is to be left alone, as the request for another file found, or while another asks whether it is back; UserError when it was given
  /// up, once for each address: who comes again asks anew.
  void check_turn(const std::string& url);
  /// A short text (at most kListingBytes). Nothing when stopped.
  std::optional<TextAnswer> text(const std::string& url, const core::StopFlag& stop);
  /// Length that the server announces (HEAD); -1 when it does not say. UserError when nobody answers.
  std::int64_t size(const std::string& url, const core::StopFlag& stop);
  /// Bytes per second of the first `bytes` of a file, for at most `seconds`; 0 when it is empty. UserError when
  /// it is not sent.
  double speed(const std::string& url, std::uint64_t bytes, double seconds, const core::StopFlag& stop);

 private:
  friend class Fetch;
  using Clock = std::chrono::steady_clock;
  /// What a host last served, when its silence was last spoken of, and until when nobody asks.
  struct Host {
    std::optional<Clock::time_point> spoken{}, not_before{};
    std::string served_url{};
    std::optional<Clock::time_point> asked_by_another{};  ///< when a redirecting host's address was asked
    bool answered_another = false;                        ///< what came of it
    Clock::time_point asked_until{};                      ///< somebody is asking whether it is back
    const void* asker = nullptr;                          ///< who that is
    Silence silence{};
    std::set<std::string> unserved{};      ///< some addresses that got an answer alone since a file began
    std::string given_up{};                ///< why, while it is; "" = it is not
    std::set<std::string> given_up_for{};  ///< addresses that were told so
  };
  /// How far the waiting for one address has come.
  struct Waiting {
    Attempts attempts;
    std::string host;  ///< that it waits for
  };
  /// Before `asker` asks `origin` for `url` (escaped): as check_turn, and until end_turn nobody else asks whether it is back.
  void take_turn(const std::string& origin, const std::string& url, const Waiting& waiting,
                 const void* asker);
  void end_turn(const std::string& origin, const void* asker);
  /// Whether a turn is to be taken; NotBefore or UserError otherwise. Under mutex_.
  bool look(const std::string& origin, const std::string& address);
  /// Whether nobody asks `origin` at present.
  bool is_away(const std::string& origin);
  /// Whether a host that has redirected to one that is away may be asked at once for another target, by this file or another: not where
  /// that was in vain several times in a row.
  bool may_name_another(const std::string& origin);
  void note_another(const std::string& origin, bool in_vain);
  void leave_alone(const std::string& origin, Clock::time_point until);
  void set_aside(const std::string& url, const Waiting& waiting);
  std::optional<Waiting> take_up(const std::string& url);
  /// All of `hops` had their part in what comes, or came, of `url`.
  void note_begun(const std::vector<std::string>& hops, const std::string& url);
  void note_served(const std::vector<std::string>& hops, const std::string& url);
  /// `is_back`: need not be left alone. The answer to a `question` says nothing of other files.
  void note_answer(const std::string& hop, bool is_back, bool question);
  void note_bytes(const std::string& origin);
  /// A request for `url` that began at `began` was no service.
  Silence note_silence(const std::string& origin, const std::string& url, Clock::time_point began,
                       const HopResult& result);
  void note_pause(const std::string& origin, double pause_s);
  void give_up(const std::string& origin, const std::string& url, const std::string& why);
  bool is_known(const std::string& origin);
  /// Whether several files in a row got no byte: a cache may still serve what it holds.
  bool serves_no_file(const std::string& origin);
  /// Whether it serves at this moment what it has served before; what that is, `first`, which redirects to it, may have to say
  /// (then its answer holds for a minute: that is a question to both).
  bool still_serves(const std::string& origin, const std::string& first, const core::StopFlag& stop);
  /// Whether `origin` has its part in an answer to `url`.
  bool serves_now(const std::string& url, const std::string& origin, const core::StopFlag& stop);
  bool may_speak(const std::string& origin);  ///< of its silence, now
  void say_proxy(const std::string& proxy);   ///< once

  HttpOptions options_;
  TransferLoop loop_;
  std::mutex mutex_;
  std::map<std::string, Host> hosts_;         ///< by origin, as all that follows
  std::set<std::string> known_;               ///< have begun to send a file, in this life or an earlier one
  std::filesystem::path hosts_file_;          ///< what keeps them ("" = nothing)
  std::map<std::string, Waiting> set_aside_;  ///< by address
  std::map<std::string, int> in_vain_;        ///< redirects in a row of a host to hosts that are away
  bool proxy_said_ = false;
};

}  // namespace microdit::ingest
