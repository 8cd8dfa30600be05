// probe forward, loss, sample: a denoiser with given weights.
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "diffusion/sampler.h"
#include "eval/denoise_fn.h"
#include "models/denoiser.h"
#include "nn/autocast.h"
#include "nn/state_dict.h"
#include "probe.h"

namespace microdit::jobs {

namespace {

struct NetworkConfig {
  models::DenoiserConfig model;
  diffusion::ObjectiveConfig objective;
  diffusion::SamplerConfig sampler;
  double mask_ratio = 0;
  std::string device = "cpu";
  std::string precision = "fp32";

  void fields(core::Fields& f) {
    f.section("model", model);
    f.section("objective", objective);
    sampler.fields_at_top(f);
    f.field("mask_ratio", mask_ratio, {.min = 0, .max = 1, .help = "share of patches to drop"});
    f.field("device", device, {.choices = {"cpu", "cuda"}});
    f.field("precision", precision, {.choices = {"fp32", "bf16"}, .help = "compute type; weights stay fp32"});
  }
};

/// The tensors of --input, checked one by one.
class Input {
 public:
  Input(const std::filesystem::path& path, torch::Device device)
      : path_(path), device_(device), tensors_(nn::load_tensors(path)) {}

  torch::Device device() const { return device_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// fp32 on the device; `axes` names the axes in messages.
  torch::Tensor get(const std::string& name, std::int64_t num_axes, const char* axes) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      core::user_error("{}: tensor \"{}\" {} is missing", path_.string(), name, axes);
    const torch::Tensor& tensor = found->second;
    if (tensor.dim() != num_axes || !tensor.is_floating_point()) {
      core::user_error("{}: tensor \"{}\" is {} {} and must be floating point {}", path_.string(), name,
                       core::name_of(nn::from_torch(tensor.scalar_type())), c10::str(tensor.sizes()), axes);
    }
    return tensor.to(device_, torch::kFloat);
  }
  /// What the model takes of "class", "text" and "text_mask" (of any type: not zero for rows that are seen). `name`: what stands for "text"; "negative" goes with "negative_mask" and "negative_class".
  diffusion::Condition condition(const models::DenoiserConfig& model,
                                 const std::string& name = "text") const {
    diffusion::Condition condition;
    if (model.takes_classes()) condition.class_B = classes(name == "text" ? "class" : name + "_class");
    if (!model.takes_text()) return condition;
    if (model.text_conditioner) {
      const bool given = name == "text";
      take_tokens(condition, given ? "tokens" : name + "_tokens", name + "_length");
      return condition;
    }
    condition.text_BLD = get(name, 3, "[B, L, D]");
    // A unet takes a mask wherever there is one; the others' masks belong to their config.
    if (!model.text_mask && !(model.kind == "unet" && has(name + "_mask"))) return condition;
    const auto found = tensors_.find(name + "_mask");
    if (found == tensors_.end() || found->second.sizes() != condition.text_BLD.sizes().slice(0, 2))
      core::user_error(
          "{}: tensor \"{}_mask\" [B, L] is {}", path_.string(), name,
          found == tensors_.end() ? "missing (model.text_mask: true)" : c10::str(found->second.sizes()));
    condition.text_mask_BL = found->second.to(device_) != 0;
    return condition;
  }
  /// What guidance leads away from: "negative" (and "negative_mask"), "negative_class", else the model's null.
  diffusion::Condition null(const models::Denoiser& net, const models::DenoiserConfig& model,
                            const diffusion::Condition& given) const {
    const char* negative = model.text_conditioner ? "negative_tokens"
                           : model.takes_text()   ? "negative"
                                                  : "negative_class";
    if (has(negative)) return eval::with_text_rows(net, condition(model, "negative"));
    return model.has_null() ? eval::null_like(net, given) : diffusion::Condition();
  }
  /// int64 [B, L] and [B], on the CPU: how many of each caption's are tokens.
  void take_tokens(diffusion::Condition& condition, const std::string& name,
                   const std::string& length) const {
    const auto whole = [&](const std::string& key, std::int64_t axes, const char* shape) {
      const auto found = tensors_.find(key);
      if (found == tensors_.end() || found->second.dim() != axes ||
          found->second.scalar_type() != torch::kLong)
        core::user_error("{}: tensor \"{}\" {} of int64 is {}", path_.string(), key, shape,
                         found == tensors_.end() ? "missing" : c10::str(found->second.sizes()));
      return found->second;
    };
    condition.tokens_BL = whole(name, 2, "[B, L]");
    const torch::Tensor lengths_B = whole(length, 1, "[B]");
    if (lengths_B.size(0) != condition.tokens_BL.size(0))
      core::user_error("{}: tensor \"{}\" is {} and \"{}\" {}", path_.string(), length,
                       c10::str(lengths_B.sizes()), name, c10::str(condition.tokens_BL.sizes()));
    condition.text_mask_BL = torch::arange(condition.tokens_BL.size(1)) < lengths_B.unsqueeze(1);
  }
  torch::Tensor classes(const std::string& name) const {
    const auto given = tensors_.find(name);
    if (given == tensors_.end() || given->second.dim() != 1 || given->second.scalar_type() != torch::kLong)
      core::user_error("{}: tensor \"{}\" [B] of int64 is {}", path_.string(), name,
                       given == tensors_.end() ? "missing" : c10::str(given->second.sizes()));
    return given->second.to(device_);
  }
  torch::Tensor like(const std::string& name, const torch::Tensor& other, const char* axes) const {
    const torch::Tensor tensor = get(name, other.dim(), axes);
    if (tensor.sizes() != other.sizes()) {
      core::user_error("{}: tensor \"{}\" is {} and must be {}", path_.string(), name,
                       c10::str(tensor.sizes()), c10::str(other.sizes()));
    }
    return tensor;
  }

