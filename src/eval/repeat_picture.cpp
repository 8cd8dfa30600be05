// The run of a picture that is painted again, and whether it is the same one.
#include "eval/repeat_picture.h"

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/log.h"
#include "core/utf8.h"

namespace microdit::eval {

namespace fs = std::filesystem;

std::string run_name(const fs::path& folder) {
  return core::with_valid_utf8(core::whole_path(folder).filename().string());
}

std::string run_of(const PictureNotes& notes, const fs::path& file) {
  if (notes.is_foreign) core::user_error("generate: --run DIR is missing: the picture is of another program");
  const fs::path whole = core::whole_path(file);
  for (fs::path folder = whole.parent_path(); folder != folder.parent_path(); folder = folder.parent_path())
    if (fs::exists(folder / "facts.json")) return folder.string();
  const bool is_name = fs::path(notes.run).filename() == notes.run && !notes.run.starts_with('.');
  if (is_name && fs::exists(fs::path("runs") / notes.run / "facts.json")) return "runs/" + notes.run;
  core::user_error(
      "generate: --run DIR is missing: the picture lies in no run, and runs/{} is none (it was painted with "
      "a "
      "run of "
      "that name)",
      notes.run);
}

void check_repeated(const GenerateConfig& config, const TrainedRun& run) {
  if (!config.repeated) return;
  const PictureNotes& notes = *config.repeated;
  if (notes.size != 0 && notes.size != run.facts.size)
    core::log_warn("the picture has {} x {} pixels; this run paints {} x {}", notes.size, notes.size,
                   run.facts.size, run.facts.size);
  if (notes.is_foreign) return;
  if (notes.run != run_name(run.folder))
    core::log_info("the picture was painted with a run \"{}\"; this one is {}", notes.run,
                   run_name(run.folder));
  if (notes.version != suite_version())
    core::log_info("the picture was painted by {}; this is {}", notes.version, suite_version());
  if (notes.checkpoint_sha256 == run.checkpoint_sha256() && notes.weights == run.weights) return;
  if (!config.is_given("step") && !config.is_given("weights"))
    core::user_error(
        "--from-image: painted with the {} weights of a checkpoint of step {} with SHA-256 {}...; {} has "
        "{}...: "
        "give the run that has it (--run), or say step= or weights= to paint with other weights",
        notes.weights, notes.step, notes.checkpoint_sha256.substr(0, 10), run.checkpoint.folder().string(),
        run.checkpoint_sha256().substr(0, 10));
  core::log_warn("other weights than the picture's (step {}, {}): another picture", notes.step,
                 notes.weights);
}

}  // namespace microdit::eval
