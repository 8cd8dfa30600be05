// Config and record of a run to a stream.
#include "train/training_data.h"

#include <torch/types.h>

#include <algorithm>
#include <optional>

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "eval/encoder_hashes.h"
#include "eval/run_sources.h"
#include "train/run_folder.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;
constexpr double kLongestCheck_s = 48 * 3600;
// Of made-up samples, where neither the model nor another source says a shape: the original's.
constexpr std::int64_t kChannels = 4, kDownscale = 8, kTextLength = 77, kTextWidth = 1024;

template <class T>
T facts_of(const core::Json& json, const std::string& origin) {
  return core::load<T>(core::ConfigTree::of_json(json, origin));
}

/// Names as they are found again from any other folder.
eval::RunSource find_source(const LatentsData& data) {
  eval::RunSource source;
  if (!data.dataset.empty()) source = eval::latents_source(data.dataset, data.recipe);
  source.mds = data.mds.empty() ? "" : fs::absolute(data.mds).lexically_normal().string();
  source.columns = data.columns;
  source.synthetic = data.synthetic;
  source.min_side = data.min_side;
  source.limit = data.limit;
  return source;
}

/// What rank 0 finds on disk before anything is opened.
struct Found {
  std::vector<eval::RunSource> sources;
  std::vector<core::Json>
      encoders;  ///< of each source: {"codec", "text_encoder"}, where something names them
  std::optional<eval::RunFacts> begun;  ///< what the run recorded, if it was started before
};

/// The encoders that made a source's latents: of a folder as its facts say, of MDS as the config says.
core::Json encoders_of(const LatentsData& data, const eval::RunSource& source, const core::StopFlag& stop) {
  core::Json out = core::Json::object();
  if (!data.codec.empty()) out["codec"] = core::to_json(encoders::describe_image_codec(data.codec, stop));
  if (!data.text_encoder.empty())
    out["text_encoder"] = core::to_json(encoders::describe_text_encoder(data.text_encoder, stop));
  if (source.dataset.empty()) return out;
  const fs::path facts = core::latents_folder(source.dataset, source.recipe) / "facts.json";
  if (!fs::exists(facts)) return out;  // the stream will say what is missing
  const core::Json json = core::read_json(facts);
  for (const char* key : {"codec", "text_encoder"})
    if (json.contains(key)) out[key] = json[key];
  return out;
}

Found find(const TrainConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
  const fs::path record = run_folder(config.loop).facts();
  const comm::WiderDeadline others_wait(comm, eval::kLongestHash_s);
  const core::Json text = core::Json::parse(comm.on_root([&] {
    core::Json found = {{"sources", core::Json::array()}, {"encoders", core::Json::array()}};
    for (const LatentsData& data : config.data) {
      eval::RunSource source = find_source(data);
      found["sources"].push_back(core::to_json(source));
      found["encoders"].push_back(encoders_of(data, source, stop));
    }
    if (fs::exists(record)) found["begun"] = core::read_json(record);
    return found.dump();
  }));
  Found found;
  for (const core::Json& source : text["sources"])
    found.sources.push_back(facts_of<eval::RunSource>(source, "data"));
  for (const core::Json& one : text["encoders"]) found.encoders.push_back(one);
  if (text.contains("begun")) found.begun = facts_of<eval::RunFacts>(text["begun"], record.string());
  return found;
}

/// The first source's that has them.
template <class T>
T first_of(const Found& found, const char* key) {
  for (const core::Json& one : found.encoders)
    if (one.contains(key)) return facts_of<T>(one[key], fmt::format("facts of the latents: {}", key));
  return {};
}

stream::RowShape made_up_shape(const TrainConfig& config, const encoders::CodecFacts& codec,
                               const encoders::TextEncoderFacts& text) {
  stream::RowShape shape;
  const auto first = [](std::int64_t a, std::int64_t b, std::int64_t c) { return a > 0 ? a : b > 0 ? b : c; };
  shape.channels = first(config.model.in_channels, codec.channels, kChannels);
  shape.latent_size = first(config.model.input_size, 0, config.size / first(codec.downscale, 0, kDownscale));
  shape.text_length = kTextLength;
  shape.text_width = first(config.model.caption_channels, text.width, kTextWidth);
  return shape;
}

std::shared_ptr<std::byte> allocate_pinned(std::size_t bytes) {
  auto tensor = std::make_shared<torch::Tensor>(torch::empty(
      static_cast<std::int64_t>(bytes), torch::TensorOptions().dtype(torch::kUInt8).pinned_memory(true)));
  return {tensor, static_cast<std::byte*>(tensor->data_ptr())};
}

