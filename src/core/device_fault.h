// Faults of this process's own GPU, and what torch's errors mean.
#pragma once

#include <string>

#include "core/error.h"

namespace microdit::core {

/// A fault of this rank's own GPU: its node is to be left out next time. Other faults (a file system, a peer, a
/// collective) show on nodes that are well.
class DeviceFault : public FaultError {
 public:
  using FaultError::FaultError;
};

struct TorchVerdict {
  Verdict verdict;
  bool own_device = false;  ///< as DeviceFault
};
/// torch tells lack of memory, faults and our own mistakes by text alone.
TorchVerdict judge_torch(const std::string& text);

}  // namespace microdit::core
