// Chapters in order, then a folder in one rename.
#include "explain/explain.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/html.h"
#include "core/log.h"
#include "core/progress.h"
#include "explain/chapter.h"
#include "explain/levels.h"
#include "explain/run_grids.h"
#include "explain/strips.h"
#include "explain/tables.h"
#include "explain/toy.h"
#include "image/encode.h"

namespace microdit::explain {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostColumns = 8;

/// All that is made from: settings, the picture's bytes, the checkpoint.
core::Json settings_of(const ExplainConfig& config, const image::Image& picture, const RunGrids* run) {
  core::Json settings = core::to_json(config);
  settings.erase("output");
  settings["picture_sha256"] = core::sha256(std::as_bytes(std::span(picture.pixels)));
  if (run != nullptr) settings["run_identity"] = run->identity();
  return settings;
}

/// Whether the folder is there already, of equal settings. UserError when it is something else, or cannot be made.
bool is_there(const fs::path& folder, const core::Json& settings) {
  const fs::path parent = folder.parent_path();
  std::error_code none;
  if (!fs::is_directory(parent, none) || ::access(parent.c_str(), W_OK) != 0)
    core::user_error("output={}: no folder can be made in {}; name another place", folder.string(),
                     parent.string());
  if (!fs::exists(fs::symlink_status(folder, none))) return false;
  if (!fs::is_directory(fs::symlink_status(folder)))
    core::user_error("output={}: is there, and no folder; name another", folder.string());
  if (fs::is_empty(folder)) return false;
  if (fs::exists(folder / "explain.json") &&
      core::read_json(folder / "explain.json").value("settings", core::Json()) == settings)
    return true;
  core::user_error("output={}: holds something else; name another folder, or move it away", folder.string());
}

/// A hidden folder that is gone when it was not published.
class HiddenFolder {
 public:
  explicit HiddenFolder(fs::path to) : to_(std::move(to)), aside_(core::temporary_path(to_)) {
    core::remove_stale_temporaries_of(to_);
    if (!fs::create_directory(aside_)) core::system_error("{}: is there already", aside_.string());
  }
  ~HiddenFolder() {
    std::error_code ignored;
    if (!published_) fs::remove_all(aside_, ignored);
  }
  HiddenFolder(const HiddenFolder&) = delete;
  HiddenFolder& operator=(const HiddenFolder&) = delete;
  const fs::path& path() const { return aside_; }
  void publish() {
    core::publish(aside_, to_);
    published_ = true;
  }

 private:
  fs::path to_, aside_;
  bool published_ = false;
};

std::string anchor(std::size_t i) {
  return fmt::format("part{}", i + 1);
}

/// The page, after its pictures have been written beside it.
std::string page(const std::vector<Chapter>& chapters, const std::string& how, const fs::path& folder) {
  std::string body = "<p>" + core::escaped(how) + "</p>\n<p>";
  for (std::size_t i = 0; i < chapters.size(); ++i)
    body += fmt::format("{}<a href=\"#{}\">{}</a>", i > 0 ? " &middot; " : "", anchor(i),
                        core::escaped(chapters[i].title));
  body += "</p>\n";
  for (std::size_t i = 0; i < chapters.size(); ++i) {
    body += fmt::format("<h2 id=\"{}\">{}</h2>\n{}", anchor(i), core::escaped(chapters[i].title),
                        chapters[i].words);
    for (const Figure& figure : chapters[i].figures)
      body += core::html_picture(folder / (figure.name + ".png"), figure.caption);
    body += chapters[i].tables;
  }
  return core::html_page("What diffusion does", body);
}

/// What both doors look at first.
struct Plan {
  Plan(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
    if (comm.size() > 1)
      core::user_error("explain: one process makes the page; start it without mpirun or srun -n");
    picture = read_picture(config.picture);
    if (!config.run.empty()) run.emplace(config, comm, stop);
    settings = settings_of(config, picture, run ? &*run : nullptr);
    folder = core::whole_path(config.output);
    there = is_there(folder, settings);
  }
  image::Image picture;
  std::optional<RunGrids> run{};
  core::Json settings;
  fs::path folder;
  bool there = false;
};

}  // namespace

