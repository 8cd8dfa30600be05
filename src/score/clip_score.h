// How well pictures show what was asked for (Hessel et al. 2021, as torchmetrics has it: the mean of max(100 cos, 0)).
#pragma once

#include <torch/types.h>

#include <string>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "score/score.h"

namespace microdit::score {

/// Of pictures with captions: the output of generate, or a dataset. weights = a folder of CLIP (encoders/clip_pair.h), empty =
/// MICRODIT_DATA/weights/DFN5B-CLIP-ViT-H-14-378. Writes OUT/NAME.json: clip_score, its standard error, what it is of. As score().
int clip_score(const std::string& pictures, const ScoreConfig& config, torch::Device device,
               comm::Communicator& comm, const core::StopFlag& stop);

/// Checks pictures and network on the first picture, and writes nothing.
int describe_clip_score(const std::string& pictures, const ScoreConfig& config, comm::Communicator& comm,
                        const core::StopFlag& stop);

}  // namespace microdit::score
