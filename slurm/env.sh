# Sourced by slurm/*.sbatch: the site, how ranks start, and `launch STAGE [DEFAULT ARGS...] -- ARGS...`, which ends the script.
# What a life of a job is, and when there is another, are the rules of build/bin/life: slurm/README.md.
set -u -o pipefail
cd "${MICRODIT_HOME:-${SLURM_SUBMIT_DIR:-$PWD}}" || exit 2
if [ ! -d slurm/sites ]; then
  echo "$PWD is not the repository: submit from its folder, or with sbatch --chdir=REPOSITORY and MICRODIT_HOME=REPOSITORY" >&2
  exit 2
fi
export MICRODIT_DATA=${MICRODIT_DATA:-data}
MICRODIT_BIN=${MICRODIT_BIN:-build/bin}

# Bookkeeping of this job's lives; `kept` is what its first life copied into runs/NAME/life/JOB, this file included. Only a
# script that Slurm started has lives: stages that a shell starts in one allocation share its number, and just run.
if [ -n "${SLURM_JOB_ID:-}" ] && [ "${0##*/}" = slurm_script ]; then
  job=${SLURM_JOB_ID}
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  state=${MICRODIT_STATE:-slurm/lives}/${SLURM_CLUSTER_NAME:+$SLURM_CLUSTER_NAME-}${MICRODIT_CONTINUES:-$job}
  if [ -z "${kept:-}" ] && [ -f "$state/kept/env.sh" ] && [ "${SLURM_RESTART_COUNT:-0}${MICRODIT_CONTINUES:-}" != 0 ]; then
    kept=$state/kept
    source "$kept/env.sh"
    return
  fi
fi

# The site: modules, MICRODIT_LAUNCHER, MICRODIT_PREFIX, MICRODIT_ARGS, MICRODIT_CONTINUE.
site_file=${kept:+$kept/site.sh}
site_file=${site_file:-slurm/sites/${MICRODIT_SITE:-default}.sh}
[ -f "$site_file" ] || { echo "MICRODIT_SITE=${MICRODIT_SITE:-}: no file $site_file; sites there are: $(cd slurm/sites && echo *.sh)" >&2; exit 2; }
source "$site_file"
export MICRODIT_ARGS=${MICRODIT_ARGS:-} MICRODIT_CONTINUE=${MICRODIT_CONTINUE:-requeue}

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-1}}
export OMP_PROC_BIND=false  # a site's "true" binds the first thread to a core, and all that it starts with it
unset OMP_PLACES GOMP_CPU_AFFINITY
export OMPI_MCA_btl_base_warn_component_unused=0
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1  # a container's only user
# A job submitted from inside another job's step must not take that step's variables for its own.
unset ${!PMIX_@} ${!PMI_@} SLURM_STEP_ID SLURM_STEPID SLURM_STEP_NUM_TASKS SLURM_SRUN_COMM_HOST

# How ranks start: by the site's MICRODIT_LAUNCHER, or srun in a job, mpirun elsewhere; one rank alone needs nothing.
launcher() {
  if [ -n "${MICRODIT_LAUNCHER+set}" ]; then echo "$MICRODIT_LAUNCHER"
  elif [ -n "${SLURM_JOB_ID:-}" ]; then echo "srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK:-1}"
  elif [ "${MICRODIT_RANKS:-1}" -gt 1 ]; then echo "mpirun --oversubscribe --bind-to none -n $MICRODIT_RANKS"
  fi
}

# One life. It takes this shell's place, so that Slurm's signals to the script (--signal=B:USR1@300) reach it.
launch() {
  local life=${kept:+$kept/bin/life}
  life=${life:-${MICRODIT_LIFE:-$MICRODIT_BIN/life}}
  [ -x "$life" ] || { echo "$life is missing: build first (scripts/setup.sh, then cmake --preset release && ninja -C build jobs)" >&2; exit 2; }
  exec "$life" run --launcher "$(launcher)" --prefix "${MICRODIT_PREFIX:-}" --bin "$MICRODIT_BIN" \
    --script "$0" --env "${BASH_SOURCE[0]}" --site "$site_file" --state "${state:-}" -- "$@"
}
