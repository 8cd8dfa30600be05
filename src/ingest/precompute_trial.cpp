// Measuring with the very parts that precompute uses.
#include "ingest/precompute_trial.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>

#include "comm/device.h"
#include "core/error.h"
#include "ingest/caption_table.h"
#include "ingest/encode_images.h"
#include "ingest/encode_text.h"
#include "ingest/picture_feed.h"
#include "ingest/samples_shard.h"

namespace microdit::ingest {
namespace {

using Clock = std::chrono::steady_clock;

using Stopped = SamplesShard::Stopped;  ///< ends a trial from inside

/// Calls step(first, count) for at most two batches; returns what a second does, of the later batch where there are two.
template <class Step>
double rate_of(std::int64_t available, std::int64_t batch, Step step) {
  double rate = 0;
  for (std::int64_t first = 0; first < std::min(available, 2 * batch); first += batch) {
    const std::int64_t count = std::min(batch, available - first);
    const auto start = Clock::now();
    step(first, count);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (first == 0 || count == batch) rate = static_cast<double>(count) / std::max(seconds, 1e-9);
  }
  return rate;
}

double rows_bytes(const std::vector<store::Column>& columns) {
  double bytes = 0;
  for (const store::Column& column : columns)
    bytes +=
        static_cast<double>(column.bytes.size()) + 8 * static_cast<double>(column.shape[0]);  // and its hash
  return bytes;
}

void try_pictures(const CatalogueEntry& entry, const PrecomputePlan& plan, const SamplesShard& shard,
                  torch::Device device, const core::StopFlag& stop, Trial& trial) {
  const ImageRecipe& recipe = plan.recipe.images;
  const auto codec = encoders::load_image_codec(recipe.codec, plan.codec.sha256, stop);
  codec->to(device);
  codec->set_precision(recipe.precision);
  PicturePool pool(entry.pictures, entry.decode_workers, limits::kSquaresSeconds, &stop);
  PictureFeed feed(shard, recipe, pool);
  double bytes = 0;
  std::int64_t tried = 0;
  trial.pictures_per_s =
      rate_of(shard.rows(), recipe.batch_size, [&](std::int64_t first, std::int64_t count) {
        ImageEncoder encoder(recipe, *codec, device);
        for (std::int64_t row = first; row < first + count; ++row) {
          const PictureFeed::Picture picture = feed.next();
          if (stop.requested()) throw Stopped();
          for (const image::Image& square : picture.prepared.squares)
            if (!square.pixels.empty())
              encoder.add(square, shard.keys()[static_cast<std::size_t>(row)], picture.content);
        }
        bytes += rows_bytes(encoder.finish());
        tried += count;
      });
  const double small =
      4.0 * static_cast<double>(recipe.sizes.size()) + 4 + 4 + 1 + 8 + 8;  // rows, sizes, split, key, hash
  double names = 0;
  for (const std::string& key : shard.keys()) names += static_cast<double>(key.size());
  trial.image_bytes =
      bytes / static_cast<double>(tried) +
      static_cast<double>(recipe.samples_per_picture()) * (small + names / static_cast<double>(shard.rows()));
}

void try_captions(const PrecomputePlan& plan, const SamplesShard& shard, torch::Device device,
                  const core::StopFlag& stop, Trial& trial) {
  const CaptionTable captions = tabulate_captions(shard, plan.caption_sources());
  const CaptionEncoder encoder(plan.recipe.text, device, plan.text.sha256, stop);
  double bytes = 0, tried = 0, texts = 0;
  trial.captions_per_s = rate_of(
      static_cast<std::int64_t>(captions.unique.size()), plan.recipe.text.batch_size,
      [&](std::int64_t first, std::int64_t count) {
        const std::vector<std::string> batch(captions.unique.begin() + first,
                                             captions.unique.begin() + first + count);
        const auto add = [&](std::span<const std::byte> rows) { bytes += static_cast<double>(rows.size()); };
        const std::optional<encoders::TokenRows> tokens = encoder.tokenize(batch, stop);
        if (!tokens) throw Stopped();
        const std::optional<TextColumns> text = encoder.encode(batch, *tokens, add, stop);
        if (!text) throw Stopped();
        bytes += rows_bytes(text->columns);
        if (!encoder.states(0).empty()) bytes += 8 * static_cast<double>(count);  // each row's hash
        tried += static_cast<double>(count);
      });
  for (const std::string& caption : captions.unique) texts += static_cast<double>(caption.size()) + 8;
  const auto samples = static_cast<double>(shard.rows()),
             unique = static_cast<double>(captions.unique.size());
  trial.captions_per_sample = unique / samples;
  if (tried > 0) trial.text_bytes = bytes / tried * trial.captions_per_sample;
  trial.text_bytes += texts / samples + static_cast<double>(plan.recipe.images.samples_per_picture()) *
                                            (5 * static_cast<double>(captions.rows.size()) / samples + 16);
}

}  // namespace

std::optional<Trial> try_first_shard(const CatalogueEntry& entry, const PrecomputePlan& plan,
                                     const core::StopFlag& stop) try {
  const auto alone = comm::make_local_communicator();
  const torch::Device device(comm::choose_device(*alone, entry.device).name());
  at::set_num_threads(static_cast<int>(entry.threads_per_rank));
  const LatentItem& first = plan.items.front();
  const SamplesShard shard(plan.samples.folder, first.samples,
                           is_wanted(entry, LatentPart::images) ? SamplesUse::pictures : SamplesUse::captions,
                           first.fingerprint, stop);
  Trial trial;
  trial.device = device.str();
  if (is_wanted(entry, LatentPart::images)) try_pictures(entry, plan, shard, device, stop, trial);
  if (is_wanted(entry, LatentPart::text)) try_captions(plan, shard, device, stop, trial);
  return stop.requested() ? std::nullopt : std::optional(trial);
} catch (const Stopped&) {
  return std::nullopt;
}

}  // namespace microdit::ingest
