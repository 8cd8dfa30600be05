// train: a denoiser on latents (one stage of the recipe).
#include "train/denoiser_task.h"
#include "train/forecast.h"
#include "train_job.h"

using namespace microdit;

namespace {

/// Below --print-config: what a run is conditioned on, and so what can be painted with it (slurm/pipeline_checks.sh).
std::string taken(const train::TrainConfig& config) {
  const bool text = config.model.takes_text(), classes = config.model.takes_classes();
  return fmt::format("takes: {}", text && classes ? "text and classes"
                                  : text          ? "text"
                                  : classes       ? "classes"
                                                  : "nothing");
}

}  // namespace

int main(int argc, char** argv) {
  return jobs::train_job<train::TrainConfig>(
      argc, argv,
      {.name = "train",
       .summary = "Train a denoiser on precomputed latents.",
       .field_help = models::describe_kinds() + diffusion::describe_schedules()},
      [](train::TrainConfig& config, torch::Device device, jobs::Job& job) {
        return std::make_unique<train::DenoiserTask>(config, device, job.comm, job.stop);
      },
      [](const train::TrainConfig& config) {
        return train::Cadences{.picture_every_steps = config.sampling.every_steps,
                               .validate_every_steps = config.validation.every_steps,
                               .patience = config.validation.patience,
                               .keep_best = config.validation.keep_best,
                               .measured = config.validation.measured()};
      },
      train::describe_training, taken);
}
