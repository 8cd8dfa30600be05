// One life of a job, from its first check to the next life: what a job script calls.
#pragma once

#include "lives/kept.h"
#include "lives/slurm.h"

namespace microdit::lives {

/// STAGE DEFAULTS... -- ARGUMENTS... : the default arguments stand in when the user's name neither --config
/// nor --run; the site's (MICRODIT_ARGS) come before the user's, which win. Fills name and arguments; gives
/// back the user's.
Words read_stage(const Words& words, Stage& stage);

/// Runs the stage on all ranks. In a Slurm job, which has a `state`, by the rules of lives, elsewhere just so; a
/// question such as --help is answered by the program alone. The exit code of the
/// script.
int live(const Stage& stage, const Words& script_arguments, const Surroundings& here, const Slurm& slurm);

}  // namespace microdit::lives
