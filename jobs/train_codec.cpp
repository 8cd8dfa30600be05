// train_codec: an AutoencoderKL on the pictures of a samples folder.
#include "train/codec_task.h"
#include "train/forecast.h"
#include "train_job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::train_job<train::CodecConfig>(
      argc, argv, {.name = "train_codec", .summary = "Train an AutoencoderKL on pictures."},
      [](train::CodecConfig& config, torch::Device device, jobs::Job&) {
        return std::make_unique<train::CodecTask>(config, device);
      },
      [](const train::CodecConfig& config) {
        return train::Cadences{.picture_every_steps = config.picture_every_steps};
      },
      train::describe_codec_training);
}
