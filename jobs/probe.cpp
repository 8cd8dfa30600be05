// probe: chooses the command.
#include "probe.h"

#include "output_path.h"

#include <fmt/ranges.h>

#include <ranges>

namespace microdit::jobs {

std::filesystem::path needed_path(const Job& job, const std::string& name) {
  const std::string& path = job.line.paths.at(name);
  if (path.empty()) core::user_error("probe {}: --{} is missing (see --help)", job.line.positional[0], name);
  if (name == "output") check_output(path);
  return path;
}

namespace {

const std::map<std::string, int (*)(Job&)> kCommands = {{"forward", probe_forward},
                                                        {"loss", probe_loss},
                                                        {"sample", probe_sample},
                                                        {"gaussian", probe_gaussian},
                                                        {"tokenize", probe_tokenize},
                                                        {"encode_text", probe_encode_text},
                                                        {"clean_captions", probe_clean_captions},
                                                        {"encode", probe_encode},
                                                        {"decode", probe_decode},
                                                        {"resize", probe_resize}};

constexpr const char* kHelp =
    R"(forward        --config M.yaml --weights W --input IN --output OUT [mask_ratio=.75 device=cpu precision=fp32]
               IN: x [B,C,H,W], noise_label [B], text [B,L,D], mask_noise [B,T] if masked,
               text_mask [B,L] (not 0: seen) with model.text_mask=true or kind: unet, class [B] (int64) of models that
               take classes; with model.text_conditioner tokens [B,L] and text_length [B] (int64) instead of text; OUT: sample
loss           the same options, objective.KEY= (see train --help); IN: x0, text, noise (unit), mask_noise if masked, and sigma [B]
               with objective.path=edm, else t [B]: 0 ... T of vp_*, 0 ... T-1 of betas, 0 ... 1 of flow; OUT: loss, grad.<parameter>
sample         the same options, objective.KEY=, sampler.KEY= or KEY= (rule steps guidance ..., see generate --help); IN: x (unit),
               text; negative [B,L,D] (and negative_mask), negative_tokens and negative_length, or negative_class [B], instead of the model's null; step_noise [steps,B,C,H,W] (unit) with
               rules that draw noise; OUT: sample, intermediates [steps-1,B,C,H,W] (after each step but the last)
gaussian       [objective.KEY= ...]: data of one Gaussian, whose best network is known, drawn with every prediction and rule
               that goes with objective.path; exit code 2 where mean or deviation is missed (a noise schedule of one's own: docs/extending.md)
tokenize       --encoder DIR (CLIP, T5 or BERT) --input LINES --output LINES [max_length=]: a JSON string per line -> ids per line
encode_text    --encoder DIR --input LINES --output OUT [length= precision=]: OUT: states [N,L,D], ids [N,L]
clean_captions --input LINES --output LINES [clean=reference|gentle]: a JSON string per line -> a JSON string per line
encode         --codec DIR [device=cpu precision=fp32]; IN: pixels uint8 [B,H,W,3] or image [B,3,H,W] in [-1,1]; OUT: moments, mean, latents (scaled)
decode         the same options; IN: latents (scaled); OUT: image [B,3,H,W], as the network gives it
resize         --input PICTURE --output PNG size=N: shorter edge to N, centre crop; an entry's keys pictures.alpha=white|drop
               pictures.grey16=high|clip pictures.exif=ignore|apply pictures.frames=first|skip pictures.damaged_inside=keep|skip
Tensor files are safetensors; weights may be .pt, too.)";

int run_command(Job& job) {
  const auto& words = job.line.positional;
  const auto found = words.size() == 1 ? kCommands.find(words[0]) : kCommands.end();
  if (found == kCommands.end()) {
    core::user_error("probe: '{}' is no command; give one of: {} (see --help)", fmt::join(words, " "),
                     fmt::join(std::views::keys(kCommands), ", "));
  }
  return job.comm.rank() == 0 ? found->second(job) : static_cast<int>(core::kDone);
}

}  // namespace
}  // namespace microdit::jobs

int main(int argc, char** argv) {
  using namespace microdit;
  jobs::JobInfo info{.name = "probe", .summary = "Runs one building block on given tensors."};
  info.positional_help = "command";
  info.obeys_stop = false;
  info.path_options = {"weights", "input", "output", "encoder", "codec"};
  info.field_help = jobs::kHelp;
  return jobs::run_job(argc, argv, info, jobs::run_command);
}
