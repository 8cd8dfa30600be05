// Painting a list of prompts over ranks.
#include "eval/generate.h"

#include <torch/utils.h>

#include <algorithm>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "eval/call_folder.h"
#include "eval/encoder_hashes.h"
#include "eval/gather_rows.h"
#include "eval/grid_pages.h"
#include "eval/layout.h"
#include "eval/painter.h"
#include "eval/repeat_picture.h"
#include "image/encode.h"
#include "image/grid.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostLatents = 1024;  // they are held in memory until the end

/// A repeated picture alone is painted in its own place of a batch.
std::int64_t first_slot(const GenerateConfig& config) {
  const bool own_place = config.repeated && config.num_images == 1 && !config.is_given("batch_size");
  return own_place ? config.repeated->slot : 0;
}

std::vector<Item> make_items(const std::vector<std::string>& prompts, const GenerateConfig& config,
                             const TrainedRun& run, const std::string& precision) {
  std::vector<Item> items;
  const std::int64_t first = first_slot(config);
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const std::string& prompt = prompts[p];
    for (std::int64_t k = 0; k < config.num_images; ++k) {
      Item item;
      item.prompt = prompt;
      item.seed = config.seed + items.size();
      item.name = picture_name(config.layout, p, static_cast<std::size_t>(k), items.size());
      item.slot = (first + std::ssize(items)) % config.run.batch_size;
      item.settings = {{"prompt", prompt},
                       {"seed", item.seed},
                       {"run", run_name(run.folder)},
                       {"step", run.step()},
                       {"weights", run.weights},
                       {"sampler", core::to_json(run.sampler)},
                       {"precision", precision},
                       {"checkpoint_sha256", run.checkpoint_sha256()},
                       {"size", run.facts.size},
                       {"batch_size", config.run.batch_size},
                       {"slot", item.slot},
                       {"version", suite_version()}};
      if (!config.negative.empty()) item.settings["negative"] = config.negative;
      if (!config.class_name.empty()) item.settings["class"] = config.class_name;
      items.push_back(std::move(item));
    }
  }
  return items;
}

/// All that the pictures depend on.
core::Json call_of(const PromptList& list, const GenerateConfig& config, const TrainedRun& run,
                   const std::string& precision) {
  core::Json call = {{"prompts", list.prompts}, {"num_images", config.num_images},
                     {"seed", config.seed},     {"run", run_name(run.folder)},
                     {"step", run.step()},      {"checkpoint_sha256", run.checkpoint_sha256()},
                     {"weights", run.weights},  {"sampler", core::to_json(run.sampler)},
                     {"precision", precision}};
  if (!config.negative.empty()) call["negative"] = config.negative;
  if (!config.class_name.empty()) call["class"] = config.class_name;
  if (config.layout != "flat") call["layout"] = {config.layout, list.lines};
  if (!config.metadata) call["metadata"] = false;
  if (const std::int64_t slot = first_slot(config); slot > 0) call["slot"] = slot;
  return call;
}

/// manifest.jsonl and the grid, by rank 0 when all pictures are there.
void close(const std::vector<Item>& items, const PromptList& list, const GenerateConfig& config,
           const TrainedRun& run, const fs::path& out) {
  const std::vector<std::string>& prompts = list.prompts;
  const auto per_prompt = static_cast<std::size_t>(config.num_images);
  const auto picture = [&](std::size_t i) { return read_picture(out / items[i].name); };
  if (config.layout == "geneval") write_geneval(out, list, per_prompt, picture);
  std::string manifest;
  for (const Item& item : items) {
    core::Json line = item.settings;
    line["file"] = item.name;
    manifest += line.dump() + "\n";
  }
  core::atomic_write(out / "manifest.jsonl", manifest);
  const std::size_t pages = write_grid_pages(
      out, prompts, per_prompt, fmt::format("{}, seeds from {}", made_by(run), config.seed), picture);
  core::log_info("{} prompt{} x {} = {} pictures in {}; grid {}{}", prompts.size(),
                 prompts.size() == 1 ? "" : "s", config.num_images, items.size(), out.string(),
                 (out / grid_page_name(0)).string(),
                 pages == 1 ? "" : fmt::format(" to {}", grid_page_name(pages - 1)));
}

void drop_first(Painting& p, std::int64_t rows) {
  for (const auto member : kPaintingRows)
    if ((p.*member).defined()) p.*member = (p.*member).slice(0, rows);
  if (p.states_BKCHW.defined()) p.states_BKCHW = p.states_BKCHW.slice(0, rows);
}

