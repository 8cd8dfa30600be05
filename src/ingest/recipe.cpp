// A recipe's keys, their ranges, and what must hold between them.
#include "ingest/recipe.h"

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/shipped.h"
#include "encoders/image_codec.h"
#include "store/manifest_text.h"

namespace microdit::ingest {

void ImageRecipe::fields(core::Fields& f) {
  f.field("codec", codec,
          {.required = true,
           .help = "folder of an AutoencoderKL in the diffusers layout; none or grey = the pixels "
                   "themselves, for small "
                   "pictures; none_2, grey_2 ... _8: 2 x 2 (8 x 8) of them as one place with more channels"});
  f.field("latent", latent, {.choices = {"mean", "sample"}, .help = "the posterior's mean or one sample"});
  f.field("sizes", sizes, {.min = 8, .max = 8192, .help = "picture sizes, pixels"});
  f.field("enlarge", enlarge,
          {.help = "true: every picture gets every size; false: none larger than its shorter side"});
  f.field(
      "flips", flips,
      {.help = "true: each picture is two samples, itself and its mirror image (left and right exchanged)"});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "pictures per encoder call"});
  f.field("precision", precision, {.choices = {"fp32", "bf16"}, .help = "of the codec"});
  f.field("seed", seed, {.min = 0, .help = "of latent: sample"});
  if (!f.reading()) return;
  if (encoders::pixel_codec(codec) && latent == "sample")
    f.error("latent", fmt::format("pixels have no posterior: codec: {} takes mean", codec));
  if (sizes.empty()) f.error("sizes", "name at least one size");
  if (!std::ranges::is_sorted(sizes, std::less_equal<>())) f.error("sizes", "must ascend, each once");
}

void TextRecipe::fields(core::Fields& f) {
  f.field(
      "encoder", encoder,
      {.required = true,
       .help = "folder of the text encoder; none = captions are not encoded, for models that take classes"});
  f.field("length", length, {.min = 1, .max = 4096, .help = "token rows per caption"});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "captions per encoder call"});
  f.field("precision", precision, {.choices = {"fp32", "bf16"}, .help = "of the text encoder"});
  f.field("int8", int8, {.help = "store rows as int8 with one scale each (half the bytes)"});
  f.field("tokens_only", tokens_only, {.help = "store token ids alone; the encoder then runs in training"});
  if (f.reading() && !has_encoder()) {
    for (const char* key : {"length", "batch_size", "precision", "int8", "tokens_only"})
      if (f.given(key)) f.error(key, "is of an encoder; with encoder: none leave it out");
    length = 1;
    tokens_only = true;
    return;
  }
  if (f.reading() && int8 && tokens_only)
    f.error("int8", "tokens_only stores no rows: choose one of the two");
}

void Recipe::fields(core::Fields& f) {
  f.field("name", name, {.max = 200, .required = true, .help = "of its folder: latents/DATASET/NAME"});
  f.section("images", images);
  f.section("text", text);
  if (f.reading() && !name.empty() && !store::is_plain_name(name))
    f.error("name", fmt::format("'{}': use letters, digits, '-', '_' and '.' only", name));
}

Recipe load_recipe(const std::string& dataset, const std::filesystem::path& named) {
  if (named.empty())
    core::user_error("dataset {}: its entry names no recipe: add recipe=configs/latents/NAME.yaml", dataset);
  const std::filesystem::path file = core::shipped(named);
  if (!std::filesystem::exists(file))
    core::user_error("dataset {}: recipe: {}: no such file; recipe=configs/latents/NAME.yaml names another",
                     dataset, file.string());
  auto recipe = core::load<Recipe>(file);
  for (std::string* folder : {&recipe.images.codec, &recipe.text.encoder})
    *folder = core::shipped(*folder).string();
  return recipe;
}

}  // namespace microdit::ingest
