// Field lists of what a training reads.
#include "train/train_config.h"

namespace microdit::train {

void DataSource::fields(core::Fields& f) {
  f.field("dataset", dataset,
          {.required = true, .help = "name of a dataset under the data root, or a folder (with a slash)"});
  f.field("proportion", proportion, {.min = 0, .help = "relative share; 0 everywhere = by size"});
}

void LatentsData::fields(core::Fields& f) {
  f.field("dataset", dataset, {.help = "name of a dataset under the data root, or a folder (with a slash)"});
  f.field("recipe", recipe, {.help = "of its latents (configs/latents); needed where it has several"});
  f.field("mds", mds, {.help = "instead of dataset: an existing MDS folder"});
  f.section("columns", columns);
  f.field("codec", codec, {.help = "with mds: the folder of the codec that made its latents"});
  f.field("text_encoder", text_encoder, {.help = "with mds: the folder of its text encoder"});
  f.field("synthetic", synthetic,
          {.min = 0, .max = 1e12, .help = "instead of dataset: so many made-up samples"});
  f.field("min_side", min_side, {.min = 0, .help = "only pictures whose shorter side has so many pixels"});
  f.field("limit", limit, {.min = 0, .help = "only so many samples; 0 = all"});
  f.field("proportion", proportion, {.min = 0, .help = "relative share; 0 everywhere = by size"});
  if (!f.reading()) return;
  if ((dataset.empty() ? 0 : 1) + (mds.empty() ? 0 : 1) + (synthetic > 0 ? 1 : 0) != 1)
    f.error("dataset", "give one of dataset, mds and synthetic");
  const auto needs = [&](const char* key, bool is_set,
                         const std::string& other) {  // printed defaults are not set
    if (is_set && (other == "mds" ? mds : dataset).empty()) f.error(key, "needs `" + other + "`");
  };
  needs("recipe", !recipe.empty(), "dataset");
  needs("min_side", min_side > 0, "dataset");
  needs("columns", core::to_json(columns) != core::to_json(eval::MdsColumns()), "mds");
  needs("codec", !codec.empty(), "mds");
  needs("text_encoder", !text_encoder.empty(), "mds");
}

void ReadingConfig::fields(core::Fields& f) {
  f.field("read_ahead", read_ahead, {.help = "tell the kernel of a batch's places before the first is read"});
  f.field("keep_pages", keep_pages, {.help = "false: the kernel may forget what was read"});
  f.field("preload", preload,
          {.help = "read all files once in order, in the background, where the data fit in half of the "
                   "memory and rows are read singly"});
  f.field("gap_kb", gap_kb, {.min = 0, .max = 65536, .help = "rows so near are read in one call, KiB"});
  f.field("max_bad_fraction", max_bad_fraction,
          {.min = 0,
           .max = 1,
           .help = "share of unreadable rows that are replaced by neighbours; 0 = the first ends the run"});
  f.field("cache_dir", cache_dir,
          {.help = "folder on a disk of the node where shards are copied; empty = none"});
  f.field("cache_gb", cache_gb, {.min = 0, .help = "what cache_dir may hold"});
}

}  // namespace microdit::train
