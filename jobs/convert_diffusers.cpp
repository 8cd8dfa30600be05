// The folder, part by part.
#include "convert_diffusers.h"

#include <torch/utils.h>

#include <cstring>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/utf8.h"
#include "diffusion/diffusers_scheduler.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "models/unet_diffusers.h"
#include "nn/state_dict.h"
#include "output_path.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr const char* kStem = "diffusion_pytorch_model";

/// A folder that is built aside, and is there at once and whole, or not at all.
class FolderAside {
 public:
  explicit FolderAside(fs::path to) : to_(std::move(to)), aside_(core::temporary_path(to_)) {
    fs::create_directory(aside_);
  }
  ~FolderAside() {
    std::error_code ignored;
    fs::remove_all(aside_, ignored);
  }
  FolderAside(const FolderAside&) = delete;
  FolderAside& operator=(const FolderAside&) = delete;
  fs::path part(const char* name) const {
    fs::create_directory(aside_ / name);
    return aside_ / name;
  }
  const fs::path& path() const { return aside_; }
  void publish() {
    for (const fs::directory_entry& entry : fs::directory_iterator(aside_))
      if (entry.is_directory()) core::sync_folder(entry.path());
    if (fs::exists(to_)) core::user_error("convert: --output {} has appeared meanwhile", to_.string());
    core::publish(aside_, to_);
  }

 private:
  fs::path to_, aside_;
};

void copy_whole(const fs::path& from, const fs::path& to) {
  const fs::path aside = core::temporary_path(to);
  fs::copy_file(from, aside);  // follows links
  if (fs::file_size(from) != fs::file_size(aside))
    core::system_error("{}: {} bytes of {} were copied", to.string(), fs::file_size(aside),
                       fs::file_size(from));
  core::publish(aside, to);
}

bool is_weights_of(const std::string& name, const std::string& stem, const char* kind) {
  return name.starts_with(stem) &&
         (name.ends_with(kind) || name.ends_with(std::string(kind) + ".index.json"));
}

/// config.json and the weights as they lie; a variant's one file under the plain name.
void copy_network(const fs::path& from, const fs::path& to, const std::string& stem,
                  const std::string& torch_stem) {
  copy_whole(from / "config.json", to / "config.json");
  std::vector<std::string> found;
  for (const auto& [name, kind] : {std::pair(stem, ".safetensors"), std::pair(torch_stem, ".bin")}) {
    if (!found.empty()) break;
    for (const fs::directory_entry& entry : fs::directory_iterator(from))
      if (const std::string file = entry.path().filename().string(); is_weights_of(file, name, kind))
        found.push_back(file);
  }
  const auto is_variant = [](const std::string& file) { return file.find(".fp16.") != file.npos; };
  const bool only_variant = std::ranges::all_of(found, is_variant);
  if (found.empty() || (only_variant && found.size() != 1))
    core::user_error(
        "convert: {}: neither {}.safetensors nor a sharded set, nor {}.bin: convert its weights "
        "first (convert --input FILE --output {})",
        from.string(), stem, torch_stem, (from / (stem + ".safetensors")).string());
  for (std::string file : found) {
    if (is_variant(file) && !only_variant) continue;
    const fs::path source = from / file;
    if (const std::size_t at = file.find(".fp16."); at != file.npos) file.erase(at, 5);
    copy_whole(source, to / file);
  }
}

/// What transformers' tokenizers read.
void copy_tokenizer(const fs::path& from, const fs::path& to) {
  std::size_t copied = 0;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model"})
    if (fs::exists(from / name)) {
      copy_whole(from / name, to / name);
      ++copied;
    }
  if (copied == 0)
    core::user_error("convert: {}: no tokenizer.json, vocab.txt, vocab.json or spiece.model", from.string());
}

