// The C++ side of encoders_oracle_test.py: runs what that script laid out in MICRODIT_ORACLE_DIR.
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cstdlib>

#include "core/json.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

nn::StateDict run(Autoencoder& net, const nn::StateDict& input) {
  const torch::NoGradGuard no_grad;
  return {{"moments", net.encode_moments(input.at("image"))},
          {"picture", net.decode(input.at("latent")).contiguous()}};
}

TEST(Oracle, Dump) {
  const char* place = std::getenv("MICRODIT_ORACLE_DIR");
  if (place == nullptr) GTEST_SKIP() << "encoders_oracle_test.py runs this with MICRODIT_ORACLE_DIR";
  for (const auto& entry : fs::directory_iterator(place)) {
    const fs::path folder = entry.path();
    if (fs::is_directory(folder / "theirs")) {
      const auto input = nn::load_tensors(folder / "input.safetensors");
      const AutoencoderConfig config = load_image_codec(folder / "theirs")->net()->config();
      Autoencoder net(config);
      nn::load_state_dict(net, nn::load_tensors(folder / "theirs/diffusion_pytorch_model.safetensors"),
                          "theirs");
      nn::save_tensors(folder / "theirs_here.safetensors", run(net, input));
      net.initialize(9);
      save_autoencoder(folder / "ours", net, false);
      nn::save_tensors(folder / "ours_here.safetensors", run(net, input));
    }
    if (folder.filename() == "text.json") {
      const core::Json task = core::read_json(folder);
      const auto captions = task["captions"].get<std::vector<std::string>>();
      const auto encoder = load_text_encoder(task["folder"].get<std::string>());
      const EncodedText text = encoder->encode(captions, task["length"].get<std::int64_t>());
      nn::save_tensors(fs::path(place) / "text.safetensors",
                       {{"ids", text.ids_BL}, {"states", text.states_BLD}});
      core::Json ids = core::Json::array();
      for (const auto& spelling : task["spellings"])
        ids.push_back(encoder->tokenizer().encode(spelling.get<std::string>()));
      core::write_json(fs::path(place) / "spellings_here.json", ids);
    }
  }
}

}  // namespace
}  // namespace microdit::encoders
