// What a run trains on: its sources found, opened at the generation that the run began with, and recorded.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "eval/run_facts.h"
#include "stream/latent_stream.h"
#include "train/train_config.h"

namespace microdit::train {

struct TrainingData {
  std::unique_ptr<stream::LatentStream> stream;
  std::vector<eval::RunSource> sources;  ///< as facts.json has them
  encoders::CodecFacts codec;            ///< without a kind where no source names one
  encoders::TextEncoderFacts text_encoder;
  std::vector<std::string> captions;  ///< sources of captions that are shown, the first first
};

/// A run that was begun stays with the recipes that it found then, however many there are now. Collective.
void take_recorded_recipes(TrainConfig& config, comm::Communicator& comm);

/// Collective. UserError: what LatentStream says; data that have changed since the run began (a newer generation of a folder is
/// no change: the run stays with its own). Batches are page-locked where `device` is a GPU.
/// Throws core::Stopped on all ranks when rank 0 sees `stop` while it hashes the encoders of an MDS folder.
TrainingData open_training_data(const TrainConfig& config, torch::Device device, comm::Communicator& comm,
                                const core::StopFlag& stop);

}  // namespace microdit::train
