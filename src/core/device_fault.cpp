// Reading torch's messages.
#include "core/device_fault.h"

#include <algorithm>
#include <initializer_list>

namespace microdit::core {

TorchVerdict judge_torch(const std::string& text) {
  const auto mentions = [&](std::initializer_list<const char*> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](const char* word) { return text.find(word) != text.npos; });
  };
  if (mentions({"out of memory", "ALLOC_FAILED"})) {
    return {{kFailed,
             text + "\nThe GPU's memory does not suffice: lower microbatch_size (training) or batch_size"}};
  }
  if (mentions({"can't allocate memory", "not enough memory"})) {
    return {{kFailed,
             text + "\nThe host's memory does not suffice: ask for more (--mem), or lower microbatch_size"}};
  }
  // The same on every card: a build for other cards, or a call of ours that is wrong.
  if (mentions({"no kernel image", "invalid device function", "invalid configuration argument",
                "invalid argument", "device-side assert", "INVALID_VALUE", "NOT_SUPPORTED", "ARCH_MISMATCH",
                "BAD_PARAM"}))
    return {{kFailed, text}};
  if (mentions({"NCCL"})) return {{kHardwareFault, text}};
  if (mentions({"CUDA error", "CUDA driver error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuDNN error"}))
    return {{kHardwareFault, text}, true};
  return {{kFailed, text}};
}

}  // namespace microdit::core
