// Opening a run.
#include "eval/trained_run.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <torch/utils.h>

#include "checkpoint/checkpoint.h"
#include "core/config.h"
#include "core/error.h"
#include "core/log.h"
#include "comm/device.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

/// JSON is YAML: facts hold resolved sections in the form their structs read.
template <class T>
T section(const core::Json& facts, const char* key, const fs::path& file) {
  return core::load<T>(core::ConfigTree::parse(facts.at(key).dump(), file.string() + ": " + key));
}

/// The guidance of the run's own sample grids.
double own_guidance(const fs::path& settings) {
  const core::Json json = core::read_json(settings);
  const auto found = json.find("sampling");
  if (found == json.end() || !found->contains("guidance") || !found->at("guidance").is_number()) {
    core::user_error("{}: sampling.guidance is missing; restore the file from a copy", settings.string());
  }
  return found->at("guidance").get<double>();
}

void load_weights(torch::nn::Module& module, const checkpoint::Reader& reader, const std::string& kind) {
  torch::NoGradGuard no_grad;
  for (const auto& item : module.named_parameters()) {
    const std::string name = kind + "/" + item.key();
    const auto found = reader.tensors().find(name);
    if (found == reader.tensors().end() || found->second != item.value().sizes().vec()) {
      core::user_error(
          "{}: {} is missing or has another shape than [{}]; it is a checkpoint of another model",
          reader.folder().string(), name, fmt::join(item.value().sizes(), ", "));
    }
    torch::Tensor host = torch::empty(item.value().sizes(), torch::kFloat32);
    reader.read(name, 0, {host.data_ptr<float>(), static_cast<std::size_t>(host.numel())});
    item.value().copy_(host);
  }
}

}  // namespace

void RunOptions::fields(core::Fields& f) {
  f.field("weights", weights, {.choices = {"auto", "ema", "raw"}, .help = "auto: ema where there is one"});
  f.field("device", device, {.choices = {"cpu", "cuda"}, .help = "where to compute"});
  f.field("threads_per_rank", threads_per_rank, {.min = 1, .max = 1024, .help = "intra-op threads"});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "samples at a time"});
  sampler.fields(f);
  own_guidance = f.given("guidance");
}

TrainedRun open_run(const fs::path& folder, const RunOptions& options, comm::Communicator& comm) {
  at::set_num_threads(static_cast<int>(options.threads_per_rank));
  const torch::Device device(comm::choose_device(comm, options.device).name());
  const fs::path facts_file = folder / "facts.json";
  if (!fs::exists(facts_file))
    core::user_error("--run {}: no run (facts.json is missing); train one first", folder.string());
  const core::Json facts = core::read_json(facts_file);
  if (facts.value("stage", "") != "run") {
    core::user_error("--run {}: a run of stage '{}', not of a denoiser", folder.string(),
                     facts.value("stage", "?"));
  }
  auto reader = checkpoint::open_latest(folder / "checkpoints", comm);
  if (!reader) core::user_error("--run {}: it has no checkpoint yet", folder.string());
  auto model = models::make_denoiser(section<models::DenoiserConfig>(facts, "model", facts_file));
  const bool has_ema = reader->has("ema/" + model->named_parameters().begin()->key());
  if (options.weights == "ema" && !has_ema)
    core::user_error("weights=ema: {} has no average; use weights=raw", reader->folder().string());
  const bool ema = options.weights == "ema" || (options.weights == "auto" && has_ema);
  load_weights(*model, *reader, ema ? "ema" : "weights");
  model->to(device);
  model->eval();
  diffusion::SamplerConfig sampler = options.sampler;
  if (!options.own_guidance) sampler.guidance = own_guidance(folder / "settings.json");
  core::log_info("{}: step {}, {} weights", reader->folder().string(), reader->step(),
                 ema ? "averaged" : "raw");
  return {folder,
          facts,
          reader->step(),
          ema ? "ema" : "raw",
          std::move(model),
          diffusion::Objective(section<diffusion::ObjectiveConfig>(facts, "objective", facts_file)),
          sampler,
          device};
}

}  // namespace microdit::eval
