// Names to networks.
#include "score/network.h"

#include "core/config.h"
#include "core/error.h"
#include "encoders/fetch_command.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

/// The first of the files that is there.
fs::path find_weights(const std::string& network, const fs::path& folder,
                      const std::vector<std::string>& files) {
  for (const std::string& file : files)
    if (fs::exists(folder / file)) return folder / file;
  const std::string fetch = encoders::how_to_fetch(folder);
  core::user_error("network={}: no weights at {}{}", network, (folder / files.front()).string(),
                   fetch.empty() ? "; scripts/setup.sh places them, or name a file: weights=FILE"
                                 : fetch + ", or name a file: weights=FILE");
}

}  // namespace

NetworkChoice choose_network(const std::string& name, const std::string& weights, std::int64_t dims) {
  const fs::path home = core::data_root() / "weights";
  const auto file = [&](const char* folder, const std::vector<std::string>& files) {
    return weights.empty() ? find_weights(name, home / folder, files) : fs::path(weights);
  };
  NetworkChoice choice{
      .name = name, .title = {}, .weights = {}, .sha256 = {}, .scaling = "imagenet", .dims = 1280};
  if (name == "inception") {
    choice.title = "FID-Inception";
    choice.scaling = "inception";
    choice.dims = dims == 0 ? 2048 : dims;
    choice.weights =
        file("fid-inception", {"pt_inception-2015-12-05-6726825d.pth", "inception-2015-12-05.pt"});
    choice.load = [path = choice.weights, wanted = choice.dims] { return load_inception(path, wanted); };
  } else if (name == "efficientnet_lite0") {
    choice.title = "EfficientNet-Lite0";
    choice.weights = file("efficientnet-lite0", {"efficientnet-lite0-57934424.pth"});
    choice.load = [path = choice.weights] { return load_efficientnet_lite0(path); };
  } else {
    core::check(name == "mobilenet_v2", "network {}", name);
    choice.title = "MobileNetV2";
    choice.weights = file("mobilenet-v2", {"mobilenet_v2-b0353104.pth"});
    choice.load = [path = choice.weights] { return load_mobilenet_v2(path); };
  }
  if (!fs::is_regular_file(choice.weights))
    core::user_error("weights={}: no such file", choice.weights.string());
  return choice;
}

}  // namespace microdit::score
