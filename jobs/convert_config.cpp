// Key by key; docs/migration.md has the same table.
#include "convert_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <regex>

#include "core/atomic_file.h"
#include "core/config_origins.h"
#include "core/error.h"
#include "core/log.h"
#include "core/utf8.h"
#include "train/train_config.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;
using core::GivenValue;

/// As YAML reads it back: numbers, which have no type in a foreign file, bare.
std::string yaml_text(const std::string& text) {
  static const std::regex number("[0-9.+-]+([eE][0-9+-]+)?");
  return std::regex_match(text, number) ? text : core::yaml_string(text);
}

class Carrier {
 public:
  explicit Carrier(std::vector<GivenValue> values) : values_(std::move(values)) {}

  std::optional<GivenValue> take(const std::string& key) {
    const auto found = std::ranges::find(values_, key, &GivenValue::key);
    if (found == values_.end()) return std::nullopt;
    GivenValue value = std::move(*found);
    values_.erase(found);
    return value.is_null ? std::nullopt : std::optional(std::move(value));
  }
  /// What take(key) would find; "" where there is nothing.
  std::string text_of(const std::string& key) const {
    const auto found = std::ranges::find(values_, key, &GivenValue::key);
    return found == values_.end() ? "" : found->text;
  }
  /// A list's elements, or the one value that stands for a list.
  std::vector<GivenValue> take_list(const std::string& key) {
    std::vector<GivenValue> list;
    if (auto one = take(key)) list.push_back(std::move(*one));
    for (std::size_t i = 0; auto item = take(fmt::format("{}.{}", key, i)); ++i)
      list.push_back(std::move(*item));
    return list;
  }
  /// All below `section` says nothing that a setting here would.
  void same(const std::string& section, const std::string& why) {
    const auto is_below = [&](const GivenValue& value) {
      return value.key == section || value.key.starts_with(section + ".");
    };
    if (std::ranges::any_of(values_, is_below)) notes.push_back(fmt::format("{}: {}", section, why));
    std::erase_if(values_, is_below);
  }

  void set(const std::string& key, const std::string& yaml) { ours.emplace_back(key, yaml); }
  void carry(const std::string& theirs, const std::string& key) {
    if (const auto value = take(theirs)) set(key, yaml_text(value->text));
  }
  /// Composer's "2500ba" (steps), "10ep", "1000sp".
  void carry_time(const std::string& theirs, std::initializer_list<const char*> keys) {
    const auto value = take(theirs);
    if (!value) return;
    std::smatch parts;
    if (!std::regex_match(value->text, parts, std::regex("([0-9]+)(ba|ep|sp)?")))
      refuse(*value, "expected Composer's ba (steps), ep (epochs) or sp (samples)");
    for (const char* key : keys) set(key, parts[1].str() + (parts[2] == "ba" ? "" : parts[2].str()));
  }
  /// `choices`: their text -> ours.
  void choose(const std::string& theirs, const std::string& key,
              const std::map<std::string, std::string>& choices) {
    const auto value = take(theirs);
    if (!value) return;
    const auto choice = choices.find(value->text);
    if (choice == choices.end()) {
      std::vector<std::string> known;
      for (const auto& [text, ours] : choices) known.push_back(text);
      refuse(*value, fmt::format("has no equal here; known: {}", fmt::join(known, ", ")));
    }
    if (!key.empty() && !choice->second.empty()) set(key, choice->second);
  }

  [[noreturn]] void refuse(const GivenValue& value, const std::string& why) const {
    core::user_error("{}: {}: '{}': {}", value.where, value.key, core::shortened(value.text, 60), why);
  }
  const std::vector<GivenValue>& left() const { return values_; }

  std::vector<std::pair<std::string, std::string>> ours;  ///< dotted key, YAML
  std::vector<std::string> notes;                         ///< what says nothing here

 private:
  std::vector<GivenValue> values_;
};

const std::map<std::string, std::string> kCodecs = {
    {"stabilityai/stable-diffusion-xl-base-1.0", "${MICRODIT_DATA}/weights/sdxl-vae"}};
