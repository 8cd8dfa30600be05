// What a training loop trains: a module, a loss over a slice of the global batch, pictures to look at.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/json.h"
#include "core/stop_flag.h"
#include "image/image.h"
#include "models/denoiser.h"
#include "train/validated.h"

namespace microdit::train {

inline constexpr std::size_t kLossLevels = 8;

/// Rows [first, first + count) of the rank's share of one step's batch.
struct Slice {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

class TrainTask {
 public:
  virtual ~TrainTask() = default;
  virtual torch::nn::Module& module() = 0;
  /// The module's blocks, and how they are run from now on (models::Denoiser); none: it has no blocks.
  virtual std::vector<models::BlockModules> blocks() const { return {}; }
  virtual void set_block_runner(models::BlockRunner) {}
  /// Whether loss(), picture() and validate() take a module of bf16 weights where the run computes in bf16. Else autocast casts fp32 ones.
  virtual bool takes_bf16_weights() const { return false; }
  /// What runs/NAME/facts.json will say: all that generation and evaluation need beside the checkpoint.
  virtual core::Json facts() const = 0;
  /// Draws the first weights; not called when a checkpoint gives them.
  virtual void initialize() = 0;
  /// UserError where weights that were trained by those facts (of the checkpoint to start from) would mean something else here.
  virtual void check_start(const core::Json&) const {}
  /// Opens what picture() needs: what is missing must be known before step 1, not at the first picture.
  /// Collective. Throws core::Stopped when `stop` is seen meanwhile.
  virtual void prepare_pictures(comm::Communicator& comm, const core::StopFlag& stop) = 0;
  /// Announces that steps will be asked for from `completed` on (0-based), `rows` rows each, beginning at
  /// stream position completed * batch + offset.
  virtual void start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) = 0;
  /// Fetches the batch of the next step.
  virtual void next_batch() = 0;
  /// Mean loss (fp32 scalar with graph) over a slice of the fetched batch.
  virtual torch::Tensor loss(const Slice& slice) = 0;
  /// Losses since the last call by share of the time law (of noise levels), kLossLevels equal ones from the least noise on: their sums, then
  /// how many. Empty where there is no such law.
  virtual std::vector<double> take_level_losses() { return {}; }
  /// A picture to look at with the module's present weights, or none. Collective: the ranks share the painting, rank 0
  /// has the result. A failure on one rank is thrown on all; none when `stop` is requested
  /// meanwhile.
  virtual std::optional<image::Image> picture(std::int64_t step, comm::Communicator& comm,
                                              const core::StopFlag& stop) = 0;
  /// Opens what validate() needs. Collective. UserError where there is nothing to validate on. Which version of data other than the run's
  /// it is ("" = the run's): losses on another are not compared.
  virtual std::string prepare_validation(comm::Communicator& comm) = 0;
  /// With the module's present weights; the same bits for any number of ranks. Collective; nothing when `stop` was seen meanwhile.
  virtual std::optional<Validated> validate(comm::Communicator& comm, const core::StopFlag& stop) = 0;
  /// Rows of the data that could not be read and were replaced, on this rank since it was opened.
  virtual std::int64_t num_bad_rows() const { return 0; }
  /// Whether finish() has something to do, for which every rank gathers the averaged weights.
  virtual bool has_outputs() const { return false; }
  /// After the last step, with the averaged weights in the module, on rank 0: outputs other than the
  /// checkpoint.
  /// False when `stop` was requested before it was done: the next life does it again.
  virtual bool finish(const std::filesystem::path& /*run_folder*/, const core::StopFlag& /*stop*/) {
    return true;
  }
};

}  // namespace microdit::train