/// A rank's work on the list: blocks of a fixed shape at fixed places, so that a picture's bits do not depend
/// on who else is painted, nor where.
class Studio {
 public:
  Studio(const TrainedRun& run, const Painter& painter, const Compute& compute,
         std::shared_ptr<models::Denoiser> model, bool metadata)
      : run_(run), painter_(painter), compute_(compute), model_(std::move(model)), metadata_(metadata) {}
  bool notes() const { return metadata_; }

  /// Paints items [first, last) and writes them; undefined tensors when `keep_going` said no.
  Painting paint(const std::vector<Item>& items, std::size_t first, std::size_t last, const fs::path& out,
                 const PaintOrder& how) const {
    PaintOrder order = how;
    const auto lead = static_cast<std::size_t>(items[first].slot);  // others before it: not written
    for (std::size_t i = first; i < last + lead; ++i) {
      const Item& item = items[std::max(i, first + lead) - lead];
      order.prompts.push_back(item.prompt);
      order.seeds.push_back(item.seed);
    }
    order.sampler = run_.sampler;
    order.bf16 = compute_.bf16;
    Painting painting = painter_.paint(*model_, run_.objective, order);
    if (!painting.sample_BCHW.defined()) return {};
    const auto pictures = painter_.decode(painting.sample_BCHW, order.batch, order.keep_going);
    if (pictures.size() < last - first + lead) return {};
    drop_first(painting, items[first].slot);
    for (std::size_t i = first; i < last; ++i) {
      const image::Image& picture = pictures[i - first + lead];
      const Texts texts = {
          {"parameters", parameters_text(items[i].settings, run_.objective.config().path, picture)},
          {"microdit", items[i].settings.dump()}};
      fs::create_directories((out / items[i].name).parent_path());
      core::atomic_write(out / items[i].name, image::encode_png(picture, noted(texts)));
      if (!painting.states_BKCHW.defined()) continue;
      const torch::Tensor states = painting.states_BKCHW[static_cast<std::int64_t>(i - first)];
      core::atomic_write(out / trajectory_name(items[i]),
                         image::encode_png(image::grid(painter_.decode(states), {},
                                                       {.columns = states.size(0), .title = items[i].prompt}),
                                           noted({{"microdit", strip_settings(items[i], how.trajectory)}})));
    }
    core::report_progress(items[last - 1].name);
    return painting;
  }

 private:
  using Texts = std::map<std::string, std::string>;
  Texts noted(const Texts& texts) const { return metadata_ ? texts : Texts(); }

  const TrainedRun& run_;
  const Painter& painter_;
  const Compute& compute_;
  std::shared_ptr<models::Denoiser> model_;
  bool metadata_;
};

/// Every rank's blocks, round by round; the ranks agree after each on whether to stop. The paintings of this
/// rank's blocks by block number, when they are wanted.
struct Outcome {
  bool stopped = false;
  std::map<std::size_t, Painting> paintings{};
};
Outcome paint_all(const std::vector<Item>& items, const Studio& studio, const fs::path& out,
                  bool paint_anyway, const PaintOrder& how, comm::Communicator& comm,
                  const core::StopFlag& stop) {
  const comm::WiderDeadline others_may_be_slower(comm, kLongestBatch_s);
  const auto batch = static_cast<std::size_t>(how.batch), ranks = static_cast<std::size_t>(comm.size());
  const std::size_t blocks = (items.size() + batch - 1) / batch;
  Outcome outcome;
  for (std::size_t round = 0; round * ranks < blocks; ++round) {
    const std::size_t block = round * ranks + static_cast<std::size_t>(comm.rank()), first = block * batch;
    if (block < blocks && !stop.requested()) {
      const std::size_t last = std::min(first + batch, items.size());
      bool there = !paint_anyway;
      for (std::size_t i = first; there && i < last; ++i)
        there = is_there(items[i], out / items[i].name, studio.notes()) &&
                (how.trajectory == 0 ||
                 strip_is_there(items[i], how.trajectory, out / trajectory_name(items[i]), studio.notes()));
      if (!there) outcome.paintings[block] = studio.paint(items, first, last, out, how);
      if (!paint_anyway) outcome.paintings.clear();
    }
    if ((outcome.stopped = comm.any(stop.requested()))) return outcome;
    core::log_info("painted {} of {}", std::min((round + 1) * ranks * batch, items.size()), items.size());
  }
  return outcome;
}

void save_latents(const std::map<std::size_t, Painting>& own, const fs::path& file,
                  comm::Communicator& comm) {
  const Painting all = gather_painting(own, comm);
  comm.on_root([&] { write_latents(file, all); });
}