const std::map<std::string, std::string> kTextEncoders = {
    {"openclip:hf-hub:apple/DFN5B-CLIP-ViT-H-14-378", "${MICRODIT_DATA}/weights/DFN5B-CLIP-ViT-H-14-378"},
    {"DeepFloyd/t5-v1_1-xxl", "${MICRODIT_DATA}/weights/t5-v1_1-xxl"}};

/// Folders of MDS latents, and the networks that made them.
void carry_data(Carrier& c) {
  std::string with;
  const auto network = [&](const char* theirs, const char* key,
                           const std::map<std::string, std::string>& known) {
    const auto value = c.take(theirs);
    if (!value) return;
    const auto folder = known.find(value->text);
    if (folder == known.end())
      c.refuse(*value,
               "is no network that a recipe of configs/latents names; leave the key out and give data.N." +
                   std::string(key) + " the folder of its weights");
    with += fmt::format(", {}: \"{}\"", key, folder->second);
  };
  network("model.vae_name", "codec", kCodecs);
  network("model.text_encoder_name", "text_encoder", kTextEncoders);
  std::vector<std::string> folders;
  for (const GivenValue& folder : c.take_list("dataset.train.datadir"))
    folders.push_back(fmt::format("{{mds: {}{}}}", yaml_text(folder.text), with));
  if (!folders.empty()) c.set("data", fmt::format("[{}]", fmt::join(folders, ", ")));
  const std::string loader = "micro_diffusion.datasets.latents_loader.build_streaming_latents_dataloader";
  for (const char* part : {"train", "eval"})
    c.choose(fmt::format("dataset.{}._target_", part), "", {{loader, ""}});
  c.same("dataset.train", "the loader's own business");
  for (const char* key : {"eval", "eval_batch_size"})
    c.same(fmt::format("dataset.{}", key),
           "the held-out loss is measured on latents of ours: validation.data: [{dataset: coco2014}], "
           "validation.every_steps, validation.batch_size");
}

void carry_model(Carrier& c) {
  c.choose("model._target_", "", {{"micro_diffusion.models.model.create_latent_diffusion", ""}});
  c.choose(
      "model.dit_arch", "extends",
      {{"MicroDiT_XL_2", "configs/models/xl_2.yaml"}, {"MicroDiT_Tiny_2", "configs/models/tiny_2.yaml"}});
  c.choose("model.dtype", "precision", {{"bfloat16", "bf16"}, {"float32", "fp32"}});
  c.carry("model.pos_interp_scale", "model.pos_interp_scale");
  c.carry("model.p_mean", "objective.p_mean");
  c.carry("model.p_std", "objective.p_std");
  c.carry("model.train_mask_ratio", "mask_ratio");
  for (const char* key : {"precomputed_latents", "in_channels", "latent_res"})
    c.same(fmt::format("model.{}", key), "the latents say it");
}

