// convert: a checkpoint <-> one file of weights with the original's names; .pt <-> safetensors; samples or latents -> WebDataset.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "convert_config.h"
#include "convert_diffusers.h"
#include "convert_weights.h"
#include "core/atomic_file.h"
#include "core/hash.h"
#include "core/utf8.h"
#include "core/weights_file.h"
#include "ingest/webdataset.h"
#include "job.h"
#include "output_path.h"

namespace {

namespace fs = std::filesystem;
using namespace microdit;

struct ConvertConfig {
  std::string weights = "auto";
  std::int64_t step = -1;
  std::string names = "auto";
  std::string target;
  bool overwrite = false;
  std::string format = "auto";
  diffusion::SamplerConfig sampler;  ///< of format=diffusers
  std::vector<std::string> buffers = {"pos_embed", "mask_token"};
  bool buffers_given = false;

  void fields(core::Fields& f) {
    f.field("weights", weights,
            {.choices = {"auto", "raw", "ema"}, .help = "which of a checkpoint's; auto = ema if present"});
    f.field("step", step, {.min = -1, .help = "which checkpoint of a run; -1 = the newest that verifies"});
    f.field("names", names,
            {.choices = {"auto", "stored", "network"},
             .help = "of a file's tensors: as stored, or one network's alone by its own names (without "
                     "state.model., dit., "
                     "module.; no optimizer, no vae); auto = network for a checkpoint, stored for a file"});
    f.field("target", target,
            {.help = "a run, a checkpoint or a file of weights whose names and shapes the input must have; "
                     "empty = any"});
    f.field("overwrite", overwrite, {.help = "replace a file that is at --output already"});
    f.field("format", format,
            {.choices = {"auto", "diffusers"},
             .help = "diffusers: of a run of kind unet the folder that Python's diffusers loads; the "
                     "sampler's keys below are "
                     "its scheduler's, where not given the run's own (sampling.*)"});
    sampler.fields_at_top(f);
    if (f.reading() && format != "diffusers" && !sampler.given.empty())
      f.error(sampler.given.front(), "has no effect without format=diffusers");
    f.field("buffers", buffers, {.help = "file -> checkpoint: names that are buffers, not parameters"});
    buffers_given = f.given("buffers");
  }
};

std::string plain_name(const std::string& stored, const std::string& group) {
  return stored.starts_with(group) ? stored.substr(group.size()) : std::string();
}

/// A tensor that owns its values.
struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

// --- checkpoint -> file ------------------------------------------------------------------------

checkpoint::Reader open_checkpoint(const fs::path& input, std::int64_t step) {
  if (checkpoint::step_of(input.filename().string()) || fs::exists(input / "manifest.json")) {
    return checkpoint::Reader(input);
  }
  const fs::path folder = fs::is_directory(input / "checkpoints") ? input / "checkpoints" : input;
  if (step >= 0) {
    const fs::path chosen = folder / checkpoint::step_name(step);
    if (!fs::is_directory(chosen))
      core::user_error("convert: step={}: {} does not exist", step, chosen.string());
    return checkpoint::Reader(chosen);
  }
  auto newest = checkpoint::open_latest(folder);
  if (!newest) {
    if (fs::exists(input / "model_index.json")) core::WeightsFile{input};  // says what the folder is
    core::user_error(
        "convert: --input {}: no checkpoint in it; give a run, its checkpoints folder or one step_N folder",
        input.string());
  }
  return std::move(*newest);
}

std::vector<Tensor> read_tensors(const checkpoint::Reader& reader, const std::string& group) {
  const core::Json aliases = reader.state().value("aliases", core::Json::object());
  std::vector<Tensor> tensors;
  for (const auto& [stored, shape] : reader.tensors()) {
    for (const std::string& wanted : {group, std::string("buffers/")}) {
      const std::string name = plain_name(stored, wanted);
      if (name.empty()) continue;
      std::size_t count = 1;
      for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
      tensors.push_back({name, shape, std::vector<float>(count)});
      reader.read(stored, 0, tensors.back().values);
      for (const std::string& alias : aliases.value(name, std::vector<std::string>())) {
        Tensor again = tensors.back();
        again.name = alias;  // PyTorch, too, writes a shared parameter under each of its names
        tensors.push_back(std::move(again));
      }
    }
  }
  return tensors;
}

void checkpoint_to_file(const fs::path& input, const fs::path& output, const ConvertConfig& config) {
  const checkpoint::Reader reader = open_checkpoint(input, config.step);
  const auto has_group = [&](const std::string& group) {
    return std::any_of(reader.tensors().begin(), reader.tensors().end(),
                       [&](const auto& tensor) { return tensor.first.starts_with(group); });
  };
  std::string group = config.weights == "raw" ? "weights/" : "ema/";
  if (config.weights == "auto" && !has_group(group)) group = "weights/";
  if (!has_group(group)) {
    core::user_error("convert: weights={}: {} holds none; use weights={}", config.weights,
                     reader.folder().string(), config.weights == "raw" ? "ema" : "raw");
  }
  const std::vector<Tensor> tensors = read_tensors(reader, group);
  std::map<std::string, core::TensorInfo> infos;
  std::map<std::string, std::span<const std::byte>> bytes;
  core::Shapes shapes;
  std::string buffers;
  for (const Tensor& tensor : tensors) {
    bytes[tensor.name] = std::as_bytes(std::span(tensor.values));
    infos[tensor.name] = {core::DType::f32, tensor.shape, 0, bytes[tensor.name].size()};
    shapes[tensor.name] = tensor.shape;
    if (reader.has("buffers/" + tensor.name)) buffers += (buffers.empty() ? "" : ",") + tensor.name;
  }
  jobs::check_target(shapes, reader.folder(), config.target, "network");
  jobs::write_weights(output, infos,
                      [&](const std::string& name, std::span<std::byte> out) {
                        std::copy(bytes.at(name).begin(), bytes.at(name).end(), out.begin());
                      },
                      {{"weights", group == "ema/" ? "ema" : "raw"},
                       {"step", std::to_string(reader.step())},
                       {"buffers", buffers}});
  core::log_info("{} ({}, step {}) -> {}: {} tensors", reader.folder().string(),
                 group == "ema/" ? "ema" : "raw", reader.step(), output.string(), infos.size());
}

// --- file -> checkpoint ------------------------------------------------------------------------

template <class T>
std::vector<T> as(const std::vector<std::byte>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

std::vector<float> to_floats(const std::vector<std::byte>& bytes, core::DType dtype,
                             const std::string& where) {
  std::vector<float> floats;
  switch (dtype) {
    case core::DType::f32:
      return as<float>(bytes);
    case core::DType::f64:
      for (const double value : as<double>(bytes)) floats.push_back(static_cast<float>(value));
      return floats;
    case core::DType::f16:
      for (const std::uint16_t half : as<std::uint16_t>(bytes)) floats.push_back(core::half_to_float(half));
      return floats;
    case core::DType::bf16:  // the upper half of a float
      for (const std::uint16_t upper : as<std::uint16_t>(bytes)) {
        floats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(upper) << 16));
      }
      return floats;
    default:
      core::user_error("convert: {} is {}; weights are F32, F16, BF16 or F64", where, core::name_of(dtype));
  }
}

