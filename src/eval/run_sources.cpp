// Records to sources.
#include "eval/run_sources.h"

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "stream/mds_source.h"

namespace microdit::eval {
namespace {

std::unique_ptr<stream::RowSource> open_mds(const RunSource& source, const encoders::CodecFacts& codec,
                                            const encoders::TextEncoderFacts& text,
                                            const SourcePlaces& places) {
  stream::MdsConfig config;
  config.folder = source.mds;
  config.latents = source.columns.latents;
  config.text = source.columns.text;
  config.caption = source.columns.caption;
  config.size = places.size;
  if (!codec.kind.empty()) {
    config.downscale = codec.downscale;
    config.channels = codec.channels;
    config.facts["codec"] = core::to_json(codec);
  }
  config.text_width = places.text_width;
  if (!text.kind.empty()) {
    config.text_width = text.width;
    config.facts["text_encoder"] = core::to_json(text);
  }
  stream::MdsOpening opening;
  opening.threads = places.threads;
  opening.once = places.once;
  if (!places.kept.empty())
    opening.kept = places.kept / core::hex(core::xxh3_64(std::as_bytes(std::span(source.mds))));
  return stream::open_mds(config, opening);
}

}  // namespace

void ValidationSource::fields(core::Fields& f) {
  f.field("dataset", dataset,
          {.required = true, .help = "whose held-out samples are measured: latents/DATASET, or a path"});
  f.field("recipe", recipe, {.help = "of its latents; may be left out where there is one"});
  f.field("min_side", min_side, {.min = 0, .help = "only pictures whose shorter side has so many pixels"});
}

RunSource latents_source(const std::string& dataset, const std::string& recipe) {
  namespace fs = std::filesystem;
  RunSource source;
  const fs::path folder = core::latents_folder(dataset, recipe);
  const bool is_path = dataset.find('/') != std::string::npos;
  source.dataset = is_path ? fs::absolute(folder).lexically_normal().string() : dataset;
  if (!is_path && folder != core::dataset_folder("latents", dataset))
    source.recipe = folder.filename().string();
  return source;
}

std::vector<RunSource> run_sources(const std::vector<ValidationSource>& validation) {
  std::vector<RunSource> sources;
  for (const ValidationSource& one : validation) {
    sources.push_back(latents_source(one.dataset, one.recipe));
    sources.back().min_side = one.min_side;
  }
  return sources;
}

stream::SourceConfig stream_source(const RunSource& source, const encoders::CodecFacts& codec,
                                   const encoders::TextEncoderFacts& text, const SourcePlaces& places) {
  stream::SourceConfig out;
  out.min_side = source.min_side;
  out.limit = source.limit;
  out.synthetic = source.synthetic;
  out.synthetic_shape = places.made_up;
  if (!source.mds.empty())
    out.make = [=] { return open_mds(source, codec, text, places); };
  else if (source.synthetic == 0) {
    out.folder = core::latents_folder(source.dataset, source.recipe);
    out.generation = source.generation;
  }
  return out;
}

void check_pin(const RunSource& recorded, const RunSource& now, const std::filesystem::path& run_folder) {
  if (recorded.sha256 == now.sha256 && recorded.rows == now.rows) return;
  core::user_error(
      "{}: it has changed since {} began: {} with manifest SHA-256 {} and {} samples then, {} and {} now. "
      "Give the run that "
      "data again, or start another run on the new data (name=...)",
      now.name(), run_folder.string(),
      recorded.generation > 0 ? fmt::format("generation {}", recorded.generation) : std::string("the folder"),
      recorded.sha256, recorded.rows, now.sha256, now.rows);
}

void take_pin(const core::Json& pin, RunSource& source) {
  source.generation = pin.value("generation", std::int64_t{0});
  source.sha256 = pin.value("sha256", "");
  source.rows = pin.at("rows").get<std::int64_t>();
}

}  // namespace microdit::eval
