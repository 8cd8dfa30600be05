// generate: prompts -> pictures with a trained run.
#include "eval/generate.h"
#include "eval/prompts.h"
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

}  // namespace

int main(int argc, char** argv) {
  const jobs::JobInfo info{
      .name = "generate",
      .summary =
          "Paint prompts with a trained run (the sampler's keys, where not given: the run's `sampling`, "
          "but for steps).",
      .takes_config = false,
      .takes_run = true,
      .takes_prompts = true,
      .field_help = core::describe_fields<eval::GenerateConfig>()};
  return jobs::run_job(argc, argv, info, [](jobs::Job& job) {
    if (job.line.run.empty())
      core::user_error("generate: --run DIR is missing (a run folder such as runs/emoji)");
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
      core::user_error("generate: --class {}: this model is conditioned on text; give --prompt",
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
    if (job.line.dry_run) return eval::describe_generate(job.line.run, list, config, job.comm);
    return eval::generate(job.line.run, list, config, job.comm, job.stop);
  });
}
