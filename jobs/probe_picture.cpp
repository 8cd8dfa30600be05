// probe encode, decode, resize: the image codec's raw network, and the resize.
#include <torch/utils.h>

#include "comm/device.h"
#include "core/atomic_file.h"
#include "encoders/image_codec.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/resize.h"
#include "ingest/picture_rules.h"
#include "nn/state_dict.h"
#include "probe.h"

namespace microdit::jobs {

namespace {

struct CodecConfig {
  std::string device = "cpu", precision = "fp32";
  void fields(core::Fields& f) {
    f.field("device", device, {.choices = {"cpu", "cuda"}});
    f.field("precision", precision, {.choices = {"fp32", "bf16"}});
  }
};

struct ResizeConfig {
  std::int64_t size = 0;
  ingest::PictureSection pictures;
  ResizeConfig() { pictures.damaged_inside = "keep"; }
  void fields(core::Fields& f) {
    f.field("size", size, {.min = 1, .required = true, .help = "side in pixels"});
    f.section("pictures", pictures);
  }
};

/// The folder's codec on the device and in the precision that the words say.
std::shared_ptr<encoders::ImageCodec> load_codec(Job& job) {
  const auto config = load_words<CodecConfig>(job);
  const torch::Device device(comm::choose_device(job.comm, config.device).name());
  auto codec = encoders::load_image_codec(needed_path(job, "codec"));
  if (codec->net() == nullptr) core::user_error("codec: none has no network to ask; name a folder");
  codec->to(device);
  codec->set_precision(config.precision);
  return codec;
}

/// Pictures [B, 3, H, W] in [-1, 1] from `pixels` or `image`.
torch::Tensor read_pictures(const std::filesystem::path& path) {
  const nn::StateDict tensors = nn::load_tensors(path);
  if (const auto found = tensors.find("pixels"); found != tensors.end()) {
    const torch::Tensor& pixels = found->second;
    if (pixels.dim() != 4 || pixels.size(3) != 3 || pixels.scalar_type() != torch::kByte) {
      core::user_error("{}: tensor \"pixels\" must be U8 [B, H, W, 3]", path.string());
    }
    return pixels.permute({0, 3, 1, 2}).to(torch::kFloat).div(127.5).sub(1).contiguous();
  }
  const auto found = tensors.find("image");
  if (found == tensors.end())
    core::user_error("{}: tensor \"pixels\" or \"image\" is missing", path.string());
  if (found->second.dim() != 4 || found->second.size(1) != 3 || !found->second.is_floating_point()) {
    core::user_error("{}: tensor \"image\" must be floating point [B, 3, H, W] in [-1, 1]", path.string());
  }
  return found->second.to(torch::kFloat);
}

void check_sides(const torch::Tensor& images, std::int64_t factor, const std::filesystem::path& path) {
  if (images.size(2) % factor != 0 || images.size(3) % factor != 0 || images.numel() == 0) {
    core::user_error("{}: pictures of {} x {} pixels; both sides must be multiples of {}", path.string(),
                     images.size(2), images.size(3), factor);
  }
}

}  // namespace

int probe_encode(Job& job) {
  const std::filesystem::path input = needed_path(job, "input");
  const auto codec = load_codec(job);
  const torch::Tensor images = read_pictures(input);
  check_sides(images, codec->downscale(), input);
  const torch::Tensor moments = codec->moments(images);
  const torch::Tensor mean = moments.chunk(2, 1)[0];
  const torch::Tensor latents = encoders::scale_latents(codec->net()->config(), mean);
  nn::save_tensors(needed_path(job, "output"), {{"moments", moments}, {"mean", mean}, {"latents", latents}});
  return core::kDone;
}

int probe_decode(Job& job) {
  const std::filesystem::path input = needed_path(job, "input");
  const auto codec = load_codec(job);
  const nn::StateDict tensors = nn::load_tensors(input);
  const auto found = tensors.find("latents");
  if (found == tensors.end()) core::user_error("{}: tensor \"latents\" is missing", input.string());
  const torch::Tensor& latents = found->second;
  if (latents.dim() != 4 || latents.size(1) != codec->channels() || latents.numel() == 0 ||
      !latents.is_floating_point()) {
    core::user_error("{}: tensor \"latents\" must be floating point [B, {}, h, w]", input.string(),
                     codec->channels());
  }
  nn::save_tensors(needed_path(job, "output"), {{"image", codec->picture(latents)}});
  return core::kDone;
}

int probe_resize(Job& job) {
  const auto config = load_words<ResizeConfig>(job);
  const std::filesystem::path input = needed_path(job, "input");
  const std::string bytes = core::read_text(input);
  try {
    const auto picture = std::as_bytes(std::span(bytes));
    if (config.pictures.frames == "skip" && image::has_several_frames(picture))
      core::user_error(
          "{}: several frames, and pictures.frames=skip leaves such a picture out (first takes it)",
          input.string());
    bool damaged_inside = false;
    const image::Image source = image::decode(picture, config.pictures.decode_rules(), &damaged_inside);
    if (damaged_inside && config.pictures.damaged_inside == "skip")
      core::user_error("{}: a JPEG with bad data inside; pictures.damaged_inside=keep takes what there is",
                       input.string());
    const std::vector<std::byte> png = image::encode_png(image::resize_and_center_crop(source, config.size));
    core::atomic_write(needed_path(job, "output"), png);
  } catch (const image::BadImage& error) {
    core::user_error("{}: {}", input.string(), error.what());
  }
  return core::kDone;
}

}  // namespace microdit::jobs
