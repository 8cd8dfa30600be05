// life: one life of a job, called by slurm/env.sh. No torch, no MPI: it runs on any node, also outside a container.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/error.h"
#include "lives/life.h"

using namespace microdit;

namespace {

struct Options {
  std::string launcher{}, prefix{}, bin = "build/bin", script{}, env{}, site{}, state{}, mark{};
};

int run(const Options& options, const lives::Words& words) {
  const lives::Surroundings here = lives::read_surroundings();
  lives::Stage stage{.launcher = lives::split_words(options.launcher),
                     .prefix = lives::split_words(options.prefix),
                     .bin = options.bin,
                     .script = options.script,
                     .env = options.env,
                     .site = options.site,
                     .state = options.state.empty() ? "" : std::filesystem::absolute(options.state)};
  const lives::Words given = lives::read_stage(words, stage);
  return lives::live(stage, given, here, lives::Slurm());
}

/// argv up to "--" is ours, the rest names a stage or a program.
int dispatch(int argc, char** argv) {
  char** const divider =
      std::find_if(argv, argv + argc, [](const char* word) { return std::string_view(word) == "--"; });
  const lives::Words words(divider == argv + argc ? divider : divider + 1, argv + argc);
  Options options;
  CLI::App app{"The rules of lives: run a stage, requeue it, stop it, say why (slurm/README.md).", "life"};
  CLI::App* whole =
      app.add_subcommand("run", "one life of a job: life run ... -- STAGE DEFAULTS... -- ARGUMENTS...");
  CLI::App* rank = app.add_subcommand(
      "rank", "become a rank that early signals wait for: life rank ... -- PROGRAM ARGUMENTS...");
  whole->add_option("--launcher", options.launcher, "srun ... or mpirun ...; empty: the program alone");
  whole->add_option("--prefix", options.prefix,
                    "put before every program, such as apptainer exec --nv image.sif");
  whole->add_option("--bin", options.bin, "folder of the programs");
  whole->add_option("--script", options.script, "the job's script");
  whole->add_option("--env", options.env, "slurm/env.sh as it runs");
  whole->add_option("--site", options.site, "slurm/sites/NAME.sh as it was read");
  whole->add_option("--state", options.state,
                    "folder of this job's bookkeeping; without it, a start outside of lives");
  rank->add_option("--mark", options.mark, "file that says that a rank has begun");
  app.require_subcommand(1);
  try {
    app.parse(static_cast<int>(divider - argv), argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help("", CLI::AppFormatMode::All));
    return core::kDone;
  } catch (const CLI::ParseError& error) {
    core::user_error("life: {} (see --help)", error.what());
  }
  if (words.empty()) core::user_error("life: nothing behind -- (see --help)");
  if (rank->parsed()) return lives::become_rank(words, options.mark);
  return run(options, words);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return dispatch(argc, argv);
  } catch (const lives::Refused& refused) {
    return refused.exit_code;
  } catch (const std::exception& error) {
    const core::Verdict verdict = core::judge(error);
    lives::say("life", verdict.message);
    return verdict.exit_code;
  }
}
