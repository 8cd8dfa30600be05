// Batches, loss and closing measurements of codec training.
#include "train/codec_task.h"

#include <torch/utils.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "eval/painter.h"
#include "image/grid.h"
#include "image/resize.h"
#include "train/run_folder.h"

namespace microdit::train {
namespace {

/// [-1, 1] -> 8-bit and back to [0, 255] as floats: what a viewer sees.
torch::Tensor to_bytes(const torch::Tensor& image) {
  return ((image / 2 + 0.5).clamp(0, 1) * 255).round();
}

image::Image flipped(const image::Image& picture) {
  image::Image out(picture.height, picture.width);
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t x = 0; x < picture.width; ++x) {
      std::copy_n(picture.row(y) + (picture.width - 1 - x) * 3, 3, out.row(y) + x * 3);
    }
  }
  return out;
}

/// A window of 0.6 to 1.25 times the picture at a random place (white around it), turned or mirrored one of 8
/// ways, its colours in another order, at `size`: what a picture shows no longer tells how the rest of it
/// goes on.
image::Image augmented(const image::Image& large, std::int64_t size, core::CounterRng& rng) {
  static constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const std::int64_t side = large.width;
  const auto window = static_cast<std::int64_t>(static_cast<float>(side) * (0.6F + 0.65F * rng.uniform()));
  const std::int64_t slack = std::abs(side - window) + side / 8;
  const std::int64_t left =
      (side - window) / 2 + static_cast<std::int64_t>((rng.uniform() - 0.5F) * static_cast<float>(slack));
  const std::int64_t top =
      (side - window) / 2 + static_cast<std::int64_t>((rng.uniform() - 0.5F) * static_cast<float>(slack));
  const auto& order = kOrders[rng.below(6)];
  const auto turn = rng.below(8);
  image::Image cut(window, window);
  for (std::int64_t y = 0; y < window; ++y) {
    for (std::int64_t x = 0; x < window; ++x) {
      std::int64_t from_x = (turn & 1) != 0 ? window - 1 - x : x;
      std::int64_t from_y = (turn & 2) != 0 ? window - 1 - y : y;
      if ((turn & 4) != 0) std::swap(from_x, from_y);
      from_x += left;
      from_y += top;
      if (from_x < 0 || from_x >= side || from_y < 0 || from_y >= large.height) continue;
      const auto* from = large.row(from_y) + from_x * 3;
      for (int c = 0; c < 3; ++c) cut.row(y)[x * 3 + c] = from[order[c]];
    }
  }
  return image::resize_bicubic(cut, size, size);
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

/// The dataset's samples as the run began with them, however much they have grown since; of a new run the newest.
store::Manifest samples_of(const CodecConfig& config, const std::string& dataset) {
  std::int64_t generation = 0;
  if (const auto begun = run_folder(config.loop).facts(); std::filesystem::exists(begun)) {
    const core::Json facts = core::read_json(begun);
    if (!facts.contains("samples"))
      core::user_error(
          "{}: does not say which samples the run began with (an older microdit did not note them); "
          "give this run another name (name=...)",
          begun.string());
    for (const core::Json& samples : facts["samples"])
      if (samples.value("dataset", "") == dataset) generation = samples.value("generation", std::int64_t{0});
  }
  return store::Manifest::read(core::dataset_folder("samples", dataset), generation);
}

}  // namespace

void CodecConfig::fields(core::Fields& f) {
  loop.fields(f);
  f.sections("data", data);
  f.field("size", size, {.min = 8, .max = 4096, .help = "picture side in pixels"});
  f.field("flip", flip, {.help = "mirror every second picture"});
  f.field("augment", augment,
          {.min = 0, .max = 1, .help = "share of pictures zoomed, shifted, turned and recoloured"});
  f.field("mse_knee", mse_knee,
          {.min = 0, .help = "MSE from which a picture's error counts by its logarithm; 0 = never"});
  f.field("l1", l1, {.min = 0, .help = "weight of the mean absolute error"});
  f.field("kl", kl, {.min = 0, .help = "weight of the KL divergence to N(0, 1)"});
  f.field("sigma_data", sigma_data,
          {.min = 0, .exclusive_min = true, .help = "std that scaled latents shall have"});
  picture_every_steps.field(
      f, "picture_every_steps",
      {.min = 0, .help = "steps between reconstruction grids; 0 = none", .at_resume = core::AtResume::free});
  f.section("codec", codec);
  if (f.reading() && data.empty()) f.error("data", "at least one dataset is needed");
}

