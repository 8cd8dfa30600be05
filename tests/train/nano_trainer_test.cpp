// What nano-diffusion's trainer did (scripts/make_nano_training_goldens.py) against ours: the Trainer of the program, with its schedule,
// optimizer, average, metrics and checkpoints; only batches and validation losses are given.
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <fstream>

#include "core/atomic_file.h"
#include "eval/denoise_fn.h"
#include "nn/state_dict.h"
#include "train/schedule.h"
#include "train/trainer.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

const fs::path kTests = fs::path(MICRODIT_SOURCE_DIR) / "tests", kGoldens = kTests / "train/goldens";

/// A task without data: what a derived one does not need.
class GivenTask : public TrainTask {
 public:
  core::Json facts() const override { return core::Json::object(); }
  void initialize() override {}
  void prepare_pictures(comm::Communicator&, const core::StopFlag&) override {}
  std::string prepare_validation(comm::Communicator&) override { return {}; }
  void start(std::int64_t completed, std::int64_t, std::int64_t, std::int64_t) override { step_ = completed; }
  void next_batch() override { ++step_; }
  std::optional<image::Image> picture(std::int64_t, comm::Communicator&, const core::StopFlag&) override {
    return std::nullopt;
  }
  std::optional<Validated> validate(comm::Communicator&, const core::StopFlag&) override {
    return std::nullopt;
  }
  bool finish(const fs::path&, const core::StopFlag&) override { return true; }

 protected:
  std::int64_t step_ = 0;  ///< whose batch was fetched, from 1
};

class Run : public testing::Test {
 protected:
  Run() : folder_(fs::path(testing::TempDir()) / ("nano_trainer_" + core::generation())) {
    loop_.name = "nano";
    loop_.runs = folder_.string();
    loop_.sharding = "none";
    loop_.checkpoint = {.every_steps = 1, .keep_last = 0};
  }
  ~Run() override { fs::remove_all(folder_); }

  void train(TrainTask& task, const Cadences& cadences) {
    const RunSettings settings{
        core::to_json(loop_), core::to_yaml(loop_), core::resumable_keys<LoopConfig>(), {}};
    EXPECT_EQ(Trainer(loop_, settings, cadences, {task, torch::kCPU, *comm_, stop_}).run(), core::kDone);
  }
  fs::path run() const { return folder_ / "nano"; }
  checkpoint::Reader checkpoint(std::int64_t step) const {
    return checkpoint::Reader(run() / "checkpoints" / checkpoint::step_name(step));
  }

  LoopConfig loop_;

 private:
  fs::path folder_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
  core::StopFlag stop_;
};

struct NetworkSections {
  models::DenoiserConfig model;
  diffusion::ObjectiveConfig objective;
  void fields(core::Fields& f) {
    f.section("model", model);
    f.section("objective", objective);
  }
};

/// The small class_dit on the golden's batches.
class GoldenTask : public GivenTask {
 public:
  explicit GoldenTask(const nn::StateDict& golden)
      : golden_(golden),
        config_(core::load<NetworkSections>(kTests / "parity/goldens/class_dit/whole.yaml")),
        net_(models::make_uninitialized_denoiser(config_.model)),
        objective_(config_.objective) {}
  torch::nn::Module& module() override { return *net_; }
  torch::Tensor loss(const Slice& slice) override {
    const auto rows = [&](const char* name) {
      return golden_.at(name)[step_ - 1].narrow(0, slice.first, slice.count);
    };
    return objective_.loss_at(eval::denoise_fn(*net_), rows("x0"), {.class_B = rows("class")}, rows("t"),
                              rows("noise"), {}, 0, net_->patch_size());
  }

 private:
  const nn::StateDict& golden_;
  NetworkSections config_;
  std::shared_ptr<models::Denoiser> net_;
  diffusion::Objective objective_;
};

/// Its norm and its products with two fixed unit vectors, as tests/parity/formulas.py has it. The keys' bias has no gradient but
/// rounding, which AdamW makes steps of: any two implementations differ there, so it is left out.
torch::Tensor digest(const checkpoint::Reader& reader, const std::string& group, const std::string& name) {
  const std::vector<std::int64_t>& shape = reader.tensors().at(group + name);
  torch::Tensor g = torch::empty(shape);
  reader.read(group + name, 0, {g.data_ptr<float>(), static_cast<std::size_t>(g.numel())});
  g = g.flatten().to(torch::kDouble);
  if (name.ends_with("in_proj_bias")) {
    const auto parts = g.chunk(3);
    g = torch::cat({parts[0], parts[2]});
  }
  const torch::Tensor k = torch::arange(g.numel(), torch::kDouble);
  const auto along = [&](const torch::Tensor& probe) { return g.dot(probe / probe.norm()); };
  return torch::stack(
      {g.norm(), along(torch::cos(0.61 * k + 0.0031 * k * k)), along(torch::sin(0.43 * k + 0.0071 * k * k))});
}