 private:
  std::filesystem::path path_;
  torch::Device device_;
  nn::StateDict tensors_;
};

struct Setup {
  NetworkConfig config;
  std::shared_ptr<models::Denoiser> net;
  Input input;

  /// With mask_ratio > 0 the input must hold mask_noise.
  std::optional<models::Mask> mask() const {
    if (config.mask_ratio == 0) return std::nullopt;
    return models::Mask{config.mask_ratio, input.get("mask_noise", 2, "[B, T]")};
  }
  /// In the precision asked for, while it lives.
  nn::Autocast compute() const { return {config.precision == "bf16", input.device()}; }
  diffusion::DenoiseFn denoise() const { return eval::denoise_fn(*net); }
  /// With its text rows.
  diffusion::Condition condition() const { return eval::with_text_rows(*net, input.condition(config.model)); }
};

torch::Device device_of(const std::string& name) {
  if (name == "cuda" && !torch::cuda::is_available()) {
    core::user_error(
        "device: cuda is not available here (build with MICRODIT_CUDA=ON on a machine with a GPU); use "
        "device=cpu");
  }
  return torch::Device(name);
}

Setup set_up(const Job& job) {
  if (job.line.config.empty())
    core::user_error("probe {}: --config FILE is missing (see --help)", job.line.positional[0]);
  const auto config = core::load<NetworkConfig>(job.line.config, job.line.overrides);
  const std::filesystem::path weights = needed_path(job, "weights"), input = needed_path(job, "input");
  const torch::Device device = device_of(config.device);
  needed_path(job, "output");
  const auto net = models::make_uninitialized_denoiser(config.model);
  nn::load_state_dict(*net, nn::load_network(weights), weights.string());
  net->to(device);
  return {config, net, Input(input, device)};
}

void save(const Job& job, const nn::StateDict& tensors) {
  nn::save_tensors(needed_path(job, "output"), tensors);
  core::log_info("probe {}: wrote {} tensors to {}", job.line.positional[0], tensors.size(),
                 needed_path(job, "output").string());
}

}  // namespace

int probe_forward(Job& job) {
  const Setup setup = set_up(job);
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = setup.input.get("x", 4, "[B, C, H, W]");
  const torch::Tensor label = setup.input.get("noise_label", 1, "[B]");
  const nn::Autocast compute = setup.compute();
  const diffusion::Condition condition = setup.condition();
  save(job,
       {{"sample", setup.net
                       ->forward(x, label, {condition.text_BLD, condition.text_mask_BL, condition.class_B},
                                 setup.mask())
                       .prediction_BCHW.to(torch::kFloat)}});
  return core::kDone;
}

namespace {

/// "sigma" of the path edm, "t" of the others; inside the path's range.
torch::Tensor time_of(const Setup& setup, const diffusion::Objective& objective, const torch::Tensor& x0,
                      const std::filesystem::path& input) {
  const bool edm = objective.config().family().is(diffusion::Family::Kind::edm);
  const char* name = edm ? "sigma" : "t";
  const torch::Tensor time = setup.input.like(name, x0.select(1, 0).select(1, 0).select(1, 0), "[B]");
  if (edm && !(time > 0).all().item<bool>())
    core::user_error("{}: tensor \"sigma\" must be above 0 everywhere", input.string());
  if (!edm && !((time >= 0) & (time <= objective.path().last_time())).all().item<bool>())
    core::user_error("{}: tensor \"t\" must lie in 0 ... {} (objective.path: {})", input.string(),
                     objective.path().last_time(), objective.config().path);
  return time;
}

}  // namespace

int probe_loss(Job& job) {
  const Setup setup = set_up(job);
  const diffusion::Objective objective(setup.config.objective);
  const torch::Tensor x0 = setup.input.get("x0", 4, "[B, C, H, W]");
  const torch::Tensor noise = setup.input.like("noise", x0, "[B, C, H, W]");
  const torch::Tensor time = time_of(setup, objective, x0, needed_path(job, "input"));
  const auto mask = setup.mask();
  const torch::Tensor loss = [&] {  // as a training step does it: the backward pass is outside
    const nn::Autocast compute = setup.compute();
    return objective.loss_at(setup.denoise(), x0, setup.condition(), time, noise,
                             mask ? mask->noise_BT : torch::Tensor(), setup.config.mask_ratio,
                             setup.net->patch_size());
  }();
  loss.backward();
  nn::StateDict out{{"loss", loss}};
  for (const nn::DistinctParameter& one : nn::distinct_parameters(*setup.net))
    if (one.tensor.grad().defined()) out.emplace("grad." + one.name, one.tensor.grad());
  save(job, out);
  return core::kDone;
}

int probe_sample(Job& job) {
  const Setup setup = set_up(job);
  const diffusion::Objective objective(setup.config.objective);
  if (setup.config.mask_ratio != 0)
    core::user_error("probe sample: mask_ratio must be 0 (a picture needs all its patches)");
  const torch::Tensor x = setup.input.get("x", 4, "[B, C, H, W]");
  const torch::NoGradGuard no_grad;
  const nn::Autocast compute = setup.compute();
  const diffusion::Condition condition = setup.condition();
  const diffusion::SamplerConfig& sampler = setup.config.sampler;
  diffusion::SampleInput start{.unit_BCHW = x,
                               .condition = condition,
                               .null = setup.input.null(*setup.net, setup.config.model, condition)};
  if (diffusion::adds_noise(sampler, objective.config())) {  // probe draws none
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.insert(shape.begin(), sampler.steps);
    const torch::Tensor noise = setup.input.like("step_noise", torch::empty(shape), "[steps, B, C, H, W]");
    start.step_noise = [noise](std::int64_t step) { return noise[step]; };
  }
  std::vector<torch::Tensor> states;
  start.each_step = [&](std::int64_t, const torch::Tensor& state) {
    states.push_back(state.to(torch::kFloat));
  };
  nn::StateDict out{{"sample", diffusion::sample(objective, setup.denoise(), sampler, start)}};
  if (!states.empty()) out.emplace("intermediates", torch::stack(states));
  save(job, out);
  return core::kDone;
}

}  // namespace microdit::jobs
