// The keys of score, and what follows from them alone.
#include <fmt/format.h>

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "score/input.h"
#include "score/score.h"

namespace microdit::score {

namespace fs = std::filesystem;

void ScoreConfig::fields(core::Fields& f) {
  f.field("network", network,
          {.choices = {"inception", "efficientnet_lite0", "mobilenet_v2", "clip"},
           .help = "whose features; inception makes it FID, clip measures pictures against their captions"});
  f.field("weights", weights,
          {.help = "file (of clip: folder); empty = where MICRODIT_DATA/weights has the network"});
  f.field("resize", resize, {.choices = kResizes, .help = "how pictures are brought to the network's size"});
  f.field("dims", dims,
          {.min = 0, .max = 2048, .help = "inception: 2048, 768, 192 or 64 features; 0 = 2048"});
  f.field("split", split, {.help = "of datasets: held_out, train or all; empty = held_out"});
  f.field("reference_size", reference_size,
          {.min = 0,
           .max = 65535,
           .help = "reference pictures first resized and cropped to it, as for training; 0 = not"});
  f.field("out", out, {.help = "folder of the numbers; empty = PICTURES/scores"});
  f.field("save", save, {.help = ".npz that gets the statistics of the pictures (mu, sigma), too"});
  f.field("statistics", statistics, {.help = "folder of statistics; empty = MICRODIT_DATA/statistics"});
  f.field("part_size", part_size,
          {.min = 1, .max = 1e6, .help = "pictures per part, the unit of restart and of tasks"});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "pictures per pass of the network"});
  f.field("task", task, {.help = "i/n: this task's share of the parts; empty = Slurm's array"});
  f.field(
      "captions", captions,
      {.help = "instead of numbers: a file of prompts for generate, drawn from the reference's captions"});
  f.field("draw", draw, {.min = 1, .max = 1e7, .help = "captions to draw"});
  f.field("kid_subsets", kid_subsets,
          {.min = 0,
           .max = 10000,
           .help = "also KID, over so many subsets of 1000 pictures (others take 100); 0 = not"});
  f.field("seed", seed, {.help = "of what is drawn: captions, KID's subsets"});
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"}, .help = "auto: a GPU where every rank has one"});
  f.field("threads_per_rank", threads_per_rank, {.min = 0, .max = 1024, .help = "0 = the cores it may use"});
  if (!f.reading()) return;
  if (f.given("draw") && captions.empty()) f.error("draw", "is of captions=FILE, which is not given");
  if (f.given("seed") && captions.empty() && kid_subsets == 0)
    f.error("seed", "nothing is drawn: neither captions=FILE nor kid_subsets is given");
  if (dims != 0 && dims != 2048 && dims != 768 && dims != 192 && dims != 64)
    f.error("dims", "must be 2048, 768, 192 or 64");
  else if (dims != 0 && network != "inception")
    f.error("dims", fmt::format("only inception has features of several depths, not {}", network));
  for (const char* key : {"resize", "reference_size", "save", "kid_subsets"})
    if (f.given(key) && network == "clip") f.error(key, "has no effect on CLIP scores");
  if (!split.empty() && split != "held_out" && split != "train" && split != "all")
    f.error("split", "must be held_out, train or all");
  if (!save.empty() && !save.ends_with(".npz")) f.error("save", "must end in .npz");
}

std::string last_name(const std::string& place) {
  return core::whole_path(place).filename().string();
}

fs::path statistics_folder(const std::string& place, const core::Json& about, const ScoreConfig& config) {
  const fs::path home =
      config.statistics.empty() ? core::data_root() / "statistics" : fs::path(config.statistics);
  const std::string text = about.dump();
  const std::string digits = core::sha256(std::as_bytes(std::span(text))).substr(0, 16);
  return home / fmt::format("{}-{}", last_name(place), digits);
}

int unfinished(bool stopped, std::int64_t missing) {
  if (stopped) {
    core::log_info("stopped as asked; the same command goes on with the parts that are missing");
    return core::kRequeueMe;
  }
  core::log_info(
      "this task's share is done; {} parts are other tasks' and not there yet: the last task writes the "
      "numbers",
      missing);
  return core::kDone;
}

}  // namespace microdit::score
