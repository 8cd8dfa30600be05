// score: pictures against pictures, as FID.
#include "score/score.h"

#include "eval/compute.h"
#include "job.h"
#include "score/clip_score.h"

using namespace microdit;

int main(int argc, char** argv) {
  const jobs::JobInfo info{.name = "score",
                           .summary =
                               "How far pictures are from a reference: FID, or the Fréchet distance in "
                               "another network's features. Each "
                               "of the two is a folder of pictures, a dataset below MICRODIT_DATA/samples, "
                               "or an .npz of statistics; "
                               "without a reference only statistics are made.",
                           .takes_config = false,
                           .has_dry_run = true,
                           .path_options = {"pictures", "reference"},
                           .field_help = core::describe_fields<score::ScoreConfig>()};
  return jobs::run_job(argc, argv, info, [](jobs::Job& job) {
    const std::string& pictures = job.line.paths.at("pictures");
    const std::string& reference = job.line.paths.at("reference");
    const auto config = core::load<score::ScoreConfig>(core::ConfigTree::of_overrides(job.line.overrides));
    if (!config.captions.empty()) return score::write_captions(reference, config, job.comm);
    if (pictures.empty() && !job.line.dry_run)
      core::user_error(
          "score: --pictures is missing (a folder of pictures, such as runs/emoji/images/latest)");
    const bool is_clip = config.network == "clip";
    if (is_clip && !reference.empty())
      core::user_error(
          "score: --reference: CLIP scores compare pictures with their own captions, not with a reference");
    if (job.line.dry_run && is_clip) return score::describe_clip_score(pictures, config, job.comm, job.stop);
    if (job.line.dry_run) return score::describe_score(pictures, reference, config, job.comm, job.stop);
    const eval::Compute compute =
        eval::choose_compute({config.device, "fp32", config.threads_per_rank}, "fp32", job.comm);
    if (is_clip) return score::clip_score(pictures, config, compute.device, job.comm, job.stop);
    return score::score(pictures, reference, config, compute.device, job.comm, job.stop);
  });
}
