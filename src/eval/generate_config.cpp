// generate's keys, and what a picture's notes make of them.
#include <algorithm>

#include "eval/generate.h"

namespace microdit::eval {

void GenerateConfig::fields(core::Fields& f) {
  f.field("num_images", num_images, {.min = 1, .max = 1e6, .help = "pictures per prompt"});
  f.field("seed", seed, {.help = "picture i of the list uses seed + i"});
  f.field("negative", negative,
          {.max = 100000, .help = "negative prompt: what guidance leads away from; empty = no condition"});
  f.field(
      "class", class_name,
      {.max = 1000,
       .help = "of a model of text and classes: name or number of the class of all pictures; empty = none"});
  f.field("out", out, {.help = "folder; empty = RUN/images/NNN-<first prompt>, one per call"});
  f.field("save_latents", save_latents,
          {.help = "also latents.safetensors: unit (start noise), text (and text_mask), sample"});
  f.field(
      "metadata", metadata,
      {.help = "pictures hold their settings (text `parameters`, as picture tools read, and `microdit`, as "
               "--from-image reads); false: nothing, only the folder's manifest.jsonl"});
  f.field(
      "layout", layout,
      {.choices = {"flat", "geneval"},
       .help = "geneval: 00000/samples/0000.png and metadata.jsonl for each line of --prompts FILE.jsonl"});
  f.field("trajectory", trajectory,
          {.min = 0,
           .max = 100,
           .help = "also a strip of so many states from noise to picture for each, every state brought to "
                   "the picture's root mean square; 0 = none"});
  if (f.reading() && trajectory == 1) f.error("trajectory", "a way has at least 2 states");
  run.fields(f);
  for (const char* key :
       {"num_images", "seed", "negative", "class", "step", "weights", "precision", "batch_size"})
    if (f.given(key)) given.emplace_back(key);
}

bool GenerateConfig::is_given(std::string_view key) const {
  return std::ranges::find(given, key) != given.end();
}

GenerateConfig GenerateConfig::repeating(const PictureNotes& notes) const {
  GenerateConfig c = *this;
  const auto take = [this](const char* key, auto& value, const auto& theirs) {
    if (!is_given(key)) value = theirs;
  };
  take("num_images", c.num_images, 1);
  take("seed", c.seed, notes.seed);
  take("negative", c.negative, notes.negative);
  take("class", c.class_name, notes.class_name);
  const auto has = [](const diffusion::SamplerConfig& sampler, std::string_view key) {
    return std::ranges::find(sampler.given, key) != sampler.given.end();
  };
  diffusion::SamplerConfig& sampler = c.run.sampler;
  if (!has(sampler, "steps") && has(notes.sampler, "steps")) sampler.steps = notes.sampler.steps;
  if (!notes.is_foreign) {
    take("step", c.run.step, notes.step);
    take("weights", c.run.weights, notes.weights);
    take("precision", c.run.compute.precision, notes.precision);
    take("batch_size", c.run.batch_size, notes.batch_size);
    sampler = sampler.over(notes.sampler);
    sampler.given = {"all"};  // none of the run's
  } else if (!has(sampler, "guidance") && has(notes.sampler, "guidance")) {
    sampler.guidance = notes.sampler.guidance;
    sampler.given.emplace_back("guidance");
  }
  c.repeated = notes;
  return c;
}

}  // namespace microdit::eval