/// Before a folder is made.
void check_wishes(const GenerateConfig& config, const TrainedRun& run) {
  check_repeated(config, run);
  check_sampler(run, !config.class_name.empty());
  if (!config.negative.empty() && run.sampler.guidance == 1)
    core::user_error("negative: has no effect with guidance=1; give guidance above 1, or leave it out");
  if (config.trajectory > run.sampler.steps + 1)
    core::user_error("trajectory={}: a way of {} steps has {} states", config.trajectory, run.sampler.steps,
                     run.sampler.steps + 1);
}

/// UserError: no class of the model. A prompt that is cut is said.
void check_prompts_of(const Painter& painter, const PromptList& list, const GenerateConfig& config) {
  painter.warn_of_cut(list.prompts, config.class_name);
  if (!config.negative.empty()) painter.warn_of_cut({config.negative});
}

/// The folder of the call; images/ is the run's own.
fs::path choose_folder(const GenerateConfig& config, const TrainedRun& run, const std::string& first_prompt,
                       const core::Json& call, bool make) {
  if (config.out.empty()) return call_folder(run.folder / "images", slug(first_prompt), call, make);
  check_named_folder(config.out, call, make);
  return config.out;
}

}  // namespace

int generate(const std::string& run_folder, const PromptList& list, const GenerateConfig& config,
             comm::Communicator& comm, const core::StopFlag& stop) {
  check_layout(config.layout, list);
  const std::vector<std::string>& prompts = list.prompts;
  const TrainedRun run = open_run(run_folder, config.run, comm);
  check_wishes(config, run);
  const Compute compute = choose_compute(config.run.compute, run.trained_precision, comm);
  core::log_info("painting on {}; {} prompt{} x {}, {} at a time; {}", compute.text(), prompts.size(),
                 prompts.size() == 1 ? "" : "s", config.num_images, config.run.batch_size, made_by(run));
  const std::string precision = compute.bf16 ? "bf16" : "fp32";
  const std::vector<Item> items = make_items(prompts, config, run, precision);
  if (config.save_latents && items.size() > kMostLatents)
    core::user_error("save_latents=true: {} pictures, at most {} are saved so; paint fewer", items.size(),
                     kMostLatents);
  hash_encoders_once(run.facts.codec, run.facts.text_encoder, run.folder, comm, stop);
  const Painter painter(run.facts, run.folder, compute.device, stop);
  comm.on_root([&] { check_prompts_of(painter, list, config); });
  const Studio studio(run, painter, compute, run.load_model(compute.device), config.metadata);
  const fs::path out = comm.on_root([&] {
    return choose_folder(config, run, prompts.front(), call_of(list, config, run, precision), true).string();
  });
  const fs::path latents = out / "latents.safetensors";
  const bool paint_anyway = config.save_latents && comm.on_root([&] {
    return std::string(fs::exists(latents) ? "" : "missing");
  }) == "missing";
  const PaintOrder how{.prompts = {},
                       .seeds = {},
                       .negative = config.negative,
                       .class_name = config.class_name,
                       .sampler = {},
                       .batch = config.run.batch_size,
                       .trajectory = config.trajectory,
                       .keep_going = [&] { return !stop.requested(); }};
  const Outcome outcome = paint_all(items, studio, out, paint_anyway, how, comm, stop);
  if (outcome.stopped) {
    core::log_info("stopped as asked; the same command continues in {}", out.string());
    return core::kRequeueMe;
  }
  if (paint_anyway) save_latents(outcome.paintings, latents, comm);
  comm.on_root([&] {
    close(items, list, config, run, out);
    if (config.out.empty()) point_latest(run.folder / "images", out);
  });
  return core::kDone;
}

int describe_generate(const std::string& run_folder, const PromptList& list, const GenerateConfig& config,
                      comm::Communicator& comm) {
  check_layout(config.layout, list);
  const std::vector<std::string>& prompts = list.prompts;
  const TrainedRun run = open_run(run_folder, config.run, comm);
  check_wishes(config, run);
  if (comm.rank() != 0) return core::kDone;
  const Painter painter(run.facts, run.folder, torch::kCPU);
  check_prompts_of(painter, list, config);
  const bool bf16 = config.run.compute.precision == "bf16";
  const fs::path out =
      choose_folder(config, run, prompts.front(), call_of(list, config, run, bf16 ? "bf16" : "fp32"), false);
  fmt::print("generate {}: {} prompts x {} pictures of {} px in {}\n", run.folder.string(), prompts.size(),
             config.num_images, run.facts.size, out.string());
  fmt::print("{}\n", needs_text(run, config.run));
  fmt::print("run, encoders, prompts and folder are good; nothing was written\n");
  return core::kDone;
}

}  // namespace microdit::eval
