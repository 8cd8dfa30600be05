# What every job script shares: site, launcher, threads, and `launch`, which runs a stage and keeps the exit-code contract.
# Sourced by slurm/*.sbatch (and slurm/pipeline.sh); changes to the repository's folder. Settings: slurm/README.md.
set -u -o pipefail

cd "${MICRODIT_HOME:-${SLURM_SUBMIT_DIR:-$PWD}}" || exit 1
export MICRODIT_DATA=${MICRODIT_DATA:-data}
MICRODIT_BIN=${MICRODIT_BIN:-build/bin}
note() { echo "[$(date +%H:%M:%S)] $(basename "${MICRODIT_STAGE:-job}"): $*" >&2; }

# ---- lives: a job that is requeued is the same job again ---------------------------------------------------------------
# Their bookkeeping lies outside every published output. An array task is a job of its own.
if [ -n "${SLURM_JOB_ID:-}" ]; then
  job_key=$SLURM_JOB_ID
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job_key=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  lives=$MICRODIT_DATA/.lives/$job_key
  life=${SLURM_RESTART_COUNT:-0}
  if [ "$life" = 0 ]; then rm -rf "$lives"; fi
  mkdir -p "$lives" || exit 1
  # Later lives run what the first one copied into the run folder, this file included.
  if [ "$life" != 0 ] && [ -f "$lives/run" ] && [ -z "${MICRODIT_IN_LIFE:-}" ]; then
    MICRODIT_IN_LIFE=$(cat "$lives/run")/life
    source "$MICRODIT_IN_LIFE/env.sh"
    return
  fi
fi

# ---- site and launcher -------------------------------------------------------------------------------------------------
site_file=${MICRODIT_IN_LIFE:+$MICRODIT_IN_LIFE/site.sh}
site_file=${site_file:-slurm/sites/${MICRODIT_SITE:-default}.sh}
[ -f "$site_file" ] || { note "MICRODIT_SITE=${MICRODIT_SITE:-}: no file $site_file; sites there are: $(ls slurm/sites)"; exit 2; }
source "$site_file"

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-1}}
export OMPI_MCA_btl_base_warn_component_unused=0
if [ -z "${MICRODIT_LAUNCHER+set}" ]; then
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    MICRODIT_LAUNCHER="srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK:-1}"
  elif [ "${MICRODIT_RANKS:-1}" -gt 1 ]; then
    MICRODIT_LAUNCHER="mpirun --oversubscribe --bind-to none -n $MICRODIT_RANKS"
    [ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1  # a container's only user
  else
    MICRODIT_LAUNCHER=""
  fi
fi
# A job submitted from inside another job's step must not take that step's variables for its own.
unset ${!PMIX_@} ${!PMI_@} SLURM_STEP_ID SLURM_STEPID SLURM_STEP_NUM_TASKS SLURM_SRUN_COMM_HOST

# ---- run folder --------------------------------------------------------------------------------------------------------
# run_folder STAGE ARGS...: where this training stage writes, by its own reading of the config. Fails as the stage would.
run_folder() {
  local program=$MICRODIT_BIN/$1 resolved
  shift
  resolved=$("$program" "$@" --print-config) || return
  echo "$(yaml_value runs <<<"$resolved")/$(yaml_value name <<<"$resolved")"
}
yaml_value() { sed -n "s/^$1:[[:space:]]*//p" | head -n 1 | sed "s/^[\"']//; s/[\"'][[:space:]]*$//"; }

# The first life copies binary, script, site and resolved config into the run folder: what lies in build/ may change.
copy_into_run() {
  local stage=$1 run=$2
  shift 2
  mkdir -p "$run/life" || return
  place "$run/life/$stage" <"$MICRODIT_BIN/$stage" && chmod 755 "$run/life/$stage" || return
  "$MICRODIT_BIN/$stage" "$@" --print-config | place "$run/life/config.yaml" || return
  place "$run/life/env.sh" <slurm/env.sh && place "$run/life/site.sh" <"$site_file" && place "$run/life/job.sbatch" <"$0" || return
  echo "$run" >"$lives/run"
}
# Renamed into place: a rank that still runs the old file keeps it.
place() { cat >"$1.tmp.$$" && mv "$1.tmp.$$" "$1"; }

# ---- progress ----------------------------------------------------------------------------------------------------------
# What has been published so far, as one line: the newest checkpoint, or the newest record since this life began.
published() {
  if [ -n "$run" ]; then
    find "$run/checkpoints" -mindepth 1 -maxdepth 1 -name 'step_*' -printf '%f\n' 2>/dev/null | sort | tail -n 1
  else
    find "$MICRODIT_DATA"/{raw,samples,latents} ${MICRODIT_OUTPUTS:-runs} -name '.*' -prune -o -type f -newer "$lives/began" -print 2>/dev/null |
      head -n 1
  fi
}
count_up() { # NAME: the job's counter of that name, increased and printed
  local number=$(($(cat "$lives/$1" 2>/dev/null || echo 0) + 1))
  echo "$number" >"$lives/$1"
  echo "$number"
}

# ---- the next life -----------------------------------------------------------------------------------------------------
requeue_and_exit() { # CODE: what the script returns if it lives that long
  local state
  # A running job, or one at its time limit. One that is being cancelled must stay so; a preempted one Slurm requeues.
  state=$(scontrol show job "$SLURM_JOB_ID" 2>/dev/null | grep -oE '(JobState|Reason)=[^ ]*' | head -n 2 | paste -sd ' ')
  case $state in
    *JobState=RUNNING* | *Reason=TimeLimit*) ;;
    *) note "the job is being ended (${state:-unknown to Slurm}): not requeued; the same sbatch command continues it"; exit "$1" ;;
  esac
  scontrol requeue "$job_key" ||
    note "scontrol requeue was refused (JobRequeue=0 at this site?): submit the same command again to continue"
  exit "$1"
}
after_stop() { # 75: the stage has saved its work and asks for another life
  local fruitless
  [ -n "${SLURM_JOB_ID:-}" ] || exit 75
  if [ "$(published)" != "$before" ]; then
    rm -f "$lives/fruitless"
  else
    fruitless=$(count_up fruitless)
    if [ "$fruitless" -ge "${MICRODIT_FRUITLESS_LIVES:-3}" ]; then
      note "$fruitless lives in a row published nothing new: stopped. Is the time limit too short for one checkpoint or shard?"
      exit 1
    fi
  fi
  note "life $life ended with its work saved; requeued"
  requeue_and_exit 75
}
after_fault() { # 76: hardware or communication fault
  local faults
  [ -n "${SLURM_JOB_ID:-}" ] || exit 76
  faults=$(count_up faults)
  if [ "$faults" -gt "${MICRODIT_FAULTS:-3}" ]; then
    note "fault number $faults (exit 76): not requeued again; nodes: ${SLURM_JOB_NODELIST:-}"
    exit 76
  fi
  note "hardware or communication fault on ${SLURM_JOB_NODELIST:-} (exit 76); requeued, $faults of ${MICRODIT_FAULTS:-3}"
  requeue_and_exit 76
}