/// The checkpoints folder and the step that `output` names: RUN, RUN/checkpoints or RUN/checkpoints/step_N.
std::pair<fs::path, std::int64_t> destination(fs::path output) {
  if (output.filename().empty()) output = output.parent_path();  // a slash at the end
  if (const auto step = checkpoint::step_of(output.filename().string())) return {output.parent_path(), *step};
  return {output.filename() == "checkpoints" ? output : output / "checkpoints", 0};
}

std::vector<std::string> buffer_names(const core::WeightsFile& file, const ConvertConfig& config) {
  const auto noted = file.metadata().find("buffers");  // by convert itself
  if (noted == file.metadata().end()) return config.buffers;
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < noted->second.size();) {
    const std::size_t end = std::min(noted->second.find(',', begin), noted->second.size());
    names.push_back(noted->second.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

void file_to_checkpoint(const fs::path& input, const fs::path& output, const ConvertConfig& config,
                        comm::Communicator& comm) {
  const auto [folder, step] = destination(output);
  const fs::path target = folder / checkpoint::step_name(step);
  if (fs::exists(target))
    core::user_error("convert: --output {}: {} is there already; remove it first", output.string(),
                     target.string());
  const core::WeightsFile file(input);
  const std::vector<std::string> buffers = buffer_names(file, config);
  const auto names = jobs::chosen_names(file, config.names == "auto" ? "network" : config.names);
  core::Shapes shapes;
  for (const auto& [name, stored] : names) shapes.emplace(name, file.info(stored).shape);
  jobs::check_target(shapes, input, config.target, "network");
  std::vector<checkpoint::Part> parts;
  for (const auto& [name, stored] : names) {
    const core::TensorInfo& info = file.info(stored);
    std::vector<std::byte> bytes(info.bytes);
    file.read(stored, bytes);
    std::vector<float> values =
        to_floats(bytes, info.dtype, fmt::format("{}: tensor {}", input.string(), name));
    if (std::find(buffers.begin(), buffers.end(), name) != buffers.end()) {
      parts.push_back({fmt::format("buffers/{}", name), info.shape, 0, std::move(values)});
    } else {
      parts.push_back({fmt::format("ema/{}", name), info.shape, 0, values});
      for (const char* moment : {"exp_avg", "exp_avg_sq"}) {
        parts.push_back(
            {fmt::format("{}/{}", moment, name), info.shape, 0, std::vector<float>(values.size())});
      }
      parts.push_back({fmt::format("weights/{}", name), info.shape, 0, std::move(values)});
    }
  }
  checkpoint::Writer writer(folder, comm);
  // The optimizer's moments are zero, as before its first update.
  writer.start(
      step, std::move(parts),
      {{"updates", 0}, {"skipped_in_a_row", 0}, {"converted_from_sha256", core::sha256_file(input)}});
  writer.finish({});
  core::log_info("{} -> {}: {} tensors", input.string(), target.string(), names.size());
}

bool is_stage_folder(const fs::path& input) {
  return fs::exists(input / "manifest.jsonl") || fs::is_directory(input / "records");
}

int samples_or_latents(const fs::path& input, const fs::path& output, const jobs::Job& job) {
  if (!job.line.overrides.empty())
    core::user_error("convert: settings are for checkpoints; samples and latents take none");
  if (fs::exists(output) && !fs::is_directory(output))
    core::user_error("convert: --output {}: is a file; samples and latents become a folder", output.string());
  const ingest::WebDatasetExport done = ingest::export_webdataset(input, output);
  core::log_info("{} -> {}: {} samples in {} tars{}", input.string(), output.string(), done.samples,
                 done.shards, done.kept > 0 ? fmt::format(", {} of them there already", done.kept) : "");
  return core::kDone;
}

int convert(jobs::Job& job) {
  const fs::path input = job.line.paths.at("input"), output = job.line.paths.at("output");
  if (input.empty() || output.empty())
    core::user_error("convert: --input and --output are needed (see --help)");
  if (job.comm.size() != 1) core::user_error("convert: runs as one process, not {}", job.comm.size());
  if (!fs::exists(input)) core::user_error("convert: --input {} does not exist", input.string());
  if (is_stage_folder(input)) return samples_or_latents(input, output, job);
  const auto config = core::load<ConvertConfig>(core::ConfigTree::of_overrides(job.line.overrides));
  if (input.extension() == ".yaml" || input.extension() == ".yml") {
    for (const std::string& word : job.line.overrides)
      if (!word.starts_with("overwrite="))
        core::user_error("convert: {} has no effect on settings; only overwrite has",
                         core::with_valid_utf8(word));
    jobs::check_new_file(input, output, config.overwrite);
    jobs::convert_config(input, output);
    return core::kDone;
  }
  if (config.format == "diffusers") {
    if (!config.target.empty() || config.names != "auto" || config.overwrite || config.buffers_given)
      core::user_error("convert: target, names, buffers and overwrite have no effect with format=diffusers");
    const eval::RunOptions options{.step = config.step, .weights = config.weights, .sampler = config.sampler};
    jobs::run_to_diffusers(input, options, output, job.comm);
    return core::kDone;
  }
  if (fs::is_directory(input)) {
    if (fs::is_directory(output))
      core::user_error("convert: --output {} is a folder; name a file", output.string());
    jobs::check_new_file(input, output, config.overwrite);
    checkpoint_to_file(input, output, config);
  } else if (jobs::is_weights_name(output)) {
    jobs::check_new_file(input, output, config.overwrite);
    jobs::convert_weights(input, output, config.names == "auto" ? "stored" : config.names, config.target);
  } else {
    file_to_checkpoint(input, output, config, job.comm);
  }
  return core::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  const jobs::JobInfo info{
      .name = "convert",
      .summary =
          "A checkpoint (RUN, RUN/checkpoints or one step_N folder) -> one file of weights (.safetensors or "
          ".pt, by its name), "
          "or such a file -> RUN/checkpoints/step_0000000; a file .pt, .bin, .ckpt or .safetensors -> a file "
          "of the other kind "
          "(nothing in it is executed); or samples/NAME or latents/NAME/RECIPE -> a folder of "
          "WebDataset tars; or, with format=diffusers, a run of a U-Net -> a folder that diffusers loads; or "
          "micro_diffusion's settings (.yaml) -> ours.",
      .takes_config = false,
      .obeys_stop = false,
      .path_options = {"input", "output"},
      .field_help = core::describe_fields<ConvertConfig>()};
  return jobs::run_job(argc, argv, info, convert);
}
