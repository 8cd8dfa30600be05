// train_codec: an AutoencoderKL on the pictures of a samples folder.
#include <ATen/Parallel.h>

#include "comm/device.h"
#include "job.h"
#include "train/codec_task.h"
#include "train/trainer.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{.name = "train_codec", .summary = "Train an AutoencoderKL on pictures."};
  return jobs::run_config_job<train::CodecConfig>(
      argc, argv, info, [](jobs::Job& job, train::CodecConfig config) {
        at::set_num_threads(static_cast<int>(config.loop.threads_per_rank));
        train::resolve_decay_steps(config.loop);
        const torch::Device device(comm::choose_device(job.comm, config.loop.device).name());
        train::CodecTask task(config, device);
        if (job.line.dry_run) {
          core::log_info("dry run: config and data are good; nothing was written");
          return static_cast<int>(core::kDone);
        }
        const train::RunSettings settings{core::to_json(config), core::to_yaml(config),
                                          config.picture_every_steps};
        return train::Trainer(config.loop, settings, task, device, job.comm, job.stop).run();
      });
}