class Training : public Run, public testing::WithParamInterface<std::vector<std::int64_t>> {};

/// Seven steps: AdamW with torch's defaults on every parameter, CosineAnnealingLR(T_max 4), EMAModel(0.9, 3 steps of warm-up).
/// Loss and gradient norm of each step to 2e-6, its rate to 1e-15, weights and average after steps 1, 3 and 7 to 1e-5 of each tensor.
TEST_P(Training, IsThatOfTheOriginal) {
  const nn::StateDict golden = nn::load_tensors(kGoldens / "nano_training.safetensors");
  loop_.batch_size = 4;
  loop_.init.from = (kTests / "parity/goldens/class_dit/whole.weights.safetensors").string();
  loop_.optimizer = {.lr = 1e-3, .weight_decay = 0.01, .betas = {0.9, 0.999}, .eps = 1e-8, .clip_norm = 0};
  loop_.schedule = {.kind = "cosine_cycle", .final_factor = 0, .decay_steps = 4};
  loop_.ema = {.decay = 0.9, .warmup = 3, .ramp = "linear"};
  for (const std::int64_t steps :
       GetParam()) {  // each a life that goes on from the checkpoint of the one before
    loop_.steps = steps;
    GoldenTask task(golden);
    train(task, {});
  }
  std::ifstream metrics(run() / "metrics.jsonl");
  std::int64_t i = 0;
  for (std::string line; std::getline(metrics, line); ++i) {
    const core::Json found = core::Json::parse(line);
    const auto expect = [&](const char* name, double relative) {
      const auto value = golden.at(name)[i].item<double>();
      EXPECT_NEAR(found.at(name).get<double>(), value, relative * value) << "step " << i + 1 << " " << name;
    };
    ASSERT_EQ(found.at("step").get<std::int64_t>(), i + 1);
    expect("loss", 2e-6);
    expect("grad_norm", 2e-6);
    EXPECT_NEAR(found.at("lr").get<double>(), golden.at("lr")[i].item<double>(), 1e-15);
  }
  EXPECT_EQ(i, 7);
  std::int64_t compared = 0;
  for (const auto& [name, theirs] : golden) {
    const std::size_t dot = name.find('.');
    if (dot == name.npos) continue;  // stepN.digest.PARAMETER, stepN.mean_digest.PARAMETER
    const bool mean = name.compare(dot, 13, ".mean_digest.") == 0;
    const std::string parameter = name.substr(dot + (mean ? 13 : 8));
    const torch::Tensor ours =
        digest(checkpoint(std::stoll(name.substr(4))), mean ? "ema/" : "weights/", parameter);
    const double error = (ours - theirs).abs().max().item<double>() / theirs[0].item<double>();
    EXPECT_LE(error, 1e-5) << name;
    ++compared;
  }
  const auto parameters = static_cast<std::int64_t>(std::ranges::count_if(
      checkpoint(7).tensors(), [](const auto& one) { return one.first.starts_with("ema/"); }));
  EXPECT_GT(parameters, 20);
  EXPECT_EQ(compared, 3 * 2 * parameters);
}

INSTANTIATE_TEST_SUITE_P(Lives, Training,
                         testing::Values(std::vector<std::int64_t>{7}, std::vector<std::int64_t>{2, 5, 7}),
                         [](const auto& one) { return one.param.size() == 1 ? "one" : "three"; });

core::Json rules() {
  return core::read_json(kGoldens / "nano_rules.json");
}

TEST(NanoRules, RatesClimbAgain) {
  for (const core::Json& one : rules()["rates"]) {
    const double lr = one["lr"];
    const ScheduleConfig schedule{.kind = "cosine_cycle",
                                  .final_factor = one["eta_min"].get<double>() / lr,
                                  .decay_steps = one["T_max"].get<std::int64_t>()};
    const auto used = one["used"].get<std::vector<double>>();
    for (std::size_t i = 0; i < used.size(); ++i)
      EXPECT_NEAR(learning_rate({.lr = lr}, schedule, static_cast<std::int64_t>(i)), used[i], 1e-14 * lr)
          << i;
  }
}

