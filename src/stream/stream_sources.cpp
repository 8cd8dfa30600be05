// Config to sources.
#include "stream/stream_sources.h"

#include <algorithm>

#include "core/error.h"
#include "core/later_facts.h"
#include "core/seed.h"
#include "core/utf8.h"
#include "stream/node_cache.h"
#include "stream/synthetic.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kMaxOpenFiles = 256;  // well below the usual limit of 1024 per process

FolderOptions folder_options(const StreamConfig& config, const SourceConfig& source) {
  FolderOptions options;
  options.folder = source.folder;
  options.generation = source.generation;
  options.size = config.size;
  options.split = config.split == "held_out" ? 1 : 0;
  options.min_side = source.min_side;
  options.classes = config.classes;
  options.captions = config.captions;
  options.text = config.text;
  options.seed = config.seed;
  options.verify = config.reading.verify;
  return options;
}

/// When the shape is known.
void open_synthetic(const StreamConfig& config, std::vector<std::unique_ptr<RowSource>>& sources) {
  const auto real =
      std::find_if(sources.begin(), sources.end(), [](const auto& source) { return source != nullptr; });
  const RowShape* shape = real != sources.end() ? &(*real)->shape() : nullptr;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const SourceConfig& source = config.sources[i];
    if (!sources[i])
      sources[i] = make_synthetic(shape ? *shape : source.synthetic_shape, source.synthetic,
                                  core::derive_seed(config.seed, i));
  }
}

}  // namespace

void check_config(const StreamConfig& config) {
  if (config.sources.empty()) core::user_error("sources: name at least one latents folder");
  if (config.sources.size() > 1024)
    core::user_error("sources: {} folders, 1024 are the most", config.sources.size());
  if (config.size <= 0) core::user_error("size: {} is not a picture side in pixels", config.size);
  if (config.split != "train" && config.split != "held_out")
    core::user_error("split: `{}` is neither train nor held_out", config.split);
  if (!(config.caption_drop >= 0 && config.caption_drop <= 1))
    core::user_error("caption_drop: {} is not a probability", config.caption_drop);
  if (config.shuffle_run < 0) core::user_error("shuffle_run: {}, 0 (auto) is the least", config.shuffle_run);
  const ReadSettings& reading = config.reading;
  if (reading.threads < 1) core::user_error("threads: {}, at least 1 is needed", reading.threads);
  if (!(reading.max_bad_fraction >= 0 && reading.max_bad_fraction <= 1))
    core::user_error("max_bad_fraction: {} is not a share", reading.max_bad_fraction);
}

std::vector<std::unique_ptr<RowSource>> open_sources(const StreamConfig& config) {
  std::vector<std::unique_ptr<RowSource>> sources;
  const ReadSettings& reading = config.reading;
  std::shared_ptr<NodeCache> cache;
  if (!reading.cache_dir.empty()) cache = std::make_shared<NodeCache>(reading.cache_dir, reading.cache_bytes);
  const bool random = config.shuffle && config.shuffle_run == 1;
  const auto files = std::make_shared<OpenFiles>(kMaxOpenFiles, random, std::move(cache));
  for (const SourceConfig& source : config.sources) {
    if (source.make) {
      sources.push_back(source.make());
    } else if (source.synthetic > 0) {
      sources.push_back(nullptr);  // when the shape is known
    } else {
      sources.push_back(
          std::make_unique<LatentsSource>(folder_options(config, source), config.once, files, reading.rules));
    }
  }
  open_synthetic(config, sources);
  return sources;
}

void demand_classes(const std::vector<std::unique_ptr<RowSource>>& sources) {
  for (const auto& source : sources)
    if (!source->facts().contains("classes"))
      core::user_error(
          "{}: the data have no classes (record.class gives them, or record.kind cifar, idx or parquet), and "
          "the model takes some; model.num_classes=0 is one that takes none",
          source->name());
}

StreamFacts agree(const StreamConfig& config, const std::vector<std::unique_ptr<RowSource>>& sources) {
  const RowSource& first = *sources[0];
  const auto refuse = [&](const RowSource& other, std::string_view key, const std::string& a,
                          const std::string& b) {
    core::user_error("{} and {} cannot be mixed: `{}` is {} in the first and {} in the second", first.name(),
                     other.name(), key, core::shortened(a, 300), core::shortened(b, 300));
  };
  for (const auto& source : sources) {
    const RowShape &a = first.shape(), &b = source->shape();
    const auto same = [&](std::string_view key, std::int64_t x, std::int64_t y) {
      if (x != y) refuse(*source, key, std::to_string(x), std::to_string(y));
    };
    same("channels", a.channels, b.channels);
    same("latent size", a.latent_size, b.latent_size);
    if (config.text) {
      same("text_length", a.text_length, b.text_length);
      same("text_width", a.text_width, b.text_width);
      if (a.tokens_only != b.tokens_only)
        refuse(*source, "tokens_only", a.tokens_only ? "true" : "false", b.tokens_only ? "true" : "false");
    }
    // A class is known by its number: the same numbers must mean the same.
    if (config.classes && first.facts()["classes"] != source->facts()["classes"])
      refuse(*source, "classes", first.facts()["classes"].dump(), source->facts()["classes"].dump());
    for (const std::string key : {"codec", "text_encoder"}) {
      if (key == "text_encoder" && !config.text) continue;
      if (!first.facts().contains(key) || !source->facts().contains(key)) continue;
      core::Json one = first.facts()[key], other = source->facts()[key];
      for (core::Json* side : {&one, &other})
        if (side->is_object()) side->erase("folder");  // where the encoder lay is a hint
      core::forget_unshared(one, other);
      if (one != other) refuse(*source, key, one.dump(), other.dump());
    }
  }
  return {first.shape(), first.facts()};
}

}  // namespace microdit::stream
