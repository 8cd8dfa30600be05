// What a training will need, said before it starts (--dry-run): on any machine, without a GPU, with or without the data.
#pragma once

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "train/codec_task.h"
#include "train/train_config.h"

namespace microdit::train {

/// Checks config, initial weights, data and encoders where they are there already, and the run folder; prints sizes.
/// UserError for what would end the job at once. Data that is not there yet is said, no error: an earlier stage makes it.
/// core::Stopped when `stop` is seen while encoders are hashed or read.
void describe_training(TrainConfig& config, comm::Communicator& comm, const core::StopFlag& stop);
void describe_codec_training(CodecConfig& config, comm::Communicator& comm, const core::StopFlag& stop);

}  // namespace microdit::train
