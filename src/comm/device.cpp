// The choice of the device, agreed between the ranks.
#include "comm/device.h"

#include <algorithm>
#include <set>

#include "comm/device_path.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::comm {
std::string Device::name() const {
  return cuda ? fmt::format("cuda:{}", index) : "cpu";
}

Device choose_device(Communicator& comm, const std::string& setting) {
  if (setting == "cpu") return {};
  core::check(setting == "cuda" || setting == "auto", "device {}", setting);
  const VisibleGpus gpus = visible_gpus();
  if (setting == "auto" && comm.any(gpus.count == 0)) return {};
  const std::vector<std::string> reasons = comm.all_gather(
      gpus.count > 0 ? std::string() : fmt::format("on {}: {}", core::host_name(), gpus.why_none));
  const auto blind = std::ranges::find_if(reasons, [](const std::string& reason) { return !reason.empty(); });
  if (blind != reasons.end()) {
    core::user_error(
        "device=cuda: rank {} has no usable GPU ({}). `doctor env` says more; device=cpu works without",
        blind - reasons.begin(), *blind);
  }
  const Device device{true, comm.local_rank() % gpus.count};
  const std::vector<std::string> own = comm.all_gather(take_gpu(device.index));
  const std::set<std::string> distinct(own.begin(), own.end());
  if (distinct.size() < own.size()) {
    core::log_warn(
        "{} ranks share {} cards: sums travel through host memory, which is slow; start one rank per GPU",
        own.size(), distinct.size());
  }
  comm.use_cuda(distinct.size() == own.size());
  return device;
}

void demand_cuda_build([[maybe_unused]] const std::string& setting) {
#ifndef MICRODIT_WITH_CUDA
  if (setting == "cuda")
    core::user_error("device=cuda: {}; device=cpu works without", visible_gpus().why_none);
#endif
}

}  // namespace microdit::comm