# ---- launch ------------------------------------------------------------------------------------------------------------
# launch STAGE [DEFAULT ARGS...] -- ARGS...: runs build/bin/STAGE on all ranks and ends the script by the contract.
# The default arguments stand in when ARGS name neither --config nor --run.
launch() {
  local stage=$1 program rc run="" before=""
  local -a defaults=() args=()
  shift
  while [ "$1" != -- ]; do defaults+=("$1"); shift; done
  shift
  case " $*" in *" --config"* | *" --run"*) defaults=() ;; esac
  # The site's arguments come before the user's, which win.
  args=("${defaults[@]}" ${MICRODIT_ARGS:-} "$@")
  if [ -n "${MICRODIT_TASKS:-}" ] && [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then args+=("task=$SLURM_ARRAY_TASK_ID/$MICRODIT_TASKS"); fi
  MICRODIT_STAGE=$stage
  program=$MICRODIT_BIN/$stage
  [ -n "${MICRODIT_IN_LIFE:-}" ] || [ -x "$program" ] || { note "$program is missing: build first (scripts/setup.sh, then cmake --preset release && ninja -C build)"; exit 2; }

  case $stage in
    train | train_codec)
      if [ -n "${MICRODIT_IN_LIFE:-}" ]; then
        run=${MICRODIT_IN_LIFE%/life}
      else
        run=$(run_folder "$stage" "${args[@]}") || exit
        [ -z "${SLURM_JOB_ID:-}" ] || copy_into_run "$stage" "$run" "${args[@]}" || { note "cannot write $run/life"; exit 1; }
      fi
      if [ -n "${SLURM_JOB_ID:-}" ]; then
        program=$run/life/$stage
        args=(--config "$run/life/config.yaml")
      fi ;;
  esac
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    touch "$lives/began"
    before=$(published)
    note "life ${life:-0} of job $job_key on ${SLURM_JOB_NODELIST:-}, ${SLURM_NTASKS:-1} ranks, ${OMP_NUM_THREADS} threads each"
  fi
  # srun may return 0 when no task could be started at all: each one that starts leaves a mark.
  local -a mark=()
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    rm -f "$lives/ran"
    mark=(sh -c 'touch "$0" && exec "$@"' "$lives/ran")
  fi
  supervise $MICRODIT_LAUNCHER "${mark[@]}" "$program" "${args[@]}"
  rc=$?
  if [ $rc = 0 ] && [ ${#mark[@]} -gt 0 ] && [ ! -e "$lives/ran" ]; then
    note "the launcher returned success, but no rank was started (see above)"
    rc=1
  fi
  case $rc in
    0) [ -z "${SLURM_JOB_ID:-}" ] || rm -rf "$lives"; exit 0 ;;
    75) after_stop ;;
    76) after_fault ;;
    *) note "failed with exit code $rc"; exit $rc ;;
  esac
}
# The shell outlives SIGTERM and SIGUSR1 (the ranks get their own) so that it can requeue; `wait` returns early on both.
supervise() {
  local child
  trap ':' TERM USR1
  "$@" &
  child=$!
  while wait "$child"; kill -0 "$child" 2>/dev/null; do :; done
  wait "$child"
}
