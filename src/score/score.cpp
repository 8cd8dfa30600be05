// From two places to one number.
#include "score/score.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <optional>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "encoders/weights_hash.h"
#include "image/resize.h"
#include "score/captions.h"
#include "score/feature_net.h"
#include "score/frechet.h"
#include "score/gather.h"
#include "score/input.h"
#include "score/kid.h"
#include "score/limits.h"
#include "score/network.h"
#include "score/side.h"

namespace microdit::score {
namespace {

constexpr double kLongestSubsets_s = 4 * 3600;  // of KID, which rank 0 computes

namespace fs = std::filesystem;

core::Json about_of(const Side& side, const NetworkChoice& network, const ScoreConfig& config) {
  core::Json about = {{"network", network.name},
                      {"weights_sha256", network.sha256},
                      {"dims", network.dims},
                      {"resize", config.resize},
                      {"pictures", side.pictures->identity()}};
  if (side.crop > 0) about["crop"] = side.crop;
  return about;
}

GatherPlan plan_of(const Side& side, const NetworkChoice& network, const ScoreConfig& config,
                   torch::Device device) {
  GatherPlan plan;
  plan.what = side.pictures->text();
  plan.count = side.pictures->count();
  plan.dims = network.dims;
  plan.part_size = config.part_size;
  plan.batch_size = config.batch_size;
  plan.about = about_of(side, network, config);
  plan.folder = statistics_folder(side.place, plan.about, config);
  plan.device = device;
  plan.keep_features = config.kid_subsets > 0;
  if (plan.keep_features &&
      static_cast<std::uint64_t>(plan.part_size * plan.dims) * sizeof(double) > Limits::array_bytes / 2)
    core::user_error("part_size={}: with kid_subsets the features of a part are one array; at most {}",
                     plan.part_size, Limits::array_bytes / 2 / sizeof(double) / plan.dims);
  return plan;
}

/// Decoded and resized by all threads, then one pass of the network. On a GPU the pass of one batch runs while the next is decoded.
torch::Tensor features_of(const Side& side, const FeatureNet& net, const NetworkChoice& network,
                          const ScoreConfig& config, torch::Device device, std::int64_t first,
                          std::int64_t last) {
  const std::int64_t size = net.input_size();
  torch::Tensor batch_BCHW = torch::empty({last - first, 3, size, size});
  at::parallel_for(0, last - first, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      image::Image picture = side.pictures->picture(first + i);
      if (side.crop > 0) picture = image::resize_and_center_crop(picture, side.crop);
      batch_BCHW[i].copy_(network_input(picture, size, config.resize, network.scaling));
    }
  });
  return net.forward(batch_BCHW.to(device).contiguous(at::MemoryFormat::ChannelsLast));
}

/// What a file says of how it was made must be what is done here.
void check_about(const Statistics& statistics, const std::string& file, const NetworkChoice& network,
                 const ScoreConfig& config) {
  if (statistics.about.empty()) {
    core::log_warn("{}: does not say which network and resize it was made with; it is taken for {}, {}", file,
                   network.title, config.resize);
    return;
  }
  const core::Json about = core::parse_json(statistics.about, file);
  for (const auto& [key, own] : {std::pair<const char*, std::string>{"network", network.name},
                                 {"resize", config.resize},
                                 {"weights_sha256", network.sha256}})
    if (const auto found = about.find(key); found != about.end() && *found != own)
      core::user_error("{}: made with {} {}, not {}: set it so, or make the statistics again", file, key,
                       found->dump(), own);
}

struct Measured {
  bool stopped = false;
  std::int64_t missing = 0;
  Statistics statistics{};
  std::string file{};
  std::string text{};
  GatherPlan plan{};  ///< of pictures
};

core::Json side_json(const Measured& side) {
  return {{"of", side.text}, {"n", side.statistics.gaussian.n}, {"statistics", side.file}};
}

std::string sized(const Measured& side) {
  return side.statistics.gaussian.n > 0 ? side.text : fmt::format("{} (pictures not counted)", side.text);
}

