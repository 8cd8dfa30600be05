// explain: a page of pictures that show what diffusion does.
#include "explain/explain.h"

#include "job.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{.name = "explain",
                           .summary =
                               "A page of pictures that explain diffusion: noise levels, a picture on its "
                               "way to noise, sampling in the "
                               "plane, guidance; with run=, of a trained run, too. Needs nothing else.",
                           .field_help = core::describe_fields<explain::ExplainConfig>()};
  return jobs::run_job(argc, argv, info, [](jobs::Job& job) {
    const auto tree = job.line.config.empty() ? core::ConfigTree::of_overrides(job.line.overrides)
                                              : core::ConfigTree::load(job.line.config, job.line.overrides);
    const auto config = core::load<explain::ExplainConfig>(tree);
    if (job.line.print_config) {
      fmt::print("{}", core::to_yaml_with_origins(config, tree));
      return static_cast<int>(core::kDone);
    }
    if (job.line.dry_run) return explain::describe_explain(config, job.comm, job.stop);
    return explain::explain(config, job.comm, job.stop);
  });
}
