// How a training begins: settings compared, weights found or drawn, the run folder taken hold of.
#include <fmt/core.h>

#include <chrono>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "nn/kernels/proof.h"
#include "nn/state_dict.h"
#include "train/advice.h"
#include "train/start_file.h"
#include "train/state_source.h"
#include "train/trainer.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

/// A run folder, a checkpoint folder: the checkpoint to start from.
checkpoint::Reader open_initial(const InitConfig& init, comm::Communicator& comm) {
  const fs::path from = init.from;
  if (fs::exists(from / "manifest.json")) return checkpoint::open(from, comm);
  auto latest = checkpoint::open_latest(from / "checkpoints", comm);
  if (!latest) comm.on_root([&] { refuse_start(init.from); });
  comm.on_root([&] {
    // What it was to reach: in its checkpoint, of earlier ones in its settings.
    const fs::path settings = RunFolder(from).settings();
    if (init.unfinished || !fs::exists(settings) || latest->state().contains("ended_early")) return;
    const core::Json given = core::read_json(settings).value("steps", core::Json());
    const std::int64_t own = given.is_number() ? given.get<std::int64_t>() : 0;
    const std::int64_t steps = given.is_number() ? own : latest->state().value("steps", std::int64_t{0});
    if (latest->step() >= steps) return;
    core::user_error(
        "init.from={}: that run has reached step {} of {}; let it finish, name one of its checkpoints "
        "(init.from={}), or say init.unfinished=true",
        from.string(), latest->step(), steps, latest->folder().string());
  });
  return std::move(*latest);
}

}  // namespace

void resolve_decay_steps(LoopConfig& config, comm::Communicator& comm) {
  const Length& given = config.schedule.decay_steps;
  if (!given.is_known() || given != 0) return;
  // One reader: the ranks' file systems may not agree yet on what a settings file says.
  const std::string recorded = comm.on_root([&] {
    const fs::path settings = run_folder(config).settings();
    return fs::exists(settings) ? core::read_json(settings).at("schedule").dump() : std::string();
  });
  config.schedule.decay_steps =
      recorded.empty() ? config.steps
                       : core::load<ScheduleConfig>(
                             core::ConfigTree::of_json(core::parse_json(recorded, "settings"), "settings"))
                             .decay_steps;
}

Trainer::Trainer(const LoopConfig& config, const RunSettings& settings, const Cadences& cadences,
                 TrainerParts parts)
    : config_(config),
      task_(parts.task),
      device_(parts.device),
      comm_(parts.comm),
      stop_(parts.stop),
      run_(run_folder(config)),
      life_(settings.life),
      cadences_(cadences) {
  const comm::WiderDeadline reading(comm_, kLongWork_s);
  config.demand_shares(comm_.size());
  run_.compare_settings(settings, comm_);
  run_.compare_facts(task_.facts(), comm_);
  if (cadences_.picture_every_steps > 0) task_.prepare_pictures(comm_, stop_);
  if (cadences_.validate_every_steps > 0) cadences_.measured += task_.prepare_validation(comm_);
  const std::vector<double> open_levels = load_or_initialize();
  // Only now: a start that is refused leaves nothing behind.
  run_.open(settings, task_.facts(), comm_);
  writer_.emplace(run_.checkpoints(), comm_);
  stragglers_.emplace(comm_);
  if (comm_.rank() != 0) return;
  best_there_ = best_of_link();
  metrics_.emplace(run_, MetricsStart{completed_, validation_is_due(), open_levels}, config.steps,
                   config.batch_size, config.log_every_steps);
}

/// Takes the module's weights over into the buffers of training.
void Trainer::build() {
  const std::vector<models::BlockModules> blocks = task_.blocks();
  if (blocks.empty() && config_.sharding == "full")
    core::user_error("sharding=full: this network has no blocks to gather one by one; say sharding=grad_op");
  if (blocks.empty() && config_.recompute != "none")
    core::user_error("recompute={}: this network has no blocks to run again; say recompute=none",
                     config_.recompute);
  // All alike: replicas that are updated in two ways would drift apart.
  const bool fused = !comm_.any(!nn::use_fused_kernels(config_.kernels, device_));
  training_.emplace(
      task_.module(), blocks, comm_,
      ShardedTraining::Options{
          .sharding = config_.sharding,
          .scope = config_.scope,
          .ranks_per_node = config_.ranks_per_node,
          .bucket_bytes = config_.bucket_mb << 20,
          .model = {.recompute_every = config_.recompute_every(),
                    .accumulates = config_.passes(comm_.size()) > 1,
                    .device = device_,
                    .compute = config_.precision == "bf16" && task_.takes_bf16_weights() ? torch::kBFloat16
                                                                                         : torch::kFloat32},
          .optimizer = {
              .with_ema = config_.ema.decay > 0, .fused = fused, .roles = config_.optimizer.groups}});
  task_.set_block_runner(training_->model.block_runner());
}