void carry_optimizer(Carrier& c) {
  c.choose("optimizer._target_", "", {{"torch.optim.AdamW", ""}});
  for (const char* key : {"lr", "weight_decay", "eps"})
    c.carry(fmt::format("optimizer.{}", key), fmt::format("optimizer.{}", key));
  std::vector<std::string> betas;
  for (const GivenValue& beta : c.take_list("optimizer.betas")) betas.push_back(yaml_text(beta.text));
  if (!betas.empty()) c.set("optimizer.betas", fmt::format("[{}]", fmt::join(betas, ", ")));
  c.choose("algorithms.gradient_clipping.clipping_type", "", {{"norm", ""}});
  c.carry("algorithms.gradient_clipping.clip_norm", "optimizer.clip_norm");
  c.same("algorithms.low_precision_layernorm", "norms are computed in fp32 here");
  c.choose("scheduler._target_", "schedule.kind",
           {{"composer.optim.CosineAnnealingWithWarmupScheduler", "cosine"},
            {"composer.optim.ConstantScheduler", "constant"},
            {"composer.optim.ConstantWithWarmupScheduler", "constant"},
            {"composer.optim.LinearWithWarmupScheduler", "linear"}});
  c.carry_time("scheduler.t_warmup", {"schedule.warmup_steps"});
  c.carry("scheduler.alpha_f", "schedule.final_factor");
  if (const auto alpha = c.take("scheduler.alpha"); alpha && std::atof(alpha->text.c_str()) != 1)
    c.refuse(*alpha, "a constant rate is optimizer.lr itself: multiply it");
  c.choose("algorithms.ema._target_", "", {{"diffusion.algorithms.ema.EMA", ""}});
  if (const auto every = c.take("algorithms.ema.update_interval"); every && every->text != "1ba")
    c.refuse(*every, "the average follows every step here: 1ba");
  if (const auto half = c.take("algorithms.ema.half_life"))
    c.refuse(*half, "give smoothing instead: 2^(-1/half_life in steps)");
  if (const auto decay = c.take("algorithms.ema.smoothing")) {
    c.set("ema.decay", yaml_text(decay->text));
    c.set("ema.warmup", "0");
    c.notes.push_back(
        "algorithms.ema: their train.py ignores it (\"not supported\"); ema.decay=0 trains as it really did");
  }
  c.carry_time("algorithms.ema.ema_start", {"ema.start_step"});
}

/// FSDP's strategies; HYBRID ones shard inside a node.
void carry_sharding(Carrier& c) {
  const std::string config = "trainer.fsdp_config.", strategy = c.text_of(config + "sharding_strategy");
  if (strategy.find("HYBRID") != strategy.npos) c.set("scope", "node");
  if (strategy == "FULL_SHARD" || strategy == "HYBRID_SHARD")
    c.same(config + "activation_checkpointing", "with sharding: full every block runs again");
  c.choose(config + "sharding_strategy", "sharding",
           {{"SHARD_GRAD_OP", "grad_op"},
            {"NO_SHARD", "none"},
            {"FULL_SHARD", "full"},
            {"HYBRID_SHARD", "full"},
            {"_HYBRID_SHARD_ZERO2", "grad_op"}});
  c.choose(config + "activation_checkpointing", "recompute", {{"true", "blocks"}, {"false", ""}});
}

void carry_trainer(Carrier& c) {
  c.choose("trainer._target_", "", {{"composer.Trainer", ""}});
  c.choose("trainer.device", "device", {{"gpu", "cuda"}, {"cpu", "cpu"}});
  c.carry_time("trainer.max_duration", {"steps"});
  c.carry_time("trainer.eval_interval", {"sampling.every_steps"});
  c.carry_time("trainer.save_interval", {"checkpoint.every_steps"});
  if (const auto kept = c.take("trainer.save_num_checkpoints_to_keep"))
    c.set("checkpoint.keep_last", kept->text == "-1" ? "0" : yaml_text(kept->text));
  carry_sharding(c);
  c.carry("trainer.device_train_microbatch_size", "microbatch_size");
  const bool weights_alone = [&] {
    const auto value = c.take("trainer.load_weights_only");
    return value && value->text == "true";
  }();
  if (const auto from = c.take("trainer.load_path")) {
    c.set("init.from", yaml_text(from->text));
    c.set("init.load", weights_alone ? "weights" : "all");
  }
  c.same("trainer.load_ignore_keys", "rates are those of this file; position embeddings follow the size");
  c.same("trainer.load_strict_model_weights", "names and shapes are compared, always");
  c.same("trainer.run_name", "a run is called by `name`");
  c.same("trainer.seed", "is `seed`");
  c.same("trainer.save_folder", "a run is in `runs`/`name`");
  c.same("trainer.save_overwrite", "no run is overwritten");
  c.same("trainer.autoresume", "the same command goes on, always");
}

