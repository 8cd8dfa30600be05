// A codec's folder with drawn weights, for tests.
#pragma once

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "core/error.h"
#include "encoders/image_codec.h"
#include "encoders/temporary_folder.h"

namespace microdit::encoders {

inline constexpr const char* kWeights = "diffusion_pytorch_model.safetensors";

class CodecFolder : public testing::Test {
 protected:
  CodecFolder() {
    AutoencoderConfig c;
    c.block_out_channels = {8, 16};
    c.norm_num_groups = 4;
    c.latent_channels = 3;
    c.scaling_factor = 1.25;
    c.shift_factor = 0.125;
    net_ = std::make_shared<Autoencoder>(c);
    net_->initialize(5);
    save_autoencoder(folder(), *net_, false);
    torch::manual_seed(2);
    pixels_ = torch::randint(0, 256, {2, 8, 12, 3}, torch::kUInt8);
  }
  const std::filesystem::path& folder() const { return place_.path(); }
  std::string refusal() const {
    return message_of<core::UserError>([&] { load_image_codec(folder()); });
  }
  void edit_config(const std::function<void(core::Json&)>& edit) const {
    core::Json json = core::read_json(folder() / "config.json");
    edit(json);
    core::write_json(folder() / "config.json", json);
  }
  TemporaryFolder place_;
  std::shared_ptr<Autoencoder> net_;
  torch::Tensor pixels_;
};

}  // namespace microdit::encoders
