// What torch's messages mean for the job's exit code and its node.
#include "core/device_fault.h"

#include <gtest/gtest.h>

namespace microdit::core {
namespace {

struct Case {
  const char* text;
  int exit_code;
  bool own_device;
};

TEST(JudgeTorch, TellsMemoryMistakesAndFaults) {
  for (const Case& c : {
           Case{"CUDA out of memory. Tried to allocate 2.00 GiB", kFailed, false},
           Case{"CUDA error: out of memory", kFailed, false},
           Case{"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", kFailed, false},
           Case{"cuDNN error: CUDNN_STATUS_ALLOC_FAILED", kFailed, false},
           Case{"DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", kFailed, false},
           Case{"CUDA error: no kernel image is available for execution on the device", kFailed, false},
           Case{"CUDA error: device-side assert triggered", kFailed, false},
           Case{"CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling cublasSgemm", kFailed, false},
           Case{"mat1 and mat2 shapes cannot be multiplied", kFailed, false},
           Case{"CUDA error: an illegal memory access was encountered", kHardwareFault, true},
           Case{"CUDA error: uncorrectable ECC error encountered", kHardwareFault, true},
           Case{"CUDA error: unspecified launch failure", kHardwareFault, true},
           Case{"CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", kHardwareFault, true},
           Case{"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", kHardwareFault, true},
           Case{"NCCL error: remote process exited", kHardwareFault, false},
       }) {
    const TorchVerdict found = judge_torch(c.text);
    EXPECT_EQ(found.verdict.exit_code, c.exit_code) << c.text;
    EXPECT_EQ(found.own_device, c.own_device) << c.text;
  }
}

TEST(JudgeTorch, LackOfMemorySaysWhatToLower) {
  EXPECT_NE(judge_torch("CUDA out of memory").verdict.message.find("microbatch_size"), std::string::npos);
}

}  // namespace
}  // namespace microdit::core
