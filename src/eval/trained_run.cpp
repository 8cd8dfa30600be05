// Opening a run.
#include "eval/trained_run.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "checkpoint/inspect.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "diffusion/grid.h"
#include "eval/painter.h"
#include "nn/state_dict.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

/// What painting takes from the run's own settings.
struct OwnSettings {
  diffusion::SamplerConfig sampler;
  std::string precision = "fp32";
  EvaluatedData validation;
};

OwnSettings read_settings(const fs::path& file) {
  const core::Json json = core::read_json(file);
  const auto wrong = [&](const char* key) {
    core::user_error("{}: {} is missing or of another type; restore the file from a copy", file.string(),
                     key);
  };
  const core::Json sampling = json.is_object() ? json.value("sampling", core::Json()) : core::Json();
  if (!sampling.is_object() || !sampling.contains("guidance") || !sampling["guidance"].is_number())
    wrong("sampling.guidance");
  if (!json.contains("precision") || !json["precision"].is_string()) wrong("precision");
  OwnSettings own{
      .sampler = core::load<diffusion::SamplerConfig>(
          core::ConfigTree::of_json(sampling, file.string() + ": sampling"), {"every_steps", "prompts"}),
      .precision = json["precision"].get<std::string>(),
      .validation = {}};
  if (const auto at = core::Json::json_pointer("/validation/data"); json.contains(at))
    own.validation = core::load<EvaluatedData>(
        core::ConfigTree::of_json({{"data", json[at]}}, file.string() + ": validation"));
  return own;
}

void copy_in(const checkpoint::Reader& reader, const std::string& name, torch::Tensor target) {
  const auto found = reader.tensors().find(name);
  if (found == reader.tensors().end() || found->second != target.sizes().vec()) {
    core::user_error("{}: {} is missing or has another shape than [{}]; it is a checkpoint of another model",
                     reader.folder().string(), name, fmt::join(target.sizes(), ", "));
  }
  torch::Tensor host = torch::empty(target.sizes(), torch::kFloat32);
  reader.read(name, 0, {host.data_ptr<float>(), static_cast<std::size_t>(host.numel())});
  target.copy_(host);
}

bool is_run(const fs::path& folder) {
  return fs::exists(folder / "facts.json");
}

/// RUN/checkpoints/best as what it leads to.
fs::path followed(const fs::path& given) {
  const fs::path whole = core::whole_path(given);
  std::error_code none;
  if (whole.filename() == "best" && whole.parent_path().filename() == "checkpoints" &&
      !fs::exists(whole, none))
    core::user_error("--run {}: no best checkpoint yet; validation.every_steps of the training makes it",
                     given.string());
  return fs::is_symlink(whole, none) && whole.filename() == "best"
             ? whole.parent_path() / fs::read_symlink(whole, none).filename()
             : whole;
}

/// The checkpoints folder that `given` is or lies in; empty where it is something else.
fs::path checkpoints_of(const fs::path& given) {
  if (is_run(given)) return {};
  const fs::path whole = followed(given);
  const fs::path folder = checkpoint::step_of(whole.filename().string()) ? whole.parent_path() : whole;
  return folder.filename() == "checkpoints" && is_run(folder.parent_path()) ? folder : fs::path();
}

/// The step that --run and step= name; nothing: the newest.
std::optional<std::int64_t> chosen_step(const fs::path& given, std::int64_t step) {
  const auto named =
      checkpoints_of(given).empty() ? std::nullopt : checkpoint::step_of(followed(given).filename().string());
  if (named && step >= 0 && *named != step)
    core::user_error("step={}: --run {} names another step; leave one of them out", step, given.string());
  return named ? named : step >= 0 ? std::optional(step) : std::nullopt;
}

checkpoint::Reader open_step(const fs::path& run, std::int64_t step, comm::Communicator& comm) {
  const fs::path folder = run / "checkpoints";
  comm.on_root([&] {
    const std::vector<std::int64_t> steps = checkpoint::list_steps(folder);
    if (std::ranges::find(steps, step) != steps.end()) return;
    core::user_error("step={}: {} has no such checkpoint; there are {} (step=-1: the newest)", step,
                     run.string(), steps.empty() ? "none" : fmt::format("{}", fmt::join(steps, ", ")));
  });
  return checkpoint::open(folder / checkpoint::step_name(step), comm);
}

