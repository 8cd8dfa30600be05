// Training an AutoencoderKL on the pictures of a samples folder.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "encoders/image_codec.h"
#include "stream/order.h"
#include "train/picture_source.h"
#include "train/train_config.h"
#include "train/train_task.h"

namespace microdit::train {

/// train_codec: loss = error + l1 * L1 + kl * KL (means over elements; pixels in [-1, 1]). The error is the
/// mean over pictures of their MSE, or of knee * log(1 + MSE / knee): above the knee each picture's decibels
/// count, not its squares, so that a few hard pictures do not outweigh all others.
struct CodecConfig {
  LoopConfig loop;
  /// Folders under samples/ of the data root, or paths. The first is what the codec is for: its held-out
  /// pictures are measured and its latents set the scaling factor; the others only widen the training.
  std::vector<DataSource> data;
  std::int64_t size = 64;  ///< picture side in pixels
  bool flip = true;        ///< mirror every second picture (by counter)
  double augment = 0;      ///< share of pictures that are zoomed, shifted, turned and recoloured
  double mse_knee = 0;     ///< MSE from which a picture's error counts by its logarithm; 0 = never
  double l1 = 0.5;
  double kl = 1e-4;
  double sigma_data = 0.5;  ///< scaling_factor = sigma_data / std of the training latents
  Length picture_every_steps = 0;
  encoders::AutoencoderConfig codec;
  void fields(core::Fields& f);
};

class CodecTask : public TrainTask {
 public:
  /// Lengths of `config` become steps.
  CodecTask(CodecConfig& config, torch::Device device);

  torch::nn::Module& module() override { return *net_; }
  core::Json facts() const override;
  void initialize() override { net_->initialize(static_cast<std::uint64_t>(config_.loop.seed)); }
  void prepare_pictures(comm::Communicator&, const core::StopFlag&) override {}
  void start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) override;
  void next_batch() override;
  torch::Tensor loss(const Slice& slice) override;
  /// Held-out originals above their reconstructions.
  std::optional<image::Image> picture(std::int64_t step, comm::Communicator& comm,
                                      const core::StopFlag& stop) override;
  std::string prepare_validation(comm::Communicator&) override { return {}; }
  std::optional<Validated> validate(comm::Communicator&, const core::StopFlag&) override {
    return std::nullopt;
  }
  /// Measures the latents' std (scaling factor) and the held-out PSNR; writes run/codec/ and
  /// run/metrics.json.
  bool has_outputs() const override { return true; }
  bool finish(const std::filesystem::path& run_folder, const core::StopFlag& stop) override;

 private:
  torch::Tensor to_tensor(const std::vector<image::Image>& pictures) const;
  torch::Tensor pixels(PictureSource& source, const std::vector<std::int64_t>& pictures) const;
  image::Image training_picture(std::int64_t position);
  torch::Tensor reconstruct(const torch::Tensor& image_B3HW) const;
  /// (Both end early, with no result to use, when `stop` is requested.) PSNR over all held-out pixels, and the mean of the pictures' own.
  std::pair<double, double> held_out_psnr(const core::StopFlag& stop);
  double latent_std(const core::StopFlag& stop);

  const CodecConfig config_;
  torch::Device device_;
  struct Source {
    PictureSource pictures;
    std::optional<PictureSource> large;  ///< the same pictures at twice the size, to zoom into (augment > 0)
  };
  std::vector<Source> sources_;      ///< of config_.data
  std::vector<core::Json> samples_;  ///< likewise: dataset, generation and SHA-256 of its manifest
  PictureSource held_out_;           ///< of the first
  stream::Mixture mixture_;
  std::shared_ptr<encoders::Autoencoder> net_;
  std::int64_t next_position_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t batch_ = 0;
  torch::Tensor batch_B3HW_;
  std::vector<std::int64_t> positions_;
};

}  // namespace microdit::train
