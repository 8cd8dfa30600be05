// Where a training's weights, moments and averages are loaded from: a checkpoint of ours, or a file that torch wrote.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/weights_file.h"

namespace microdit::train {

/// Buffers that a network makes itself: a file may have them or not.
inline const std::vector<std::string> kFixedBuffers = {"pos_embed", "mask_token"};

/// Values of a parameter by kind: "weights", "ema", "exp_avg", "exp_avg_sq".
class StateSource {
 public:
  virtual ~StateSource() = default;
  /// The file or folder, for errors.
  virtual std::string origin() const = 0;
  virtual std::optional<std::vector<std::int64_t>> shape(const std::string& kind,
                                                         const std::string& parameter) const = 0;
  /// Values [begin, begin + out.size()) of the flattened tensor.
  virtual void read(const std::string& kind, const std::string& parameter, std::int64_t begin,
                    std::span<float> out) const = 0;
};

class CheckpointState final : public StateSource {
 public:
  explicit CheckpointState(const checkpoint::Reader& reader) : reader_(reader) {}
  std::string origin() const override { return reader_.folder().string(); }
  std::optional<std::vector<std::int64_t>> shape(const std::string& kind,
                                                 const std::string& parameter) const override;
  void read(const std::string& kind, const std::string& parameter, std::int64_t begin,
            std::span<float> out) const override {
    reader_.read(kind + "/" + parameter, begin, out);
  }

 private:
  const checkpoint::Reader& reader_;
};

/// The weights of one network and Adam's moments of them in a file that torch.save wrote: Composer's (`state.model`,
/// `state.optimizers.NAME.state`), or any with an optimizer's state dict in it. Moments under the parameters' names (as FSDP and
/// Composer write them) or numbers (torch's own: in the order of the network's parameters, by which the file's tensors lie).
class TorchState final : public StateSource {
 public:
  /// UserError: no file of weights, or moments of other parameters.
  explicit TorchState(const std::filesystem::path& file);
  bool has_moments() const { return !names_.at("exp_avg").empty(); }
  /// Updates that the moments have seen. UserError where the file does not say it.
  std::int64_t updates() const;

  std::string origin() const override { return file_.path().string(); }
  std::optional<std::vector<std::int64_t>> shape(const std::string& kind,
                                                 const std::string& parameter) const override;
  void read(const std::string& kind, const std::string& parameter, std::int64_t begin,
            std::span<float> out) const override;

 private:
  void find_moments();
  std::vector<std::string> parameters_in_order() const;
  void name_numbers(const std::vector<std::string>& order);
  torch::Tensor values(const std::string& stored, std::int64_t begin, std::int64_t count) const;

  core::WeightsFile file_;
  std::map<std::string, std::map<std::string, std::string>>
      names_;              ///< kind -> parameter -> name in the file
  std::string step_name_;  ///< of a count of updates
};

}  // namespace microdit::train