CodecTask::CodecTask(CodecConfig& config, torch::Device device)
    : config_(config),
      device_(device),
      held_out_(samples_of(config, config.data.front().dataset), config.size, 1,
                static_cast<std::uint64_t>(config.loop.seed)),
      mixture_({1.0}),
      net_(std::make_shared<encoders::Autoencoder>(config.codec)) {
  std::vector<double> proportions;
  std::vector<double> sizes;
  for (const DataSource& source : config.data) {
    const store::Manifest samples = samples_of(config, source.dataset);
    samples_.push_back(
        {{"dataset", source.dataset}, {"generation", samples.generation}, {"sha256", samples.sha256}});
    const auto seed = static_cast<std::uint64_t>(config.loop.seed);
    sources_.push_back({{samples, config.size, 0, seed}, std::nullopt});
    if (config.augment > 0) sources_.back().large.emplace(samples, 2 * config.size, 0, seed);
    proportions.push_back(source.proportion);
    sizes.push_back(static_cast<double>(sources_.back().pictures.num_pictures()));
  }
  const auto pictures = static_cast<std::int64_t>(std::accumulate(sizes.begin(), sizes.end(), 0.0));
  config.loop.resolve(pictures);
  config.picture_every_steps.resolve(pictures, config.loop.batch_size);
  mixture_ = stream::Mixture(stream::by_size(proportions) ? sizes : proportions);
  if (config.size % net_->downscale() != 0) {
    core::user_error("size={}: not divisible by the codec's downscale {}", config.size, net_->downscale());
  }
  net_->to(device);
  core::log_info("pictures: {} to train, {} held out, {} px", pictures, held_out_.num_pictures(),
                 config.size);
}

core::Json CodecTask::facts() const {
  return {{"stage", "codec"},
          {"samples", samples_},
          {"size", config_.size},
          {"codec", core::to_json(config_.codec)}};
}

void CodecTask::start(std::int64_t completed, std::int64_t offset, std::int64_t rows, std::int64_t batch) {
  next_position_ = completed * batch + offset;
  rows_ = rows;
  batch_ = batch;
}

torch::Tensor CodecTask::to_tensor(const std::vector<image::Image>& pictures) const {
  const std::int64_t s = config_.size;
  torch::Tensor bytes = torch::empty({static_cast<std::int64_t>(pictures.size()), s, s, 3}, torch::kUInt8);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    std::copy(pictures[i].pixels.begin(), pictures[i].pixels.end(),
              bytes.data_ptr<std::uint8_t>() + i * pictures[i].pixels.size());
  }
  return bytes.to(device_).permute({0, 3, 1, 2}).to(torch::kFloat32).mul_(2.0 / 255).sub_(1);
}

torch::Tensor CodecTask::pixels(PictureSource& source, const std::vector<std::int64_t>& numbers) const {
  std::vector<image::Image> pictures;
  for (const std::int64_t number : numbers) pictures.push_back(source.picture(number));
  return to_tensor(pictures);
}

image::Image CodecTask::training_picture(std::int64_t position) {
  const stream::Turn turn = mixture_.at(position);
  Source& source = sources_[turn.source];
  const std::int64_t number = source.pictures.picture_at(turn.index);
  core::CounterRng rng(static_cast<std::uint64_t>(config_.loop.seed), core::Purpose::crop,
                       static_cast<std::uint64_t>(position));
  const bool mirrored = config_.flip && rng.below(2) == 1;
  image::Image picture = rng.uniform() < config_.augment
                             ? augmented(source.large->picture(number), config_.size, rng)
                             : source.pictures.picture(number);
  return mirrored ? flipped(picture) : picture;
}

void CodecTask::next_batch() {
  std::vector<image::Image> pictures;
  positions_.clear();
  for (std::int64_t i = 0; i < rows_; ++i) {
    positions_.push_back(next_position_ + i);
    pictures.push_back(training_picture(positions_.back()));
  }
  next_position_ += batch_;
  batch_B3HW_ = to_tensor(pictures);
}

torch::Tensor CodecTask::loss(const Slice& slice) {
  const torch::Tensor image = batch_B3HW_.narrow(0, slice.first, slice.count);
  const auto moments = net_->encode_moments(image).to(torch::kFloat32).chunk(2, 1);
  const torch::Tensor mean = moments[0];
  const torch::Tensor log_variance = moments[1].clamp(-30, 20);
  torch::Tensor unit = torch::empty(mean.sizes(), torch::kFloat32);
  const std::int64_t count = unit.numel() / slice.count;
  for (std::int64_t i = 0; i < slice.count; ++i) {
    const auto position = static_cast<std::uint64_t>(positions_[static_cast<std::size_t>(slice.first + i)]);
    core::CounterRng(static_cast<std::uint64_t>(config_.loop.seed), core::Purpose::codec_sample, position)
        .fill_normal({unit.data_ptr<float>() + i * count, static_cast<std::size_t>(count)});
  }
  const torch::Tensor latent = mean + (0.5 * log_variance).exp() * unit.to(device_);
  const torch::Tensor error = net_->decode(latent).to(torch::kFloat32) - image;
  const torch::Tensor kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean();
  const torch::Tensor mse_B = error.square().mean({1, 2, 3});
  const double knee = config_.mse_knee;
  const torch::Tensor counted = knee > 0 ? knee * (mse_B / knee).log1p() : mse_B;
  return counted.mean() + config_.l1 * error.abs().mean() + config_.kl * kl;
}

