// evaluate: eval loss and prompt retrieval of a trained run.
#include "eval/evaluate.h"
#include "job.h"
#include "train/evaluations.h"
#include "train/report.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{
      .name = "evaluate",
      .summary =
          "Measure a trained run: eval loss, prompt retrieval (the sampler's keys, where "
          "not given: the run's `sampling`, but for steps).",
      .takes_config = false,
      .takes_run = true,
      .field_help = core::describe_fields<eval::EvaluateConfig>()};
  return jobs::run_job(argc, argv, info, [](jobs::Job& job) {
    if (job.line.run.empty())
      core::user_error("evaluate: --run DIR is missing (a run folder such as runs/emoji)");
    const auto config = core::load<eval::EvaluateConfig>(core::ConfigTree::of_overrides(job.line.overrides));
    if (job.line.dry_run) return eval::describe_evaluate(job.line.run, config, job.comm);
    const int code = eval::evaluate(job.line.run, config, job.comm, job.stop);
    if (code == core::kDone && job.comm.rank() == 0) {
      const train::RunFolder run(eval::run_folder_of(job.line.run));
      train::record_evaluation(run);
      train::write_report(run);
    }
    return code;
  });
}
