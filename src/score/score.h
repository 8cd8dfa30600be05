// score: how far pictures are from others, as Fréchet distance (FID) between the features of a frozen network.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/stop_flag.h"

namespace microdit::score {

struct ScoreConfig {
  std::string network = "efficientnet_lite0";  ///< inception | efficientnet_lite0 | mobilenet_v2 | clip
  std::string weights;                         ///< file; empty = MICRODIT_DATA/weights/...
  std::string resize = "clean_fid";            ///< see score/input.h
  std::int64_t dims = 0;  ///< of Inception: 2048, 768, 192, 64; 0 = all that the network has
  std::string split;      ///< of datasets; empty = held_out
  std::int64_t reference_size =
      0;             ///< the reference's pictures are first resized and cropped as training does; 0 = not
  std::string out;   ///< folder of the numbers; empty = PICTURES/scores
  std::string save;  ///< .npz: also the statistics of the pictures, as pytorch-fid's --save-stats
  std::string statistics;  ///< folder of statistics; empty = MICRODIT_DATA/statistics
  std::int64_t part_size = 1000, batch_size = 50;
  std::string task;
  std::string captions;       ///< instead of numbers: a file of prompts, drawn from the reference's captions
  std::int64_t draw = 30000;  ///< how many
  std::int64_t kid_subsets = 0;  ///< also KID over so many subsets, see score/kid.h; 0 = not
  std::uint64_t seed = 2024;     ///< of what is drawn: captions, KID's subsets
  std::string device = "auto";
  std::int64_t threads_per_rank = 0;
  void fields(core::Fields& f);
};

/// `pictures`: see score/pictures.h, or an .npz of statistics. `reference` likewise; empty: the statistics of `pictures` alone.
/// Writes OUT/NAME.json (network, weights' SHA-256, resize, features, n, distance) and says it in words. kDone, also when parts of
/// other tasks are missing (the last one to end writes the numbers); kRequeueMe after a stop.
int score(const std::string& pictures, const std::string& reference, const ScoreConfig& config,
          torch::Device device, comm::Communicator& comm, const core::StopFlag& stop);

/// The last part of a path.
std::string last_name(const std::string& place);
/// STATISTICS/NAME-<16 digits of all that the sums depend on>.
std::filesystem::path statistics_folder(const std::string& place, const core::Json& about,
                                        const ScoreConfig& config);
/// Says why there is no number yet; the exit code.
int unfinished(bool stopped, std::int64_t missing);

/// Writes config.captions. Collective.
int write_captions(const std::string& reference, const ScoreConfig& config, comm::Communicator& comm);

/// Checks pictures, network and folders, says what would be done, and writes nothing. Without `pictures`: network and settings alone.
int describe_score(const std::string& pictures, const std::string& reference, const ScoreConfig& config,
                   comm::Communicator& comm, const core::StopFlag& stop);

}  // namespace microdit::score
