// Field lists of the training settings: names, ranges, help.
#include "train/train_config.h"

#include "core/error.h"
#include "eval/compute.h"

namespace microdit::train {
namespace {

struct RoleConfig {
  RoleFactors factors;
  void fields(core::Fields& f) {
    f.field("lr", factors.lr, {.min = 0, .max = 1000, .help = "factor of optimizer.lr"});
    f.field("weight_decay", factors.weight_decay,
            {.min = 0, .max = 1000, .help = "factor of optimizer.weight_decay"});
  }
};

/// The section `optimizer.groups`.
struct GroupsConfig {
  std::array<RoleFactors, nn::kRoleNames.size()> roles{};
  void fields(core::Fields& f) {
    for (std::size_t i = 0; i < roles.size(); ++i) {
      RoleConfig one{roles[i]};
      f.section(nn::kRoleNames[i], one);
      roles[i] = one.factors;
    }
  }
};

}  // namespace

void OptimizerConfig::fields(core::Fields& f) {
  f.field("lr", lr, {.min = 0, .max = 1, .help = "peak learning rate"});
  f.field("weight_decay", weight_decay,
          {.min = 0, .max = 1, .help = "decoupled weight decay, on every parameter"});
  f.field("betas", betas, {.min = 0, .max = 1, .help = "AdamW moment decays"});
  f.field("eps", eps, {.min = 0, .exclusive_min = true, .help = "AdamW epsilon"});
  f.field("clip_norm", clip_norm, {.min = 0, .help = "clip the gradient norm to this; 0 = off"});
  if (f.reading() && betas.size() != 2) f.error("betas", "expected two numbers");
  GroupsConfig of_roles{groups};
  if (f.reading() || groups != GroupsConfig().roles) f.section("groups", of_roles);
  groups = of_roles.roles;
}

void ScheduleConfig::fields(core::Fields& f) {
  f.field(
      "kind", kind,
      {.choices = {"constant", "cosine", "linear", "cosine_cycle"},
       .help = "learning rate after the warm-up; cosine_cycle climbs again after decay_steps, and so on"});
  warmup_steps.field(f, "warmup_steps", {.min = 0, .help = "linear warm-up, in steps"});
  f.field("final_factor", final_factor, {.min = 0, .max = 1, .help = "of lr, at decay_steps"});
  decay_steps.field(f, "decay_steps", {.min = 0, .help = "0 = the run's steps at its first start"});
}

void EmaConfig::fields(core::Fields& f) {
  f.field("decay", decay, {.min = 0, .max = 1, .help = "of the weight average; 0 = none"});
  warmup.field(f, "warmup", {.min = 0, .help = "updates; 0 = plain"});
  if (f.reading() || ramp != "ratio")  // runs that are older than the key can be resumed
    f.field("ramp", ramp,
            {.choices = {"ratio", "linear"},
             .help = "decay of update i; ratio: min(decay, i / (i + warmup)); linear: decay min(1, (i - 1) / "
                     "warmup)"});
  start_step.field(f, "start_step", {.min = 0, .help = "until then the average equals the weights"});
}

void CheckpointConfig::fields(core::Fields& f) {
  every_steps.field(f, "every_steps", {.min = 1, .help = "steps between checkpoints"});
  f.field("every_minutes", every_minutes, {.min = 0, .help = "also by time; 0 = by steps only"});
  f.field("keep_last", keep_last, {.min = 0, .help = "checkpoints to keep; 0 = all"});
  keep_every.field(f, "keep_every", {.min = 0, .help = "also keep steps divisible by this; 0 = none"});
}

void SamplingConfig::fields(core::Fields& f) {
  every_steps.field(f, "every_steps",
                    {.min = 0, .help = "steps between sample grids, and one after the last; 0 = none"});
  f.field("prompts", prompts, {.help = "what the grids show"});
  sampler.fields(f);
}

void ValidationConfig::fields(core::Fields& f) {
  f.sections("data", data);
  every_steps.field(f, "every_steps", {.min = 0, .help = "steps between validations; 0 = none"});
  f.field("samples", samples, {.min = 1, .max = 1e7, .help = "at most so many held-out samples"});
  f.field("levels", levels, {.min = 1, .max = 1000, .help = "noise levels, each sample at each"});
  f.field("batch_size", batch_size, {.min = 1, .max = 65536, .help = "samples at a time"});
  f.field("patience", patience,
          {.min = 0,
           .max = 1e6,
           .help = "end after so many validations in a row that are not the best; 0 = never"});
  f.field("keep_best", keep_best, {.help = "keep the best validation's checkpoint: checkpoints/best"});
  if (f.reading() && patience > 0 && every_steps.is_known() && every_steps == 0)
    f.error("patience", "has no effect without validation.every_steps; say validation.patience=0");
  if (f.reading() && patience == 1)
    f.error("patience",
            "1: the validation before the first step counts (nano-diffusion's rule) and would end the run "
            "there; take 2 or more, or 0 = never");
}

std::string ValidationConfig::measured() const {
  core::Json what = {{"samples", samples}, {"levels", levels}, {"data", core::Json::array()}};
  for (const eval::ValidationSource& source : data) what["data"].push_back(core::to_json(source));
  return what.dump();
}

void InitConfig::fields(core::Fields& f) {
  f.field(
      "from", from,
      {.help =
           "run, checkpoint, file of weights (.safetensors, .pt) or folder of diffusers; empty = drawn from "
           "the seed"});
  f.field("weights", weights, {.choices = {"raw", "ema"}, .help = "which of its weights"});
  f.field("load", load,
          {.choices = {"weights", "weights+optimizer", "all"}, .help = "all: also EMA and step count"});
  f.field("unfinished", unfinished, {.help = "start even from a run that has not reached its steps"});
}

void LoopConfig::fields(core::Fields& f) {
  f.field("name", name,
          {.required = true, .help = "the run's folder under `runs`", .at_resume = core::AtResume::free});
  f.field("runs", runs, {.help = "folder of runs", .at_resume = core::AtResume::free});
  steps.field(f, "steps",
              {.min = 1, .max = 1e9, .help = "optimizer steps in all", .at_resume = core::AtResume::free});
  f.field("batch_size", batch_size, {.min = 1, .max = 1e7, .help = "samples per step, over all ranks"});
  f.field("microbatch_size", microbatch_size,
          {.min = 0,
           .help = "samples per rank and backward; 0 = the rank's share",
           .at_resume = core::AtResume::rounding});
  f.field("seed", seed, {.min = 0, .help = "of everything random"});
  f.field("precision", precision,
          {.choices = {"fp32", "bf16"},
           .help = "compute type (master weights are fp32)",
           .at_resume = core::AtResume::rounding});
  f.field(
      "device", device,
      {.choices = {"cpu", "cuda"}, .help = "where the network lives", .at_resume = core::AtResume::rounding});
  f.field("threads_per_rank", threads_per_rank,
          {.min = 0,
           .max = eval::kMostThreads,
           .help = "intra-op threads (bits depend on it); 0 = the cores it may use, OMP_NUM_THREADS if set",
           .at_resume = core::AtResume::rounding});
  f.field(
      "sharding", sharding,
      {.choices = {"none", "grad_op", "full"},
       .help = "none: replicated; grad_op: optimizer sharded; full: weights and gradients, too, whole block "
               "by block",
       .at_resume = core::AtResume::free});
  f.field("scope", scope,
          {.choices = {"world", "node"},
           .help = "sharded over all ranks, or inside each node and replicated across nodes",
           .at_resume = core::AtResume::free});
  if (f.reading() || ranks_per_node != 0)  // runs that are older than the key go on without a word
    f.field("ranks_per_node", ranks_per_node,
            {.min = 0,
             .max = 4096,
             .help = "neighbours that count as a node, inside which is summed first; 0 = as launched",
             .at_resume = core::AtResume::rounding});
  f.field(
      "recompute", recompute,
      {.help = "none, blocks or every_N: these blocks keep only their inputs, and run again in the backward "
               "pass",
       .at_resume = core::AtResume::free});
  f.field(
      "kernels", kernels,
      {.choices = {"auto", "fused", "reference"},
       .help =
           "our optimizer kernel or torch's operations; auto: ours on a GPU only where gpu_check has passed",
       .at_resume = core::AtResume::rounding});
  f.field("bucket_mb", bucket_mb,
          {.min = 1,
           .max = 65536,
           .help = "bytes of one reduce-scatter, in MiB",
           .at_resume = core::AtResume::rounding});
  log_every_steps.field(
      f, "log_every_steps",
      {.min = 1,
       .help = "steps between points in TensorBoard; progress lines come at most as often, in a batch "
               "log twice a minute",
       .at_resume = core::AtResume::free});
  f.field(
      "max_skipped_steps", max_skipped_steps,
      {.min = 0,
       .help =
           "non-finite steps in a row that are left out; one more ends the run with 1; 0 = the first does",
       .at_resume = core::AtResume::free});
  f.field("watchdog_s", watchdog_s,
          {.min = 0,
           .help = "a collective that lasts longer ends the job with 76; 0 = never",
           .at_resume = core::AtResume::free});
  f.section("optimizer", optimizer);
  f.section("schedule", schedule);
  f.section("ema", ema);
  f.section("checkpoint", checkpoint, {.at_resume = core::AtResume::free});
  f.section("init", init, {.at_resume = core::AtResume::free});
  if (f.reading() && recompute_every() < 0)
    f.error("recompute", "'" + recompute + "': none, blocks (each), or every_2 (every second), every_3, ...");
  if (f.reading() && sharding == "none" && scope == "node")
    f.error("scope", "node: has no effect with sharding=none; leave it out, or say sharding=grad_op");
  if (f.reading() && sharding == "full" && recompute != "none")
    f.error("recompute", "has no effect with sharding=full, where every block runs again; leave it out");
  if (f.reading() && name.find_first_of("/\\") != std::string::npos)
    f.error("name", "must not contain a slash");
  if (f.reading() && name.starts_with(".")) f.error("name", "must not begin with a dot");
  if (f.reading() && (name.empty() || name.size() > 200)) f.error("name", "must have 1 to 200 letters");
}

void LoopConfig::demand_shares(int ranks) const {
  if (batch_size % ranks != 0)
    core::user_error("batch_size={}: not divisible by the {} ranks", batch_size, ranks);
}

std::int64_t LoopConfig::recompute_every() const {
  if (recompute == "none") return 0;
  if (recompute == "blocks") return 1;
  const std::string number = recompute.starts_with("every_") ? recompute.substr(6) : "";
  const bool is_number = !number.empty() && number.size() < 5 &&
                         number.find_first_not_of("0123456789") == number.npos && number[0] != '0';
  return is_number ? std::stoll(number) : -1;
}

void LoopConfig::resolve(std::int64_t samples) {
  for (Length* length : {&steps, &log_every_steps, &schedule.warmup_steps, &schedule.decay_steps, &ema.warmup,
                         &ema.start_step, &checkpoint.every_steps, &checkpoint.keep_every})
    length->resolve(samples, batch_size);
}

void TrainConfig::resolve(std::int64_t samples) {
  loop.resolve(samples);
  for (Length* length : {&sampling.every_steps, &validation.every_steps})
    length->resolve(samples, loop.batch_size);
}

void TrainConfig::fields(core::Fields& f) {
  loop.fields(f);
  f.sections("data", data);
  f.field("size", size, {.min = 8, .max = 8192, .help = "picture side in pixels"});
  f.field("captions", captions, {.help = "caption sources to draw from, or {source: share}; empty = all"});
  f.field("caption_drop", caption_drop,
          {.min = 0, .max = 1, .help = "share of samples with the null condition"});
  f.field("mask_ratio", mask_ratio,
          {.min = 0, .max = 0.99, .help = "share of patches the backbone does not see"});
  f.field("shuffle_run", shuffle_run,
          {.help = "neighbouring samples that stay together in the order; auto = 1 while the mix fits in "
                   "memory, else 32"});
  f.field("prefetch_threads", prefetch_threads,
          {.min = 1, .max = 64, .help = "reader threads per rank", .at_resume = core::AtResume::free});
  f.section("reading", reading, {.at_resume = core::AtResume::free});
  f.section("model", model);
  f.section("objective", objective);
  f.section("sampling", sampling, {.at_resume = core::AtResume::free});
  f.section("validation", validation, {.at_resume = core::AtResume::free});
  if (f.reading() && shuffle_run != "auto" &&
      (shuffle_run.empty() || shuffle_run.size() > 6 ||
       shuffle_run.find_first_not_of("0123456789") != shuffle_run.npos || std::stoll(shuffle_run) < 1))
    f.error("shuffle_run", "expected auto, or a whole number from 1 to 999999");
  if (f.reading() && data.empty()) f.error("data", "at least one dataset is needed");
  if (f.reading() && model.learned_null && caption_drop == 0 && loop.init.from.empty())
    f.error(
        "caption_drop",
        "0: the null condition (model.learned_null) is learned from dropped conditions; say 0.1, or leave "
        "model.learned_null out");
  if (f.reading() && model.text_conditioner && caption_drop == 0 && sampling.sampler.guidance != 1 &&
      loop.init.from.empty())
    f.error(
        "caption_drop",
        "0: guidance leads away from the token of no caption, which is learned from dropped captions; say "
        "0.1, or sampling.guidance=1");
  if (const Length& every = sampling.every_steps;
      f.reading() && sampling.prompts.empty() && !(every.is_known() && every == 0))
    f.error("sampling.every_steps",
            every.text() +
                ": has no effect without sampling.prompts: name what the grids show, or say "
                "sampling.every_steps=0");
  if (!f.reading() || !model.text_mask) return;
  for (const LatentsData& one : data)  // a mask of all rows would hide nothing, and say otherwise
    if (!one.mds.empty())
      f.error("model.text_mask",
              "true: the MDS folder " + one.mds +
                  " does not say how many text rows of a caption are tokens; leave the key out (all "
                  "rows are seen then, as in the original), or train on a latents folder, which "
                  "precompute makes with the lengths");
}

}  // namespace microdit::train
