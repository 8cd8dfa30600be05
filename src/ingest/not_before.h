// Work whose time has not come: thrown by what would otherwise keep a thread waiting.
#pragma once

#include <chrono>

namespace microdit::ingest {

/// No failure: the item is set aside, its thread takes others, and it is taken up again at `time` or later.
struct NotBefore {
  std::chrono::steady_clock::time_point time;
  bool yields = false;  ///< then, too, items that were not tried yet go first
};

}  // namespace microdit::ingest
