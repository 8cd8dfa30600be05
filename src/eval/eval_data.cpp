// Streams as splits.
#include "eval/eval_data.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/later_facts.h"
#include "core/log.h"
#include "eval/run_sources.h"

namespace microdit::eval {

namespace {

/// Measured all the same, but said: the figures are of other data than the run's.
void warn_of_change(const std::vector<const RunSource*>& sources, const stream::LatentStream& stream) {
  const std::vector<core::Json> pins = stream.pins();
  for (std::size_t i = 0; i < pins.size(); ++i)
    if (!sources[i]->sha256.empty() && pins[i].value("sha256", "") != sources[i]->sha256)
      core::log_warn("{}: it has changed since the run was trained on it", sources[i]->name());
}

/// Latents of other encoders than the run's would be measured as if they were its own.
void demand_same_encoders(const RunFacts& run, const RunSource& source, const core::Json& facts) {
  const auto compare = [&](const char* key, core::Json trained) {
    core::Json measured = facts.value(key, core::Json());
    if (!measured.is_object()) return;
    for (core::Json* side : {&trained, &measured}) side->erase("folder");  // where it lay is a hint
    core::forget_unshared(trained, measured);
    if (trained != measured)
      core::user_error("validation.data: {}: its `{}` is not the one of the run's data: {}, and {} there",
                       source.name(), key, measured.dump(), trained.dump());
  };
  if (!run.codec.kind.empty()) compare("codec", core::to_json(run.codec));
  if (run.model.takes_classes() && facts.value("classes", std::vector<std::string>()) != run.classes)
    core::user_error("validation.data: {}: its classes are {}, the run was trained on {}", source.name(),
                     facts.value("classes", core::Json::array()).dump(), core::Json(run.classes).dump());
  if (!run.text_encoder.kind.empty()) compare("text_encoder", core::to_json(run.text_encoder));
}

}  // namespace

std::unique_ptr<Split> Split::open(const RunFacts& facts, const std::string& split,
                                   const stream::CaptionRule& captions, std::uint64_t seed,
                                   const stream::Once& once, const std::filesystem::path& run_folder) {
  stream::StreamConfig config;
  SourcePlaces places;
  places.size = facts.size;
  places.text_width = facts.text_width;
  places.once = once;
  if (const auto kept = core::whole_path(run_folder).parent_path() / ".mds"; std::filesystem::exists(kept))
    places.kept = kept;
  const bool train = split == "train";
  std::vector<const RunSource*> shown;
  for (const RunSource& source : facts.data) {
    if (source.synthetic > 0 || (!source.mds.empty() && !train)) continue;  // they hold nothing out
    config.sources.push_back(stream_source(source, facts.codec, facts.text_encoder, places));
    config.sources.back().proportion = 0;
    if (!train) config.sources.back().limit = 0;
    shown.push_back(&source);
  }
  if (config.sources.empty()) return nullptr;
  config.size = facts.size;
  config.text = facts.model.takes_text();
  config.classes = facts.model.takes_classes();
  config.split = split;
  config.captions = captions;
  config.shuffle_run = facts.shuffle_run;
  config.seed = seed;
  config.once = once;
  try {
    auto opened = std::unique_ptr<Split>(new Split(config, facts, run_folder));
    warn_of_change(shown, opened->stream_);
    if (shown.front()->sha256.empty())  // no data of the run's
      demand_same_encoders(facts, *shown.front(), opened->stream_.facts().facts);
    return opened;
  } catch (const stream::EmptySplit&) {
    return nullptr;
  }
}

Split::Split(const stream::StreamConfig& config, const RunFacts& facts,
             const std::filesystem::path& run_folder)
    : name_(config.split), model_(facts.model), stream_(config) {
  if (stream_.facts().shape.tokens_only && model_.takes_text() && !model_.text_conditioner)
    caption_encoder_ = std::make_unique<CaptionEncoder>(facts.text_encoder, run_folder, torch::kCPU);
}

Piece Split::read(std::int64_t first, std::int64_t count, bool with_condition, bool with_captions) const {
  stream::Batch batch = stream_.read(first, count, with_captions);
  const stream::RowShape& f = stream_.facts().shape;
  Piece piece;
  piece.latents_NCHW = half_rows(batch.latents, 0, {batch.count, f.channels, f.latent_size, f.latent_size})
                           .to(torch::kFloat32);
  if (with_condition)
    piece.condition = batch_condition(batch, 0, batch.count, f, model_, caption_encoder_.get(), torch::kCPU);
  piece.captioned_B = captioned_rows(batch, 0, batch.count);
  piece.sample = std::move(batch.sample);
  piece.captions = std::move(batch.captions);
  return piece;
}

std::vector<std::int64_t> shares(const std::vector<std::int64_t>& sizes, std::int64_t candidates,
                                 std::int64_t prompts) {
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (total <= candidates) return sizes;
  std::vector<std::int64_t> out;
  for (const std::int64_t size : sizes) {
    const double part =
        static_cast<double>(candidates) * static_cast<double>(size) / static_cast<double>(total);
    out.push_back(std::max(std::llround(part), static_cast<long long>(std::min(size, prompts))));
  }
  // The largest gives way for what rounding and small splits took.
  const auto largest = std::max_element(out.begin(), out.end());
  *largest -= std::accumulate(out.begin(), out.end(), std::int64_t{0}) - candidates;
  core::check(*largest >= prompts, "{} candidates for {} prompts of each split", candidates, prompts);
  return out;
}

}  // namespace microdit::eval
