// precompute --dry-run: can it run, what is left, how much room and time that takes.
#include <fmt/format.h>

#include "core/disk.h"
#include "core/progress.h"
#include "ingest/precompute_plan.h"
#include "ingest/precompute_trial.h"
#include "ingest/stage_driver.h"
#include "ingest/stages.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// Items of one part that are still to be made.
struct Left {
  std::int64_t shards = 0, done = 0, samples = 0;
};

Left left_of(const CatalogueEntry& entry, const PrecomputePlan& plan, LatentPart part) {
  Left left;
  for (const LatentItem& item : plan.items) {
    if (item.part != part || !is_wanted(entry, part)) continue;
    if (fs::exists(plan.folder / "records" / (item.item.name + ".json"))) {
      ++left.done;
    } else {
      ++left.shards;
      left.samples += item.samples.rows;
    }
  }
  return left;
}

}  // namespace

bool describe_precompute(const CatalogueEntry& entry, const core::StopFlag& stop) try {
  const auto alone = comm::make_local_communicator();
  PrecomputePlan plan = plan_encoders(entry, *alone, stop);  // before the data: that may take days to come
  describe_space(plan.folder);
  fmt::print("recipe {}: codec {}, text encoder {}\n", plan.recipe.name, plan.recipe.images.codec,
             plan.recipe.text.encoder);
  if (!is_complete(entry.samples_folder(), "clean")) return true;
  plan_items(entry, plan);
  const Left images = left_of(entry, plan, LatentPart::images), text = left_of(entry, plan, LatentPart::text);
  fmt::print(
      "precompute {}: pictures of {} samples in {} shards ({} are done), captions of {} in {} ({} are done) "
      "-> {}\n",
      entry.name, images.samples, images.shards, images.done, text.samples, text.shards, text.done,
      plan.folder.string());
  if (images.shards + text.shards == 0) return true;
  const std::optional<Trial> tried = try_first_shard(entry, plan, stop);
  if (!tried) return false;
  const Trial& trial = *tried;
  const double captions = trial.captions_per_sample * static_cast<double>(text.samples);
  const double bytes = trial.image_bytes * static_cast<double>(images.samples) +
                       trial.text_bytes * static_cast<double>(text.samples);
  double seconds = 0;
  if (images.samples > 0) seconds += static_cast<double>(images.samples) / trial.pictures_per_s;
  if (captions > 0) seconds += captions / trial.captions_per_s;
  fmt::print(
      "  needs about {} and {} files\n  takes about {} in one process such as this one ({}, {} threads: "
      "{:.1f} "
      "pictures/s, {:.1f} captions/s); shards that another recipe has already take none\n",
      core::bytes_text(static_cast<std::uint64_t>(bytes)), 2 * (images.shards + text.shards) + 5,
      core::duration_text(seconds), trial.device, entry.threads_per_rank, trial.pictures_per_s,
      trial.captions_per_s);
  return true;
} catch (const core::Stopped&) {
  return false;
}

}  // namespace microdit::ingest
