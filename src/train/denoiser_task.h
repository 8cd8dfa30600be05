// Training a denoiser on a stream of latents.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "diffusion/objective.h"
#include "eval/caption_encoder.h"
#include "eval/painter.h"
#include "models/denoiser.h"
#include "train/plan.h"
#include "train/train_config.h"
#include "train/train_task.h"
#include "train/training_data.h"
#include "train/validation.h"

namespace microdit::train {

class DenoiserTask : public TrainTask {
 public:
  /// Opens the data, completes `config.model` from their facts (UserError where the config states another
  /// value) and its lengths, builds the network. Collective.
  DenoiserTask(TrainConfig& config, torch::Device device, comm::Communicator& comm,
               const core::StopFlag& stop);

  torch::nn::Module& module() override { return *model_; }
  std::vector<models::BlockModules> blocks() const override { return model_->blocks(); }
  void set_block_runner(models::BlockRunner runner) override { model_->set_block_runner(std::move(runner)); }
  bool takes_bf16_weights() const override { return true; }
  core::Json facts() const override { return core::to_json(facts_); }
  /// As this run trains it.
  WorkPlan work() { return plan_work(*model_, config_.model, shape_, config_.mask_ratio); }
  void initialize() override { models::initialize(*model_, static_cast<std::uint64_t>(config_.loop.seed)); }
  void check_start(const core::Json& facts) const override;
  void prepare_pictures(comm::Communicator& comm, const core::StopFlag& stop) override;
  void start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) override;
  void next_batch() override;
  torch::Tensor loss(const Slice& slice) override;
  std::vector<double> take_level_losses() override {
    return std::exchange(level_losses_, std::vector<double>(2 * kLossLevels));
  }
  std::optional<image::Image> picture(std::int64_t step, comm::Communicator& comm,
                                      const core::StopFlag& stop) override;
  std::string prepare_validation(comm::Communicator& comm) override;
  std::optional<Validated> validate(comm::Communicator& comm, const core::StopFlag& stop) override;
  std::int64_t num_bad_rows() const override { return data_.stream->num_bad(); }

 private:
  diffusion::NoiseDraw draw(const Slice& slice) const;
  void add_level_losses(const torch::Tensor& draw_B, const torch::Tensor& losses_B);
  std::vector<image::Image> paint_share(comm::Communicator& comm, const core::StopFlag& stop);

  TrainingData data_;
  const stream::RowShape shape_;
  const TrainConfig config_;  ///< completed from the stream's facts
  torch::Device device_;
  std::shared_ptr<models::Denoiser> model_;
  diffusion::Objective objective_;
  eval::RunFacts facts_;
  stream::Batch batch_;
  std::unique_ptr<eval::CaptionEncoder> caption_encoder_;  ///< where the latents hold token ids alone
  std::optional<Validation> validation_;
  std::unique_ptr<eval::Painter> painter_;  ///< null without pictures, and on ranks that have none to paint
  std::vector<double> level_losses_ = std::vector<double>(2 * kLossLevels);
  std::size_t painters_ = 0;  ///< ranks that have one
};

}  // namespace microdit::train