/// transformers' classes of a text encoder and its tokenizer; empty: it has none of this kind.
std::pair<std::string, std::string> transformers_classes(const std::string& kind) {
  if (kind == "bert") return {"BertModel", "BertTokenizerFast"};
  if (kind == "clip") return {"CLIPTextModel", "CLIPTokenizer"};
  if (kind == "t5") return {"T5EncoderModel", "T5TokenizerFast"};
  return {};
}

void write_unet(const eval::TrainedRun& run, const fs::path& folder) {
  core::write_json(folder / "config.json", models::diffusers_config(run.facts.model));
  const auto net = run.load_model(torch::kCPU);
  const nn::StateDict written = nn::state_dict(*net);
  const fs::path file = folder / fmt::format("{}.safetensors", kStem);
  nn::save_tensors(file, written);
  const nn::StateDict back = nn::load_tensors(file);
  for (const auto& [name, tensor] : written)
    if (!back.contains(name) || !torch::equal(back.at(name), tensor.detach()))
      core::system_error("{}: {} is not what was written", file.string(), name);
}

/// The pipeline of diffusers that paints as the run does when its parts are put together; else our own.
std::string pipeline_of(const eval::TrainedRun& run, const diffusion::DiffusersScheduler& scheduler) {
  const models::DenoiserConfig& model = run.facts.model;
  const bool pixels = encoders::pixel_codec(run.facts.codec).has_value(), plain = model.unet.is_plain();
  const bool ddim = scheduler.class_name == "DDIMScheduler", ddpm = scheduler.class_name == "DDPMScheduler";
  if (pixels && plain && !model.takes_classes() && (ddim || ddpm))
    return ddim ? "DDIMPipeline" : "DDPMPipeline";
  const encoders::CodecFacts& codec = run.facts.codec;
  const bool scaled_alone = codec.shift_factor == 0 && codec.latents_mean.empty();
  // StableDiffusionPipeline moves the times of the grid "leading" by one (steps_offset), whatever its scheduler says.
  const bool plain_scheduler = scheduler.config.value("timestep_spacing", "") != "leading" &&
                               !scheduler.class_name.starts_with("EDM") &&
                               !scheduler.class_name.starts_with("FlowMatch");
  if (!pixels && scaled_alone && run.facts.text_encoder.kind == "clip" && model.takes_text() &&
      !model.takes_classes() && !model.text_mask && plain_scheduler &&
      !scheduler.step.contains("use_clipped_model_output"))
    return "StableDiffusionPipeline";
  return "MicroditPipeline";
}

/// model_index.json: which parts there are, and what the pipeline is to know beside.
Json index_of(const eval::TrainedRun& run, const DiffusersFolder& folder,
              const diffusion::DiffusersScheduler& scheduler) {
  const models::DenoiserConfig& model = run.facts.model;
  Json index;
  index["_class_name"] = folder.is_own() ? Json{"pipeline", folder.pipeline} : Json(folder.pipeline);
  index["scheduler"] = {"diffusers", scheduler.class_name};
  index["unet"] = {"diffusers", model.unet.class_name};
  if (!encoders::pixel_codec(run.facts.codec)) index["vae"] = {"diffusers", "AutoencoderKL"};
  if (folder.has_text_encoder) {
    const auto [encoder, tokenizer] = transformers_classes(run.facts.text_encoder.kind);
    index["text_encoder"] = {"transformers", encoder};
    index["tokenizer"] = {"transformers", tokenizer};
  }
  if (folder.pipeline == "StableDiffusionPipeline") {
    for (const char* none : {"feature_extractor", "image_encoder", "safety_checker"})
      index[none] = {nullptr, nullptr};
    index["requires_safety_checker"] = false;
  }
  if (!folder.is_own()) return index;
  if (model.takes_text()) {
    index["text_length"] = run.facts.text_length;
    index["zero_pads"] = run.facts.text_encoder.pads == "zero";
    index["text_mask"] = model.text_mask;
  }
  if (model.learned_null) index["null_class"] = model.num_classes;
  for (const auto& [key, value] : scheduler.step.items()) index[key] = value;
  return index;
}