/// What this rank holds, by kind.
MemoryPlan Trainer::memory() const {
  const ShardedModel::Bytes model = training_->model.bytes();
  return {.weights = model.weights,
          .masters = model.masters,
          .gradients = model.gradients,
          .moments = training_->optimizer.bytes_of_moments(),
          .average = training_->optimizer.bytes_of_ema()};
}

/// Where sums are taken in another order than before.
void Trainer::warn_of_layout(const core::Json& state) const {
  const int ranks = state.value("ranks", 0), per_node = state.value("ranks_per_node", 0);
  const comm::Levels& levels = training_->shards.levels();
  if (ranks != comm_.size() || per_node == 0 || per_node == levels.per_node()) return;
  core::log_warn(
      "{}: the {} ranks were {} a node and are {} now (from here on the rounding differs; nothing else; "
      "ranks_per_node={} would keep it)",
      run_.path().string(), ranks, per_node, levels.per_node(), per_node);
}

std::string Trainer::sharding_text() const {
  const comm::Levels& levels = training_->shards.levels();
  std::string text = config_.sharding;
  if (config_.scope == "node") text += " inside nodes";
  if (levels.nodes() > 1 && levels.per_node() > 1)
    text += fmt::format(" ({} nodes of {} ranks)", levels.nodes(), levels.per_node());
  return text;
}

/// Returns the open losses by noise level of the life before. Weights are drawn only where nothing is loaded over them: at 1.2 billion parameters that is half a minute.
std::vector<double> Trainer::load_or_initialize() {
  const auto latest = checkpoint::open_latest(run_.checkpoints(), comm_);
  if (!latest) demand_rate(config_, life_, -1);
  if (latest) comm_.on_root([&] { demand_steps_of_run(config_, life_, latest->step()); });
  const fs::path file = latest ? fs::path() : start_file(config_.init.from);
  std::optional<checkpoint::Reader> initial;
  if (!latest && !config_.init.from.empty() && file.empty()) initial = open_initial(config_.init, comm_);
  if (!latest) demand_load_of_file(config_.init);
  if (initial) demand_steps_of_start(config_, initial->step());
  if (!latest && !initial && file.empty()) {
    const auto begin = std::chrono::steady_clock::now();
    task_.initialize();
    core::log_info("weights drawn by seed {} in {}", config_.seed,
                   core::duration_text(core::seconds_since(begin)));
  }
  if (!file.empty())
    nn::load_state_dict(task_.module(), nn::load_network(file, config_.init.weights == "ema"), file.string(),
                        kFixedBuffers);
  build();
  core::log_info("{}: {} parameters, {} rank(s) x {} thread(s) on {}, batch {}, {} steps, sharding {}, {}",
                 run_.path().string(), training_->layout.num_parameters(), comm_.size(),
                 config_.threads_per_rank, device_.str(), config_.batch_size, config_.steps.steps(),
                 sharding_text(), config_.precision);
  core::log_info("memory of a rank: {}", memory().text());
  if (latest) {
    const core::Json& state = latest->state();
    training_->optimizer.load(CheckpointState(*latest), {});
    completed_ = latest->step();
    updates_ = state.at("updates").get<std::int64_t>();
    skipped_in_a_row_ = state.at("skipped_in_a_row").get<std::int64_t>();
    if (state.contains("validation")) {
      if (state["validation"].value("measured", "") == cadences_.measured)
        best_ = BestWatch::from_json(state["validation"]);
      else
        core::log_warn("validation measures something else than before ({}, now {}): the best begins anew",
                       state["validation"].value("measured", ""), cadences_.measured);
    }
    last_checkpoint_ = completed_;
    warn_of_layout(state);
    core::log_info("resuming from {} (step {})", latest->folder().string(), completed_);
  } else if (initial) {
    load_initial(*initial);
  } else if (!file.empty()) {
    load_moments(file);
  }
  return latest ? latest->state().value("loss_levels", std::vector<double>()) : std::vector<double>();
}

/// Adam's state of a file whose weights the module has already.
void Trainer::load_moments(const fs::path& file) {
  const InitConfig& init = config_.init;
  if (init.load == "weights") return;
  const TorchState state(file);
  updates_ = state.updates();
  if (init.load == "all") {
    completed_ = updates_;
    comm_.on_root([&] { demand_steps_of_start(config_, completed_); });
  }
  training_->optimizer.load(state, {.weights = "", .moments = true, .ema = false});
  core::log_info("starting from {} (its optimizer has made {} updates, {} weights, load {})", file.string(),
                 updates_, init.weights, init.load);
}

void Trainer::load_initial(const checkpoint::Reader& reader) {
  const InitConfig& init = config_.init;
  task_.check_start(reader.state().value("facts", core::Json::object()));
  const bool all = init.load == "all";
  training_->optimizer.load(
      CheckpointState(reader),
      {.weights = init.weights == "ema" ? "ema" : "weights", .moments = init.load != "weights", .ema = all});
  if (init.load != "weights") updates_ = reader.state().at("updates").get<std::int64_t>();
  if (all) completed_ = reader.step();
  core::log_info("starting from {} (step {}, {} weights, load {})", reader.folder().string(), reader.step(),
                 init.weights, init.load);
}

}  // namespace microdit::train
