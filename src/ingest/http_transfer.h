// One HTTP request and its answer under all rules; many at once on one thread (curl's multi interface).
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/http_rules.h"

namespace microdit::ingest {

/// One request to one address; redirects are the caller's.
struct Hop {
  const core::StopFlag* stop = nullptr;  ///< ends it within a second
  std::string url{};
  std::vector<std::string> header_lines{};
  bool head_only = false;
  Asked asked{};
  bool private_allowed = false;  ///< this address may be of a private net
  std::string proxy{};           ///< then it decides which addresses are reached
  double slow_window_s = limits::kSlowSeconds;
  /// Called on the transfers' thread; what they throw ends the request and is in `failure`.
  std::function<void(const ResponseHeaders&, Body)> on_begin = [](const ResponseHeaders&, Body) {};
  std::function<void(std::span<const std::byte>)> on_bytes = [](std::span<const std::byte>) {};
};

struct HopResult {
  bool whole = false;        ///< the answer came to its end
  bool unreachable = false;  ///< no byte of an answer: name, connection, time
  bool hung_up = false;      ///< so, after it had taken the connection
  bool hopeless = false;     ///< the certificate or the address itself is wrong
  bool refused_address = false;
  long proxy_status = 0;  ///< what a proxy answered to CONNECT; 0 = it was not asked
  bool too_slow = false;
  bool too_many_bytes = false;  ///< more than was announced or allowed
  std::string error{};          ///< libcurl's words where the answer did not come to its end
  ResponseHeaders headers{};
  Answer answer{};
  std::string redirect{};        ///< where a 3xx points
  std::uint64_t received = 0;    ///< bytes of the file
  std::exception_ptr failure{};  ///< what on_begin or on_bytes threw

  bool is_redirect() const {
    return headers.status >= 300 && headers.status < 400 && headers.status != 304 && !redirect.empty();
  }
  /// Header lines, and no byte behind them.
  bool is_stalled() const { return headers.status != 0 && too_slow && received == 0; }
  bool is_no_service() const { return unreachable || is_outage(headers.status) || is_stalled(); }
};

/// Runs requests of any number of threads on its own one.
class TransferLoop {
 public:
  TransferLoop();
  ~TransferLoop();
  TransferLoop(const TransferLoop&) = delete;
  TransferLoop& operator=(const TransferLoop&) = delete;

  /// Blocks until the answer is here.
  HopResult perform(const Hop& hop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace microdit::ingest
