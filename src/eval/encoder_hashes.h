// Encoders' weights read for their SHA-256 by one rank, before all look for them.
#pragma once

#include <filesystem>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "encoders/encoder_facts.h"

namespace microdit::eval {

/// Longest that the others wait for rank 0: tens of GB over a slow network.
inline constexpr double kLongestHash_s = 3600;

/// Before all ranks find the encoders: rank 0 alone hashes their weights, the others then find that kept. Facts without a kind name
/// none. Collective. UserError as find_image_codec's and find_text_encoder's; core::Stopped, on all ranks, when rank 0 sees `stop`.
void hash_encoders_once(const encoders::CodecFacts& codec, const encoders::TextEncoderFacts& text_encoder,
                        const std::filesystem::path& run_folder, comm::Communicator& comm,
                        const core::StopFlag& stop);

}  // namespace microdit::eval