/// Whether the averaged weights are taken.
bool takes_average(const std::string& wish, const checkpoint::Reader& reader) {
  const auto first = reader.tensors().lower_bound("ema/");
  const bool has_average = first != reader.tensors().end() && first->first.starts_with("ema/");
  if (wish == "ema" && !has_average)
    core::user_error("weights=ema: {} has no average; use weights=raw", reader.folder().string());
  return wish == "ema" || (wish == "auto" && has_average);
}

}  // namespace

void RunOptions::fields(core::Fields& f) {
  f.field("step", step, {.min = -1, .help = "checkpoint of this step; -1 = the newest that verifies"});
  f.field("weights", weights, {.choices = {"auto", "ema", "raw"}, .help = "auto: ema where there is one"});
  compute.fields(f);
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "samples at a time"});
  sampler.fields_at_top(f);  // what is not given: the run's own (sampling.*), but for the steps
}

std::string TrainedRun::checkpoint_sha256() const {
  return core::sha256_file(checkpoint.folder() / "manifest.json");
}

std::shared_ptr<models::Denoiser> TrainedRun::load_model(torch::Device device) const {
  const torch::NoGradGuard no_grad;
  auto model = models::make_uninitialized_denoiser(facts.model);
  const std::string group = weights == "ema" ? "ema/" : "weights/";
  for (const nn::DistinctParameter& item : nn::distinct_parameters(*model))
    copy_in(checkpoint, group + item.name, item.tensor);
  for (const auto& item : model->named_buffers()) {
    const std::string name = "buffers/" + item.key();
    if (checkpoint.has(name)) copy_in(checkpoint, name, item.value());  // a converted file may leave them out
  }
  model->to(device);
  model->eval();
  return model;
}

void check_sampler(const TrainedRun& run, bool with_class) {
  demand_paintable(run.sampler, run.facts.model, with_class);
  diffusion::make_grid(run.sampler, run.objective.config(), run.objective.path(), run.facts.latent_size);
}

std::string needs_text(const TrainedRun& run, const RunOptions& options) {
  double parameters = 0;
  const std::string group = run.weights == "ema" ? "ema/" : "weights/";
  for (const auto& [name, shape] : run.checkpoint.tensors()) {
    if (!name.starts_with(group)) continue;
    double count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<double>(extent);
    parameters += count;
  }
  return fmt::format(
      "each rank needs: a network of {:.1f} million parameters, {:.2f} GB in fp32 (device={}, precision={}), "
      "the encoders, and "
      "{} samples of {} px at a time (batch_size)",
      parameters / 1e6, parameters * 4 / 1e9, options.compute.device, options.compute.precision,
      options.batch_size, run.facts.size);
}

fs::path run_folder_of(const fs::path& given) {
  const fs::path checkpoints = checkpoints_of(given);
  return checkpoints.empty() ? given : checkpoints.parent_path();
}

TrainedRun open_run(const fs::path& given, const RunOptions& options, comm::Communicator& comm) {
  const fs::path folder = run_folder_of(given);
  RunFacts facts = read_run_facts(folder);
  const OwnSettings own = read_settings(folder / "settings.json");
  const std::optional<std::int64_t> step = chosen_step(given, options.step);
  std::optional<checkpoint::Reader> reader =
      step ? open_step(folder, *step, comm) : checkpoint::open_latest(folder / "checkpoints", comm);
  if (!reader) core::user_error("--run {}: it has no checkpoint yet", folder.string());
  const bool average = takes_average(options.weights, *reader);
  core::log_info("{}: step {}, {} weights", reader->folder().string(), reader->step(),
                 average ? "averaged" : "raw");
  const diffusion::Objective objective(facts.objective);
  const diffusion::SamplerConfig sampler =
      diffusion::settled(options.sampler.over(own.sampler), objective.config());
  return {.folder = folder,
          .facts = std::move(facts),
          .checkpoint = std::move(*reader),
          .weights = average ? "ema" : "raw",
          .objective = objective,
          .sampler = sampler,
          .trained_precision = own.precision,
          .validation = own.validation.data};
}

}  // namespace microdit::eval
