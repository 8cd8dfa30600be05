// The hub's quotas, obeyed by all tasks and ranks together: one small file that every request passes.
#pragma once

#include <filesystem>
#include <string>

#include "ingest/http_rules.h"

namespace microdit::ingest {

/// One quota's state, as it lies in the file.
struct Quota {
  double window_ends = 0;       ///< seconds since the epoch
  std::int64_t remaining = -1;  ///< requests until then; -1 = not known: no limit
  std::int64_t size = -1;       ///< per window; -1 = not known
  double window_s = 300;
};
/// Takes one request out of the quota at `now`; returns 0, or how many seconds to wait before asking again.
double take_request(Quota& quota, double now);
/// What an answer says of it. 429 closes the window.
void note_answer(Quota& quota, const ResponseHeaders& headers, double now);

class RateGate {
 public:
  /// `file` is shared by all who ask the same hub; it is made when the first answer tells a quota. `known_hub`: the
  /// public hub, whose quotas (3,000 files and 500 calls per 5 minutes) hold before it told them.
  RateGate(std::filesystem::path file, bool known_hub);
  /// Takes this request's turn: 0; or how many seconds to wait before asking for one again.
  double turn(const std::string& url);
  void note(const std::string& url, const ResponseHeaders& headers);

 private:
  std::filesystem::path file_;
  bool known_hub_;
};

}  // namespace microdit::ingest