class Scoring {
 public:
  Scoring(const ScoreConfig& config, torch::Device device, comm::Communicator& comm,
          const core::StopFlag& stop)
      : config_(config), device_(device), comm_(comm), stop_(stop) {
    network_ = choose_network(config.network, config.weights, config.dims);
    network_.sha256 = comm.on_root([&] { return encoders::weights_sha256(network_.weights, stop); });
  }

  const NetworkChoice& network() const { return network_; }

  Measured measure(const Side& side) {
    if (side.is_file()) {
      Statistics found = read_statistics(side.place);
      if (comm_.rank() == 0) check_about(found, side.place, network_, config_);
      return {false, 0, std::move(found), side.place, side.place};
    }
    GatherPlan plan = plan_of(side, network_, config_, device_);
    plan.features = [&](std::int64_t first, std::int64_t last) {
      if (!net_) {
        net_ = network_.load();
        net_->to(device_);
      }
      return features_of(side, *net_, network_, config_, device_, first, last);
    };
    Gathered found = gather(plan, comm::share_of(comm_, config_.task), comm_, stop_);
    return {found.stopped,
            found.missing,
            found.statistics.value_or(Statistics{}),
            statistics_file(plan).string(),
            side.pictures->text(),
            plan};
  }

 private:
  const ScoreConfig& config_;
  torch::Device device_;
  comm::Communicator& comm_;
  const core::StopFlag& stop_;
  NetworkChoice network_;
  std::unique_ptr<FeatureNet> net_;  ///< loaded when the first picture is
};

/// NETWORK-RESIZE-vs-REFERENCE-<8 digits of both sides>.json
fs::path numbers_file(const Side& own, const Side& other, const Measured& a, const Measured& b,
                      const ScoreConfig& config) {
  std::string key = a.statistics.about + b.statistics.about + core::whole_path(other.place).string();
  if (config.kid_subsets > 0) key += fmt::format(" KID {} {}", config.kid_subsets, config.seed);
  const std::string digits = core::sha256(std::as_bytes(std::span(key))).substr(0, 8);
  fs::path home = config.out;
  if (home.empty())
    home = own.is_file() ? core::whole_path(own.place).parent_path() : own.folder() / "scores";
  return home /
         fmt::format("{}-{}-vs-{}-{}.json", config.network, config.resize, last_name(other.place), digits);
}

void warn_of_few(const Measured& side, std::int64_t dims) {
  const std::int64_t n = side.statistics.gaussian.n;
  if (n > 0 && n <= dims)
    core::log_warn(
        "{}: fewer pictures than the {} features: the distance is biased upwards, and comparable only with "
        "others of "
        "as many pictures",
        side.text, dims);
}

/// Adds KID to the numbers; the same in words.
std::string measure_kid(const Measured& a, const Measured& b, torch::Device device,
                        const NetworkChoice& network, const ScoreConfig& config, const core::StopFlag& stop,
                        core::Json& numbers) {
  const KernelDistance found =
      kernel_distance(read_features(a.plan).to(device), read_features(b.plan).to(device), config.kid_subsets,
                      config.seed, stop);
  const std::string name = network.name == "inception" ? "kid" : "kernel_distance";
  numbers[name] = found.mean;
  numbers[name + "_deviation"] = found.deviation;
  numbers["settings"]["kid"] = {
      {"subsets", found.subsets}, {"subset_size", found.subset_size}, {"seed", config.seed}};
  return fmt::format("; {} {:.6f}, deviation {:.6f} over {} subset{} of {}",
                     name == "kid" ? "KID" : "kernel distance (no KID)", found.mean, found.deviation,
                     found.subsets, found.subsets == 1 ? "" : "s", found.subset_size);
}

