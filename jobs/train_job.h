// What train and train_codec share: settings, device, task, dry run, trainer.
#pragma once

#include <string>
#include <type_traits>

#include "comm/device.h"
#include "core/error.h"
#include "core/log.h"
#include "eval/compute.h"
#include "job.h"
#include "provenance.h"
#include "train/advice.h"
#include "train/trainer.h"
#include "train/training_data.h"

namespace microdit::jobs {

/// What a cluster would need can be asked of a build that could not train there.
inline void warn_of_device(const std::string& device) {
  try {
    comm::demand_cuda_build(device);
  } catch (const core::UserError& error) {
    core::log_warn("{}", error.what());
  }
}

/// `make_task(config, device, job)`: what is trained. `cadences`: of a config, when the task is made. `describe`: prints what the job
/// will need (--dry-run); it opens no device. `more`: as run_config_job's.
template <class Config, class MakeTask>
int train_job(int argc, char** argv, JobInfo info, const MakeTask& make_task,
              const std::function<train::Cadences(const Config&)>& cadences,
              const std::function<void(Config&, comm::Communicator&, const core::StopFlag&)>& describe,
              const std::function<std::string(const Config&)>& more = nullptr) {
  info.makes_run = true;
  info.config_folder = "train";
  const auto body = [&](Job& job, Config config) {
    if (config.loop.threads_per_rank == 0) config.loop.threads_per_rank = eval::own_threads(job.comm);
    eval::prepare_process(config.loop.threads_per_rank, config.loop.device == "cpu");
    train::resolve_decay_steps(config.loop, job.comm);
    if constexpr (std::is_same_v<Config, train::TrainConfig>) train::take_recorded_recipes(config, job.comm);
    const train::RunSettings settings{core::to_json(config), core::to_yaml(config),
                                      core::resumable_keys<Config>(), describe_life(job.comm)};
    if (job.line.check_settings || job.line.dry_run) {
      train::run_folder(config.loop).compare_settings(settings, job.comm);
      if (job.line.check_settings) comm::demand_cuda_build(config.loop.device);
      train::check_start(config.loop, settings.life, job.line.dry_run, job.comm);
      if (job.line.dry_run) {
        describe(config, job.comm, job.stop);
        warn_of_device(config.loop.device);
      }
      return static_cast<int>(core::kDone);
    }
    job.comm.set_deadline(config.loop.watchdog_s);  // before NCCL is set up with the device
    const torch::Device device(comm::choose_device(job.comm, config.loop.device).name());
    const auto task = make_task(config, device, job);
    return train::Trainer(config.loop, settings, cadences(config), {*task, device, job.comm, job.stop}).run();
  };
  return run_config_job<Config>(argc, argv, info, body, more);
}

}  // namespace microdit::jobs