/// One weight that jumps to 1, 2, 3 ...
TEST(NanoRules, AveragesAndTheirDecays) {
  const auto comm = comm::make_local_communicator();
  for (const core::Json& one : rules()["means"]) {
    torch::nn::Linear weight(torch::nn::LinearOptions(1, 1).bias(false));
    weight->weight.data().fill_(one["start"].get<double>());
    ShardedTraining training(*weight, {}, *comm, {.optimizer = {.with_ema = true}});
    OptimizerState& optimizer = training.optimizer;
    const EmaConfig ema{
        .decay = one["decay"], .warmup = one["warmup_steps"].get<std::int64_t>(), .ramp = "linear"};
    const auto decays = one["decays"].get<std::vector<double>>();
    for (std::size_t i = 0; i < decays.size(); ++i) {
      const auto step = static_cast<std::int64_t>(i) + 1;
      EXPECT_NEAR(ema_decay(ema, step), decays[i], 1e-15) << one << " " << i;
      weight->weight.data().fill_(static_cast<double>(step));
      optimizer.update({.lr = 0, .weight_decay = 0, .step = step, .ema_decay = ema_decay(ema, step)});
      optimizer.with_average([&] {
        EXPECT_NEAR(weight->weight.item<double>(), one["means"][i].get<double>(), 2e-6) << one << " " << i;
      });
    }
  }
}

/// Its validation losses are what the script says.
class ScriptedTask : public GivenTask {
 public:
  explicit ScriptedTask(const core::Json& trace) : trace_(trace) {}
  torch::nn::Module& module() override { return *net_; }
  torch::Tensor loss(const Slice&) override { return net_->parameters()[0].sum() * 0; }
  std::optional<Validated> validate(comm::Communicator&, const core::StopFlag&) override {
    const bool mean = trace_.contains("mean") && raw_ > mean_;  // raw weights come first
    return Validated{.loss = mean ? trace_["mean"].at(mean_++) : trace_["raw"].at(raw_++)};
  }

 private:
  const core::Json& trace_;
  std::size_t raw_ = 0, mean_ = 0;
  torch::nn::Linear net_{1, 1};
};

/// Which validation is the best and when patience ends the run. Ours measures before the first step where nano-diffusion measures
/// after its first epoch, so its epoch e is our step e, and a run of n epochs one of n - 1 steps. Files are another matter: the best
/// and the last checkpoint are always there, the others by checkpoint.every_steps and keep_last.
TEST_F(Run, BestAndPatienceAreThoseOfTheOriginal) {
  const core::Json traces = rules()["patience"];
  EXPECT_EQ(traces.size(), 7U);
  for (const auto& [name, trace] : traces.items()) {
    SCOPED_TRACE(name);
    fs::remove_all(run());
    const std::int64_t steps = trace["epochs"].get<std::int64_t>() - 1,
                       last = trace["epochs_run"].get<std::int64_t>() - 1;
    loop_.batch_size = 1;
    loop_.steps = steps;
    loop_.ema.decay = trace.contains("mean") ? 0.5 : 0;
    ScriptedTask task(trace);
    train(task, {.validate_every_steps = trace["interval"],
                 .patience = trace["patience"].is_null() ? 0 : trace["patience"].get<std::int64_t>(),
                 .keep_best = true});
    const core::Json found = checkpoint(last).state();  // what ended there was written there
    EXPECT_EQ(found.contains("ended_early"), last < steps);
    EXPECT_FALSE(fs::exists(run() / "checkpoints" / checkpoint::step_name(last + 1)));
    EXPECT_EQ(found["validation"]["without_better"], trace["counter"]);
    EXPECT_EQ(found["validation"].value("best", core::Json()), trace["best"]);
    std::int64_t best = -1;
    for (const core::Json& saved : trace["saved"])
      if (saved["best"].get<bool>()) best = saved["epoch"];
    EXPECT_EQ(found["validation"]["best_step"], best);
    if (best >= 0) {
      EXPECT_EQ(fs::read_symlink(run() / "checkpoints/best"), checkpoint::step_name(best));
    }
  }
}

}  // namespace
}  // namespace microdit::train