/// Rank 0.
void publish(const Side& own, const Side& other, const Measured& a, const Measured& b,
             const NetworkChoice& network, torch::Device device, const ScoreConfig& config,
             const core::StopFlag& stop) {
  warn_of_few(a, network.dims);
  warn_of_few(b, network.dims);
  const double distance = frechet_distance(a.statistics.gaussian, b.statistics.gaussian);
  core::Json numbers = {{network.name == "inception" ? "fid" : "frechet_distance", distance}};
  numbers["settings"] = {{"network", network.name},
                         {"weights", network.weights.filename().string()},
                         {"weights_sha256", network.sha256},
                         {"features", network.dims},
                         {"resize", config.resize}};
  if (config.reference_size > 0) numbers["settings"]["reference_size"] = config.reference_size;
  numbers["pictures"] = side_json(a);
  numbers["reference"] = side_json(b);
  std::string kid;
  if (config.kid_subsets > 0) kid = measure_kid(a, b, device, network, config, stop, numbers);
  const fs::path file = numbers_file(own, other, a, b, config);
  fs::create_directories(file.parent_path());
  core::write_json(file, numbers);
  core::log_info("{} {:.4f}{} ({}, {} features, resize {}): {} against {}; numbers in {}",
                 network.name == "inception" ? "FID" : "Fréchet distance (no FID: another network)", distance,
                 kid, network.title, network.dims, config.resize, sized(a), sized(b), file.string());
}

}  // namespace

int score(const std::string& pictures, const std::string& reference, const ScoreConfig& config,
          torch::Device device, comm::Communicator& comm, const core::StopFlag& stop) {
  check_sides(pictures, reference, config);
  const Side own = open_side(pictures, config.split, 0);
  std::optional<Side> other;
  if (!reference.empty()) other = open_side(reference, config.split, config.reference_size);
  Scoring scoring(config, device, comm, stop);
  const Measured a = scoring.measure(own);
  const Measured b = !a.stopped && other ? scoring.measure(*other) : Measured{};
  if (a.stopped || b.stopped || a.missing + b.missing > 0)
    return unfinished(a.stopped || b.stopped, a.missing + b.missing);
  const comm::WiderDeadline others_wait_for_rank_0(comm, kLongestSubsets_s);
  comm.on_root([&] {
    if (!config.save.empty()) write_statistics(config.save, a.statistics);
    if (other)
      publish(own, *other, a, b, scoring.network(), device, config, stop);
    else
      core::log_info("statistics of {} in {}", a.text, config.save.empty() ? a.file : config.save);
  });
  return core::kDone;
}

int write_captions(const std::string& reference, const ScoreConfig& config, comm::Communicator& comm) {
  comm.on_root([&] {
    if (reference.empty() || names_statistics(reference))
      core::user_error("captions={}: --reference must be a dataset or a folder that generate wrote",
                       config.captions);
    const auto pictures = open_pictures(reference, config.split);
    draw_captions(*pictures, config.draw, config.seed, config.captions);
    core::log_info("{} captions of {} in {}", config.draw, pictures->text(), config.captions);
  });
  return core::kDone;
}

int describe_score(const std::string& pictures, const std::string& reference, const ScoreConfig& config,
                   comm::Communicator& comm, const core::StopFlag& stop) {
  const comm::Share share = comm::share_of(comm, config.task);
  comm.on_root([&] {
    if (!pictures.empty()) check_sides(pictures, reference, config);
    NetworkChoice network = choose_network(config.network, config.weights, config.dims);
    network.load();
    network.sha256 = encoders::weights_sha256(network.weights, stop);
    fmt::print("score: {}, {} features, resize {}\n", network.title, network.dims, config.resize);
    for (const auto& [place, crop] :
         {std::pair(pictures, std::int64_t{0}), {reference, config.reference_size}}) {
      if (place.empty()) continue;
      const Side side = open_side(place, config.split, crop);
      if (side.is_file()) {
        const Statistics found = read_statistics(place);
        check_about(found, place, network, config);
        fmt::print("  {}: statistics of {} features\n", place, found.gaussian.mu_D.size(0));
        continue;
      }
      const GatherPlan plan = plan_of(side, network, config, torch::kCPU);
      const std::int64_t parts = (plan.count + plan.part_size - 1) / plan.part_size;
      fmt::print("  {}: {} part{} of {}, over {} slot{}; {} {}\n", plan.what, parts, parts == 1 ? "" : "s",
                 plan.part_size, share.slots, share.slots == 1 ? "" : "s",
                 fs::exists(statistics_file(plan)) ? "there already:" : "to be made:",
                 statistics_file(plan).string());
    }
    fmt::print("pictures, network and settings are good; nothing was written\n");
  });
  return core::kDone;
}

}  // namespace microdit::score
