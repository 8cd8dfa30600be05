// Opening a run.
#include "eval/trained_run.h"

#include <fmt/ranges.h>

#include "checkpoint/checkpoint.h"
#include "core/config.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

/// JSON is YAML: facts hold resolved sections in the form their structs read.
template <class T>
T section(const core::Json& facts, const char* key, const fs::path& file) {
  return core::load<T>(core::ConfigTree::parse(facts.at(key).dump(), file.string() + ": " + key));
}

void load_weights(torch::nn::Module& module, const checkpoint::Reader& reader, const std::string& kind) {
  torch::NoGradGuard no_grad;
  for (const auto& item : module.named_parameters()) {
    const std::string name = kind + "/" + item.key();
    const auto found = reader.tensors().find(name);
    if (found == reader.tensors().end() || found->second != item.value().sizes().vec()) {
      core::user_error("{}: {} is missing or has another shape than [{}]; it is a checkpoint of another model",
                       reader.folder().string(), name, fmt::join(item.value().sizes(), ", "));
    }
    torch::Tensor host = torch::empty(item.value().sizes(), torch::kFloat32);
    reader.read(name, 0, {host.data_ptr<float>(), static_cast<std::size_t>(host.numel())});
    item.value().copy_(host);
  }
}

}  // namespace

TrainedRun open_run(const fs::path& folder, const std::string& weights, torch::Device device, dist::Communicator& comm) {
  const fs::path facts_file = folder / "facts.json";
  if (!fs::exists(facts_file)) core::user_error("--run {}: no run (facts.json is missing); train one first", folder.string());
  const core::Json facts = core::read_json(facts_file);
  if (facts.value("stage", "") != "run") {
    core::user_error("--run {}: a run of stage '{}', not of a denoiser", folder.string(), facts.value("stage", "?"));
  }
  auto reader = checkpoint::open_latest(folder / "checkpoints", comm);
  if (!reader) core::user_error("--run {}: it has no checkpoint yet", folder.string());
  auto model = models::make_denoiser(section<models::DenoiserConfig>(facts, "model", facts_file));
  const bool has_ema = reader->has("ema/" + model->named_parameters().begin()->key());
  if (weights == "ema" && !has_ema) core::user_error("weights=ema: {} has no average; use weights=raw", reader->folder().string());
  const bool ema = weights == "ema" || (weights == "auto" && has_ema);
  load_weights(*model, *reader, ema ? "ema" : "weights");
  model->to(device);
  model->eval();
  core::log_info("{}: step {}, {} weights", reader->folder().string(), reader->step(), ema ? "averaged" : "raw");
  return {folder,         facts, reader->step(), ema ? "ema" : "raw", std::move(model),
          diffusion::Objective(section<diffusion::ObjectiveConfig>(facts, "objective", facts_file))};
}

}  // namespace microdit::eval