torch::Tensor CodecTask::reconstruct(const torch::Tensor& image_B3HW) const {
  return net_->decode(net_->encode_moments(image_B3HW).chunk(2, 1)[0]);
}

std::optional<image::Image> CodecTask::picture(std::int64_t step, comm::Communicator& comm,
                                               const core::StopFlag& /*stop*/) {
  if (comm.rank() != 0) return std::nullopt;  // a few forward passes
  torch::NoGradGuard no_grad;
  const std::int64_t count = std::min<std::int64_t>(8, held_out_.num_pictures());
  const torch::Tensor originals = pixels(held_out_, first_numbers(count));
  const torch::Tensor both = torch::cat({originals, reconstruct(originals)});
  const auto pictures = eval::to_images(to_bytes(both).to(torch::kUInt8).permute({0, 2, 3, 1}));
  return image::grid(
      pictures, {},
      {.columns = count, .title = fmt::format("step {}: held-out pictures and reconstructions", step)});
}

std::pair<double, double> CodecTask::held_out_psnr(const core::StopFlag& stop) {
  double squares = 0;
  double mean_db = 0;
  const std::int64_t count = held_out_.num_pictures();
  const double per_picture = 3.0 * static_cast<double>(config_.size * config_.size);
  for (std::int64_t i = 0; i < count && !stop.requested(); ++i) {
    const torch::Tensor original = pixels(held_out_, {i});
    const double sum = (to_bytes(reconstruct(original)) - to_bytes(original)).square().sum().item<double>();
    squares += sum;
    mean_db +=
        10 * std::log10(255.0 * 255.0 / std::max(1e-3, sum / per_picture)) / static_cast<double>(count);
  }
  const double mse = squares / (per_picture * static_cast<double>(count));
  return {10 * std::log10(255.0 * 255.0 / std::max(1e-3, mse)), mean_db};
}

double CodecTask::latent_std(const core::StopFlag& stop) {
  // Of the posterior means of up to 2,048 training pictures.
  PictureSource& pictures = sources_.front().pictures;
  const std::int64_t count = std::min<std::int64_t>(2048, pictures.num_pictures());
  double sum = 0;
  double squares = 0;
  double values = 0;
  for (std::int64_t first = 0; first < count && !stop.requested(); first += 32) {
    std::vector<std::int64_t> numbers = first_numbers(std::min<std::int64_t>(32, count - first));
    for (std::int64_t& n : numbers) n += first;
    const torch::Tensor mean =
        net_->encode_moments(pixels(pictures, numbers)).chunk(2, 1)[0].to(torch::kFloat64);
    sum += mean.sum().item<double>();
    squares += mean.square().sum().item<double>();
    values += static_cast<double>(mean.numel());
  }
  return std::sqrt(squares / values - (sum / values) * (sum / values));
}

bool CodecTask::finish(const std::filesystem::path& run_folder, const core::StopFlag& stop) {
  torch::NoGradGuard no_grad;
  const double std_dev = latent_std(stop);
  const auto [psnr, mean_psnr] = held_out_psnr(stop);
  if (stop.requested()) return false;
  net_->config().scaling_factor = config_.sigma_data / std_dev;
  net_->config().sample_size = config_.size;
  std::filesystem::create_directories(run_folder / "codec");
  encoders::save_autoencoder(run_folder / "codec", *net_, true);
  core::Json metrics;
  metrics["held_out_psnr_db"] = psnr;
  metrics["held_out_psnr_mean_of_pictures_db"] = mean_psnr;
  metrics["held_out_pictures"] = held_out_.num_pictures();
  metrics["size"] = config_.size;
  metrics["latent_std"] = std_dev;
  metrics["scaling_factor"] = net_->config().scaling_factor;
  core::write_json(run_folder / "metrics.json", metrics);
  core::log_info("held-out PSNR {:.2f} dB at {} px ({} pictures), latent std {:.4f}, codec in {}", psnr,
                 config_.size, held_out_.num_pictures(), std_dev, (run_folder / "codec").string());
  return true;
}

}  // namespace microdit::train
