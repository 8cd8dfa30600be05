// Each picture beside its caption; sums as for features, of one "feature".
#include "score/clip_score.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <cmath>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "encoders/clip_pair.h"
#include "encoders/encoder_facts.h"
#include "encoders/fetch_command.h"
#include "encoders/text_encoder.h"
#include "image/resize.h"
#include "score/gather.h"
#include "score/pictures.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const ScoreConfig& config) {
  const fs::path folder = config.weights.empty() ? core::data_root() / "weights/DFN5B-CLIP-ViT-H-14-378"
                                                 : fs::path(config.weights);
  if (!fs::is_directory(folder))
    core::user_error("network=clip: no folder {}{}; weights=FOLDER names another", folder.string(),
                     encoders::how_to_fetch(folder));
  return folder;
}

torch::Tensor prepared(const image::Image& picture, const encoders::ClipInput& input) {
  const image::Image square = input.squash ? image::resize_bicubic(picture, input.size, input.size)
                                           : image::resize_and_center_crop(picture, input.size);
  const torch::Tensor pixels = torch::from_blob(const_cast<std::uint8_t*>(square.pixels.data()),
                                                {input.size, input.size, 3}, torch::kByte)
                                   .permute({2, 0, 1})
                                   .to(torch::kFloat)
                                   .div(255);
  const auto channel = [](const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat).view({3, 1, 1});
  };
  return (pixels - channel(input.mean)) / channel(input.deviation);
}

/// [last - first, 1]: max(100 cos, 0).
torch::Tensor scores(const encoders::ClipPair& clip, const Pictures& pictures, std::int64_t first,
                     std::int64_t last) {
  const encoders::ClipInput& input = clip.input();
  std::vector<std::string> captions;
  for (std::int64_t i = first; i < last; ++i) {
    captions.push_back(pictures.caption(i));
    if (captions.back().empty())
      core::user_error(
          "network=clip: picture {} of {} has no caption: the output of generate has, and datasets", i,
          pictures.folder().string());
  }
  torch::Tensor batch_BCHW = torch::empty({last - first, 3, input.size, input.size});
  at::parallel_for(0, last - first, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      batch_BCHW[i].copy_(prepared(pictures.picture(first + i), input));
  });
  const torch::Tensor cosine = (clip.pictures(batch_BCHW) * clip.captions(captions)).sum(1, true);
  return (100 * cosine).clamp_min(0);
}

}  // namespace

int clip_score(const std::string& place, const ScoreConfig& config, torch::Device device,
               comm::Communicator& comm, const core::StopFlag& stop) {
  const auto pictures = open_pictures(place, config.split);
  const fs::path folder = folder_of(config);
  const core::Json network = core::parse_json(comm.on_root([&] {
    const encoders::TextEncoderFacts text = encoders::describe_text_encoder(folder, stop);
    return core::Json{{"weights_sha256", text.sha256},
                      {"text", text.network},
                      {"tokenizer_sha256", text.tokenizer_sha256},
                      {"pictures", encoders::clip_pair_network(folder)}}
        .dump();
  }),
                                              "facts");
  const std::string sha256 = network.at("weights_sha256");
  GatherPlan plan;
  plan.what = pictures->text();
  plan.count = pictures->count();
  plan.dims = 1;
  plan.part_size = config.part_size;
  plan.batch_size = config.batch_size;
  plan.about = {{"network", "clip"}, {"clip", network}, {"pictures", pictures->identity()}};
  plan.folder = statistics_folder(place, plan.about, config);
  plan.device = device;
  std::unique_ptr<encoders::ClipPair> clip;
  plan.features = [&](std::int64_t first, std::int64_t last) {
    if (!clip) {
      clip = encoders::load_clip_pair(folder, stop);
      clip->to(device);
    }
    return scores(*clip, *pictures, first, last);
  };
  const Gathered found = gather(plan, comm::share_of(comm, config.task), comm, stop);
  if (found.stopped || found.missing > 0) return unfinished(found.stopped, found.missing);
  comm.on_root([&] {
    const Gaussian& all = found.statistics->gaussian;
    const double mean = all.mu_D[0].item<double>();
    const double error = std::sqrt(all.sigma_DD[0][0].item<double>() / static_cast<double>(all.n));
    const core::Json numbers = {
        {"clip_score", mean},
        {"standard_error", error},
        {"settings",
         {{"network", "clip"}, {"weights", folder.filename().string()}, {"weights_sha256", sha256}}},
        {"pictures", {{"of", pictures->text()}, {"n", all.n}}}};
    const fs::path home = config.out.empty() ? pictures->folder() / "scores" : fs::path(config.out);
    const fs::path file = home / fmt::format("clip-{}.json", sha256.substr(0, 8));
    fs::create_directories(home);
    core::write_json(file, numbers);
    core::log_info("CLIP score {:.4f} +- {:.4f} ({}): {}; numbers in {}", mean, error,
                   folder.filename().string(), pictures->text(), file.string());
  });
  return core::kDone;
}

int describe_clip_score(const std::string& place, const ScoreConfig& config, comm::Communicator& comm,
                        const core::StopFlag& stop) {
  comm.on_root([&] {
    const auto pictures = open_pictures(place, config.split);
    const auto clip = encoders::load_clip_pair(folder_of(config), stop);
    scores(*clip, *pictures, 0, 1);
    fmt::print(
        "score: CLIP score of {} by {}, pictures of {} px\npictures, captions and network are good; nothing "
        "was written\n",
        pictures->text(), folder_of(config).string(), clip->input().size);
  });
  return core::kDone;
}

}  // namespace microdit::score
