// train: a denoiser on latents (one stage of the recipe).
#include <ATen/Parallel.h>

#include "comm/device.h"
#include "job.h"
#include "train/denoiser_task.h"
#include "train/trainer.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{.name = "train", .summary = "Train a denoiser on precomputed latents."};
  return jobs::run_config_job<train::TrainConfig>(
      argc, argv, info, [](jobs::Job& job, train::TrainConfig config) {
        at::set_num_threads(static_cast<int>(config.loop.threads_per_rank));
        train::resolve_decay_steps(config.loop);
        const torch::Device device(comm::choose_device(job.comm, config.loop.device).name());
        train::DenoiserTask task(config, device);
        if (job.line.dry_run) {
          core::log_info("dry run: config and data are good; nothing was written");
          return static_cast<int>(core::kDone);
        }
        const train::RunSettings settings{core::to_json(config), core::to_yaml(config),
                                          config.sampling.every_steps};
        return train::Trainer(config.loop, settings, task, device, job.comm, job.stop).run();
      });
}