void carry_pictures(Carrier& c) {
  c.choose("callbacks.image_monitor._target_", "",
           {{"micro_diffusion.models.callbacks.LogDiffusionImages", ""}});
  std::vector<std::string> prompts;
  for (const GivenValue& prompt : c.take_list("callbacks.image_monitor.prompts"))
    prompts.push_back(yaml_text(prompt.text));
  if (!prompts.empty())
    c.set("sampling.prompts", "\n    - " + fmt::format("{}", fmt::join(prompts, "\n    - ")));
  c.carry("callbacks.image_monitor.guidance_scale", "sampling.guidance");
  c.carry("callbacks.image_monitor.sampling_steps", "sampling.steps");
  c.same("callbacks.image_monitor.seed", "the grids' noise is the run's, the same at every step");
  if (const auto catcher = c.take("callbacks.nan_catcher._target_")) c.set("max_skipped_steps", "0");
  for (const char* monitor : {"speed_monitor", "lr_monitor", "runtime_estimator", "optimizer_monitor"})
    c.same(fmt::format("callbacks.{}", monitor), "metrics.jsonl, TensorBoard and the log have it");
  c.same("logger", "metrics.jsonl, TensorBoard's files and report.html are always written");
  c.same("misc.compile", "kernels=auto takes our kernels where gpu_check has passed");
}

/// Sections in the order of their first key, a line each.
std::string yaml_of(const std::vector<std::pair<std::string, std::string>>& ours) {
  std::string text;
  std::vector<std::string> done;
  for (const auto& [key, value] : ours) {
    const std::size_t dot = key.find('.');
    if (dot == key.npos) {
      text += fmt::format("{}: {}\n", key, value);
      continue;
    }
    const std::string section = key.substr(0, dot);
    if (std::ranges::find(done, section) != done.end()) continue;
    done.push_back(section);
    text += section + ":\n";
    for (const auto& [other, its] : ours)
      if (other.starts_with(section + "."))
        text += fmt::format("  {}:{}{}\n", other.substr(dot + 1), its.starts_with('\n') ? "" : " ", its);
  }
  return text;
}

}  // namespace

void convert_config(const fs::path& input, const fs::path& output) {
  Carrier c(core::given_values(core::ConfigTree::load(input)));
  if (std::ranges::any_of(c.left(),
                          [](const GivenValue& value) { return value.key.starts_with("defaults"); }))
    core::user_error(
        "{}: a Hydra file with `defaults`: compose it first (python train.py --cfg job --resolve > FILE)",
        input.string());
  if (std::ranges::none_of(c.left(), [](const GivenValue& value) { return value.key == "model._target_"; }))
    core::user_error("{}: no file of micro_diffusion's settings: it has no model._target_", input.string());
  carry_model(c);
  c.carry("exp_name", "name");
  carry_data(c);
  c.carry("dataset.image_size", "size");
  c.carry("dataset.cap_drop_prob", "caption_drop");
  c.carry("dataset.train_batch_size", "batch_size");
  c.carry("seed", "seed");
  carry_trainer(c);
  carry_optimizer(c);
  carry_pictures(c);
  std::stable_sort(c.ours.begin(), c.ours.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const std::string& key) {
      return key == "extends" ? 0 : key == "name" ? 1 : key.find('.') == key.npos ? 2 : 3;
    };
    return rank(a.first) < rank(b.first);
  });
  std::string text =
      fmt::format("# What {} says, for train.\n{}", input.filename().string(), yaml_of(c.ours));
  for (const std::string& note : c.notes) text += fmt::format("# {}\n", note);
  for (const GivenValue& value : c.left()) {
    text += fmt::format("# NOT carried: {}: {}\n", value.key,
                        core::Json(core::shortened(value.text, 100)).dump());
    core::log_warn("{}: {}: {}: not known, and not carried", value.where, value.key,
                   core::Json(core::shortened(value.text, 60)).dump());
  }
  core::load<train::TrainConfig>(core::ConfigTree::parse(text, output.string()));  // what train would refuse
  core::atomic_write(output, text);
  core::log_info("{} -> {}: {} keys carried, {} say nothing here (comments at its end), {} not carried",
                 input.string(), output.string(), c.ours.size(), c.notes.size(), c.left().size());
}

}  // namespace microdit::jobs
