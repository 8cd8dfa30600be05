// generate: prompts -> pictures with a trained run.
#include "eval/generate.h"

#include <fmt/ranges.h>

#include "eval/prompts.h"
#include "eval/repeat_picture.h"
#include "job.h"

using namespace microdit;

namespace {

/// --classes FILE: `classes: [3, cat]`.
struct ClassesFile {
  std::vector<std::string> classes;
  void fields(core::Fields& f) {
    f.field("classes", classes, {.required = true, .help = "names or numbers"});
    if (f.reading() && classes.empty()) f.error("classes", "names none");
  }
};

int paint(const jobs::Job& job, const std::string& run, const eval::PromptList& list,
          const eval::GenerateConfig& config) {
  if (job.line.dry_run) return eval::describe_generate(run, list, config, job.comm);
  return eval::generate(run, list, config, job.comm, job.stop);
}

/// --from-image: the picture's own settings, where the command line says no others.
int repeat(const jobs::Job& job) {
  const jobs::CommandLine& line = job.line;
  if (!line.prompts.empty() || !line.prompts_file.empty() || !line.classes.empty() ||
      !line.classes_file.empty())
    core::user_error(
        "generate: --from-image brings the prompt; leave --prompt, --class and their files away");
  const std::string& file = line.paths.at("from-image");
  const eval::PictureNotes notes = eval::read_picture_notes(file);
  if (!notes.not_understood.empty())
    core::log_warn("{}: not understood, and left out: {}", file, fmt::join(notes.not_understood, ", "));
  const auto config =
      core::load<eval::GenerateConfig>(core::ConfigTree::of_overrides(line.overrides)).repeating(notes);
  return paint(job, line.run.empty() ? eval::run_of(notes, file) : line.run, {{notes.prompt}}, config);
}

}  // namespace

int main(int argc, char** argv) {
  const jobs::JobInfo info{
      .name = "generate",
      .summary =
          "Paint prompts with a trained run (the sampler's keys, where not given: the run's `sampling`, "
          "but for steps), or --from-image PICTURE.png: that picture again, with the keys that are given "
          "changed.",
      .takes_config = false,
      .takes_run = true,
      .takes_prompts = true,
      .path_options = {"from-image"},
      .field_help = core::describe_fields<eval::GenerateConfig>()};
  return jobs::run_job(argc, argv, info, [](jobs::Job& job) {
    if (!job.line.paths.at("from-image").empty()) return repeat(job);
    if (job.line.run.empty())
      core::user_error(
          "generate: --run DIR is missing (a run folder such as runs/emoji), or --from-image PICTURE");
    const auto config = core::load<eval::GenerateConfig>(core::ConfigTree::of_overrides(job.line.overrides));
    eval::check_prompts(job.line.prompts);
    eval::PromptList list;
    if (!job.line.prompts_file.empty()) list = eval::read_prompts(job.line.prompts_file);
    std::vector<std::string>& prompts = list.prompts;
    prompts.insert(prompts.begin(), job.line.prompts.begin(), job.line.prompts.end());
    std::vector<std::string> classes = job.line.classes;
    if (!job.line.classes_file.empty()) {
      const auto file = core::load<ClassesFile>(job.line.classes_file);
      classes.insert(classes.end(), file.classes.begin(), file.classes.end());
    }
    if (!classes.empty() && eval::read_run_facts(eval::run_folder_of(job.line.run)).model.takes_text())
      core::user_error(
          "generate: --class {}: this model is conditioned on text; give --prompt (of one that takes classes "
          "beside: and class=NAME)",
          classes.front());
    prompts.insert(prompts.end(), classes.begin(), classes.end());
    if (prompts.empty()) {
      const eval::RunFacts facts = eval::read_run_facts(eval::run_folder_of(job.line.run));
      if (!facts.model.takes_text())
        prompts = facts.model.takes_classes() ? eval::all_classes(facts.classes, facts.model.num_classes)
                                              : std::vector<std::string>{eval::kNoCondition};
    }
    if (prompts.empty())
      core::user_error(
          "generate: nothing to paint; give --prompt \"...\", --prompts FILE, --class NAME or --classes "
          "FILE");
    return paint(job, job.line.run, list, config);
  });
}