void ExplainConfig::fields(core::Fields& f) {
  f.field("output", output, {.required = true, .help = "folder to make; never over anything that is there"});
  f.field("picture", picture, {.help = "of the noising strips: a file; empty = a drawn landscape"});
  f.field("seed", seed, {.help = "of all noise"});
  f.field("toy_steps", toy_steps,
          {.min = 1, .max = 1e6, .help = "training steps of each network in the plane"});
  f.field("steps", steps, {.min = 1, .max = 1000, .help = "counts of sampling steps to compare, at most 8"});
  f.field("guidance", guidance,
          {.min = 0, .max = 1000, .help = "strengths to compare, at most 8; 0 = no condition"});
  f.field("run", run, {.help = "a trained run, or one of its checkpoints: it paints, too; empty = none"});
  f.field(
      "prompts", prompts,
      {.help =
           "what the run paints, at most 8 (of a class model: classes); none = its own sampling.prompts"});
  f.field("step", step,
          {.min = -1, .help = "the run's checkpoint of this step; -1 = the newest that verifies"});
  f.field("weights", weights,
          {.choices = {"auto", "ema", "raw"}, .help = "the run's; auto: ema where there is one"});
  compute.fields(f);
  if (!f.reading()) return;
  for (const auto& [key, count] : {std::pair("steps", steps.size()), {"guidance", guidance.size()}})
    if (count == 0 || count > kMostColumns)
      f.error(key, fmt::format("{} values; 1 to {} can be shown", count, kMostColumns));
  if (prompts.size() > kMostColumns)
    f.error("prompts", fmt::format("{}; at most {} can be shown", prompts.size(), kMostColumns));
  for (const char* key : {"prompts", "step", "weights", "device", "precision", "threads_per_rank"})
    if (run.empty() && f.given(key)) f.error(key, "has no effect without run=");
}

int explain(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
  const Plan plan(config, comm, stop);
  if (plan.there) {
    core::log_info("{} is there already, by the same settings: nothing to do", plan.folder.string());
    return core::kDone;
  }
  HiddenFolder hidden(plan.folder);
  at::set_num_threads(1);  // bits of the toys that do not depend on the machine's cores
  std::vector<Chapter> chapters;
  const auto begin = std::chrono::steady_clock::now();
  const auto add = [&](Chapter chapter) {
    if (stop.requested()) throw core::Stopped();
    for (const Figure& figure : chapter.figures)
      core::atomic_write(hidden.path() / (figure.name + ".png"), image::encode_png(figure.picture));
    const double taken_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    core::log_info("{}: {} figures ({:.0f} s)", chapter.title, chapter.figures.size(), taken_s);
    chapters.push_back(std::move(chapter));
  };
  add(levels_chapter());
  add(strips_chapter(plan.picture,
                     config.picture.empty() ? "A drawn landscape (picture=FILE shows yours)"
                                            : fs::path(config.picture).filename().string(),
                     config.seed));
  const ToyConfig toy{.training_steps = config.toy_steps,
                      .steps = config.steps,
                      .guidance = config.guidance,
                      .seed = config.seed};
  add(toy_chapter(toy, stop));
  add(toy_guidance_chapter(toy, stop));
  if (plan.run) add(plan.run->chapter());
  add(tables_chapter());

  core::Json numbers = {{"settings", plan.settings}};
  for (const Chapter& chapter : chapters) numbers[chapter.title] = chapter.numbers;
  core::write_json(hidden.path() / "explain.json", numbers);
  core::atomic_write(
      hidden.path() / "index.html",
      page(chapters,
           fmt::format(
               "Made by build/bin/explain with seed {}: every curve and every point is the library's own "
               "path, time "
               "law, loss and sampler. The pictures lie beside this page, their numbers in explain.json.",
               config.seed),
           hidden.path()));
  hidden.publish();
  core::report_progress("explain");
  core::log_info("{} is made", (plan.folder / "index.html").string());
  return core::kDone;
}

int describe_explain(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
  const Plan plan(config, comm, stop);
  fmt::print("explain: {} {}\n", plan.folder.string(),
             plan.there ? "is there already, by the same settings" : "would be made");
  fmt::print("three networks in the plane of {} training steps each\n", config.toy_steps);
  if (plan.run) fmt::print("{}\n", plan.run->describe());
  fmt::print("settings, picture and folder are good; nothing was written\n");
  return core::kDone;
}

}  // namespace microdit::explain
