// What a run trains on, as sources of a stream: the same for training and for evaluation.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "eval/run_facts.h"
#include "stream/latent_stream.h"

namespace microdit::eval {

/// Latents that a run is measured on instead of what its own data hold out: the held-out samples of a dataset.
struct ValidationSource {
  std::string dataset;  ///< latents/<dataset>/<recipe> under the data root, or a path
  std::string recipe;   ///< may be empty where the dataset has latents of one recipe
  std::int64_t min_side = 0;
  void fields(core::Fields& f);
};

/// A section with such sources alone.
struct EvaluatedData {
  std::vector<ValidationSource> data;  ///< none: what the run's data hold out
  void fields(core::Fields& f) { f.sections("data", data); }
};

/// A dataset's latents, by a name that is found again from any other folder. UserError: recipes to choose from.
RunSource latents_source(const std::string& dataset, const std::string& recipe);
/// At their newest generation. UserError as above.
std::vector<RunSource> run_sources(const std::vector<ValidationSource>& validation);

struct SourcePlaces {
  std::int64_t size = 0;        ///< picture side in pixels
  std::int64_t text_width = 0;  ///< of MDS folders whose text encoder nobody names
  std::filesystem::path kept;   ///< where the tables of MDS folders are kept; empty = in memory
  std::int64_t threads = 2;     ///< that read an MDS folder for its table
  stream::RowShape made_up{};   ///< of synthetic data alone
  stream::Once once = [](const std::function<std::string()>& work) { return work(); };
};

/// One source, at the generation that `source` says.
stream::SourceConfig stream_source(const RunSource& source, const encoders::CodecFacts& codec,
                                   const encoders::TextEncoderFacts& text, const SourcePlaces& places);

/// UserError naming the source whose manifest or rows are not what the run began with.
void check_pin(const RunSource& recorded, const RunSource& now, const std::filesystem::path& run_folder);

/// What a stream says of its source (RowSource::pin), written into the record.
void take_pin(const core::Json& pin, RunSource& source);

}  // namespace microdit::eval
