// The settings of a training run: what a stage's YAML may say.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "eval/run_facts.h"
#include "eval/run_sources.h"
#include "models/denoiser.h"
#include "train/length.h"
#include "train/role_factors.h"

namespace microdit::train {

struct OptimizerConfig {
  double lr = 2.4e-4;
  double weight_decay = 0.1;  ///< decoupled, on every parameter as in the original
  std::vector<double> betas = {0.9, 0.999};
  double eps = 1e-8;
  double clip_norm = 0.25;  ///< of the whole gradient; 0 = off
  /// By nn::Role. All 1, as the original really trained: its lower rate for experts had no effect.
  std::array<RoleFactors, nn::kRoleNames.size()> groups{};
  void fields(core::Fields& f);
};

struct ScheduleConfig {
  std::string kind = "cosine";  ///< constant | cosine | linear | cosine_cycle, after the warm-up (schedule.h)
  Length warmup_steps = 0;
  double final_factor = 0.33;  ///< of lr, at decay_steps
  Length decay_steps = 0;      ///< 0 = the run's `steps` at its first start
  void fields(core::Fields& f);
};

struct EmaConfig {
  double decay = 0;    ///< 0 = no EMA
  Length warmup = 10;  ///< 0 = plain
  std::string ramp =
      "ratio";  ///< decay at update i; ratio: min(decay, i / (i + warmup)); linear: decay min(1, (i - 1) / warmup)
  Length start_step = 0;  ///< until then the average is the weights
  void fields(core::Fields& f);
};

struct CheckpointConfig {
  Length every_steps = 1000;
  double every_minutes = 0;  ///< 0 = by steps only
  std::int64_t keep_last = 2;
  Length keep_every = 0;  ///< also keep steps divisible by this
  void fields(core::Fields& f);
};

/// Grids while training, and the sampler of them. Its keys stand beside these two; all but `steps` are generate's and evaluate's, too,
/// where they are not given there.
struct SamplingConfig {
  Length every_steps = 0;  ///< 0 = no grids while training
  std::vector<std::string> prompts;
  diffusion::SamplerConfig sampler = {.steps = 18, .guidance = 4.0};
  void fields(core::Fields& f);
};

/// Where the first weights come from.
struct InitConfig {
  std::string from;  ///< run folder, checkpoint folder or file of weights; empty = drawn from the seed
  std::string weights = "raw";   ///< raw | ema
  std::string load = "weights";  ///< weights | weights+optimizer | all (also EMA and step count)
  bool unfinished = false;       ///< a run that has not reached its steps will do
  void fields(core::Fields& f);
};

/// What every training loop needs, whatever it trains.
struct LoopConfig {
  std::string name;  ///< the run is runs_root/name
  std::string runs = "runs";
  Length steps = 1000;
  std::int64_t batch_size = 2048;    ///< over all ranks
  std::int64_t microbatch_size = 0;  ///< per rank and backward pass; 0 = the rank's whole share
  std::int64_t seed = 18;
  std::string precision = "fp32";     ///< fp32 | bf16 (autocast; fp32 master weights)
  std::string device = "cpu";         ///< cpu | cuda
  std::int64_t threads_per_rank = 0;  ///< 0 = the cores this rank may use (eval::own_threads); recorded
  std::string sharding = "grad_op";   ///< none | grad_op | full (shards.h)
  std::string scope = "world";        ///< world | node: state is sharded inside a node, replicated across
  std::int64_t ranks_per_node = 0;    ///< 0 = as launched (comm::Levels)
  std::string recompute = "none";     ///< none | blocks | every_N
  std::string kernels = "auto";       ///< auto | fused | reference (nn/kernels/proof.h)
  std::int64_t bucket_mb = 160;
  Length log_every_steps = 10;
  std::int64_t max_skipped_steps =
      10;  ///< non-finite steps in a row that are left out; one more fails the run
  double watchdog_s = comm::kDeadline_s;  ///< a collective longer than this ends the job with 76; 0 = never
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  EmaConfig ema;
  CheckpointConfig checkpoint;
  InitConfig init;
  void fields(core::Fields& f);
  /// Lengths in epochs or samples become steps. `samples`: of an epoch.
  void resolve(std::int64_t samples);
  /// UserError where the ranks do not divide the batch.
  void demand_shares(int ranks) const;
  /// Samples of a rank and step, and of its every backward pass but perhaps the last.
  std::int64_t rows(int ranks) const { return batch_size / ranks; }
  std::int64_t microbatch(int ranks) const {
    return microbatch_size == 0 ? rows(ranks) : std::min(rows(ranks), microbatch_size);
  }
  std::int64_t passes(int ranks) const { return (rows(ranks) + microbatch(ranks) - 1) / microbatch(ranks); }
  /// ShardedModel's: 0 none, n every n-th block.
  std::int64_t recompute_every() const;
};

/// Loss on fixed held-out samples while training.
struct ValidationConfig {
  std::vector<eval::ValidationSource>
      data;                    ///< none: what the run's data hold out; evaluate, too, measures these
  Length every_steps = 0;      ///< 0 = never; else also before the first step
  std::int64_t samples = 512;  ///< at most, a fixed draw
  std::int64_t levels = 8;     ///< of noise, at the middles of as many equal shares of the training's own law
  std::int64_t batch_size = 64;  ///< samples at a time
  std::int64_t patience =
      0;  ///< the run ends after so many validations in a row that are not the best; 0 = never
  bool keep_best = true;  ///< the best one's checkpoint stays, and `checkpoints/best` leads to it
  void fields(core::Fields& f);
  /// What the losses are of, as text.
  std::string measured() const;
};

/// Pictures of a samples folder.
struct DataSource {
  std::string dataset;    ///< samples/<dataset> under the data root, or a path
  double proportion = 0;  ///< 0 everywhere = by size
  void fields(core::Fields& f);
};

/// Latents of a dataset, of an existing MDS folder, or made up.
struct LatentsData {
  std::string dataset;  ///< latents/<dataset>/<recipe> under the data root, or a path
  std::string recipe;   ///< may be empty where the dataset has latents of one recipe
  std::string mds;
  eval::MdsColumns columns;  ///< of `mds`
  std::string codec;         ///< of `mds`: the folder of what made its latents; empty = the first dataset's
  std::string text_encoder;  ///< of `mds`, likewise
  std::int64_t synthetic = 0;
  std::int64_t min_side = 0;  ///< pixels
  std::int64_t limit = 0;     ///< samples; 0 = all
  double proportion = 0;      ///< 0 everywhere = by size
  void fields(core::Fields& f);
};

/// How rows come from disk: nothing here changes what is shown, but for rows that cannot be read.
struct ReadingConfig {
  bool read_ahead = true;
  bool keep_pages = true;
  bool preload = true;
  std::int64_t gap_kb = 256;
  double max_bad_fraction = 0.001;
  std::string cache_dir;
  double cache_gb = 100;
  void fields(core::Fields& f);
};

/// train: a denoiser on latents.
struct TrainConfig {
  LoopConfig loop;
  std::vector<LatentsData> data;
  std::int64_t size = 256;  ///< picture side in pixels
  core::Shares captions;    ///< caption sources to draw from, alike or by share; empty = all
  double caption_drop = 0.1;
  double mask_ratio = 0;
  std::string shuffle_run = "auto";  ///< auto | neighbouring samples that stay together
  std::int64_t prefetch_threads = 2;
  ReadingConfig reading;
  models::DenoiserConfig model;
  diffusion::ObjectiveConfig objective;
  SamplingConfig sampling;
  ValidationConfig validation;
  void fields(core::Fields& f);
  void resolve(std::int64_t samples);
};

}  // namespace microdit::train