void copy_encoders(const eval::TrainedRun& run, const FolderAside& aside, bool with_text) {
  if (!encoders::pixel_codec(run.facts.codec))
    copy_network(encoders::find_image_codec_folder(run.facts.codec, run.folder), aside.part("vae"), kStem,
                 kStem);
  if (!with_text) return;
  const fs::path from = encoders::find_text_encoder_folder(run.facts.text_encoder, run.folder);
  copy_network(from, aside.part("text_encoder"), "model", "pytorch_model");
  copy_tokenizer(from, aside.part("tokenizer"));
}

}  // namespace

void run_to_diffusers(const fs::path& input, const eval::RunOptions& options, const fs::path& given,
                      comm::Communicator& comm) {
  const fs::path output = core::whole_path(given);
  check_output(output);
  if (fs::exists(output) || fs::is_symlink(output))
    core::user_error("convert: --output {} is there already; name a new folder", given.string());
  if (!fs::is_directory(input))
    core::user_error(
        "convert: format=diffusers: --input {} is no run; a file of weights does not say which network, "
        "codec "
        "and sampler they belong to",
        input.string());
  core::remove_stale_temporaries_of(output);
  const eval::TrainedRun run = eval::open_run(input, options, comm);
  if (run.sampler.guidance_min > 0 || run.sampler.guidance_max < diffusion::SamplerConfig().guidance_max)
    core::user_error(
        "convert: guidance between {} and {}: diffusers guides everywhere; say guidance_min=0 "
        "guidance_max=1e9 to leave the bounds out",
        run.sampler.guidance_min, run.sampler.guidance_max);
  const models::DenoiserConfig& model = run.facts.model;
  models::diffusers_config(model);  // which kinds of network go comes before all else
  if (model.text_conditioner)
    core::user_error(
        "convert: format=diffusers: diffusers has no network with a text encoder inside "
        "(model.text_conditioner); "
        "--output FILE.safetensors writes the weights");
  if (const auto pixels = encoders::pixel_codec(run.facts.codec); pixels && pixels->downscale > 1)
    core::user_error(
        "convert: format=diffusers: the run's latents are folded pixels (codec: {}), which diffusers cannot "
        "unfold; "
        "--output FILE.safetensors writes the weights",
        pixels->name());
  const auto scheduler =
      diffusion::diffusers_scheduler(run.objective.config(), run.sampler, run.facts.latent_size);
  DiffusersFolder folder{.pipeline = pipeline_of(run, scheduler),
                         .name = core::with_valid_utf8(core::whole_path(run.folder).filename().string()),
                         .step = run.step(),
                         .weights = run.weights,
                         .takes_text = model.takes_text(),
                         .has_text_encoder = model.takes_text() &&
                                             !transformers_classes(run.facts.text_encoder.kind).first.empty(),
                         .takes_classes = model.takes_classes(),
                         .has_null = model.has_null()};
  FolderAside aside(output);
  write_unet(run, aside.part("unet"));
  core::write_json(aside.part("scheduler") / "scheduler_config.json", scheduler.config);
  copy_encoders(run, aside, folder.has_text_encoder);
  core::write_json(aside.path() / "model_index.json", index_of(run, folder, scheduler));
  core::atomic_write(aside.path() / "README.md", diffusers_readme(folder, run));
  if (folder.is_own()) core::atomic_write(aside.path() / "pipeline.py", diffusers_pipeline());
  aside.publish();
  core::log_info("{} ({}, step {}) -> {}: {}, {} with {}", run.folder.string(), run.weights, run.step(),
                 output.string(), folder.pipeline, model.unet.class_name, scheduler.class_name);
  if (folder.takes_text && !folder.has_text_encoder)
    core::log_warn(
        "transformers has no text encoder of kind {}: the pipeline is to be given text rows "
        "(prompt_embeds), see README.md",
        run.facts.text_encoder.kind);
}

}  // namespace microdit::jobs