stream::StreamConfig stream_config(const TrainConfig& config, torch::Device device) {
  stream::StreamConfig s;
  s.size = config.size;
  s.captions = {config.captions.names, config.captions.shares};
  s.caption_drop = config.caption_drop;
  s.text = config.model.takes_text();
  s.classes = config.model.takes_classes();
  s.seed = static_cast<std::uint64_t>(config.loop.seed);
  s.shuffle_run = config.shuffle_run == "auto" ? 0 : std::stoll(config.shuffle_run);
  s.reading.threads = config.prefetch_threads;
  s.reading.rules = {static_cast<std::uint64_t>(config.reading.gap_kb) << 10, config.reading.read_ahead,
                     config.reading.keep_pages};
  s.reading.max_bad_fraction = config.reading.max_bad_fraction;
  s.reading.cache_dir = config.reading.cache_dir;
  s.reading.cache_bytes = static_cast<std::uint64_t>(config.reading.cache_gb * 1e9);
  if (device.is_cuda()) s.reading.allocate = allocate_pinned;
  return s;
}

/// The run's own generations and run length, where it was started before on the same data.
void go_on_as_begun(const Found& found, TrainingData& data, stream::StreamConfig& s) {
  if (!found.begun) return;
  for (std::size_t i = 0; i < std::min(data.sources.size(), found.begun->data.size()); ++i)
    if (data.sources[i].same_place(found.begun->data[i]))
      data.sources[i].generation = found.begun->data[i].generation;
  if (s.shuffle_run == 0) s.shuffle_run = found.begun->shuffle_run;
}

}  // namespace

void take_recorded_recipes(TrainConfig& config, comm::Communicator& comm) {
  const fs::path record = run_folder(config.loop).facts();
  const core::Json facts = core::Json::parse(comm.on_root(
      [&] { return (fs::exists(record) ? core::read_json(record) : core::Json::object()).dump(); }));
  for (std::size_t i = 0; i < config.data.size(); ++i) {
    LatentsData& data = config.data[i];
    if (data.recipe.empty()) data.recipe = recorded_recipe(facts, i, data.dataset);
  }
}

TrainingData open_training_data(const TrainConfig& config, torch::Device device, comm::Communicator& comm,
                                const core::StopFlag& stop) {
  const Found found = find(config, comm, stop);
  TrainingData data;
  data.sources = found.sources;
  data.codec = first_of<encoders::CodecFacts>(found, "codec");
  data.text_encoder = first_of<encoders::TextEncoderFacts>(found, "text_encoder");
  stream::StreamConfig s = stream_config(config, device);
  s.reading.preload = config.reading.preload && comm.local_rank() == 0;  // a node has one page cache
  go_on_as_begun(found, data, s);
  s.once = [&comm](const std::function<std::string()>& work) { return comm.on_root(work); };
  eval::SourcePlaces places;
  places.size = config.size;
  places.text_width = config.model.caption_channels;
  places.kept = fs::path(config.loop.runs) / ".mds";
  places.threads = config.prefetch_threads;
  places.made_up = made_up_shape(config, data.codec, data.text_encoder);
  places.once = s.once;
  for (std::size_t i = 0; i < data.sources.size(); ++i) {
    s.sources.push_back(eval::stream_source(data.sources[i], data.codec, data.text_encoder, places));
    s.sources.back().proportion = config.data[i].proportion;
  }
  {
    // Rank 0 reads an MDS folder's files once where hashes are to be checked, however large it is.
    const bool has_mds =
        std::any_of(config.data.begin(), config.data.end(), [](const auto& d) { return !d.mds.empty(); });
    const comm::WiderDeadline others_wait(comm, has_mds ? kLongestCheck_s : comm::kDeadline_s);
    data.stream = std::make_unique<stream::LatentStream>(s);
  }

  const std::vector<core::Json> pins = data.stream->pins();
  for (std::size_t i = 0; i < pins.size(); ++i) {
    eval::take_pin(pins[i], data.sources[i]);
    if (found.begun && i < found.begun->data.size() && data.sources[i].same_place(found.begun->data[i]))
      eval::check_pin(found.begun->data[i], data.sources[i], run_folder(config.loop).path());
  }
  const core::Json& facts = data.stream->facts().facts;
  data.captions = config.captions.names;
  if (data.captions.empty())
    data.captions = facts.value("caption_sources", std::vector<std::string>{"caption"});
  return data;
}

}  // namespace microdit::train
