#!/bin/bash
# One training for each cell of a grid of settings: one job array, a run folder for each cell, a table and plots of what they reached.
#
#   slurm/sweep.sh --train configs/train/emoji.yaml --grid optimizer.lr=8e-4,1.6e-3 --grid seed=1,2 steps=500
#   slurm/sweep.sh --status runs/emoji_sweep            the table so far (index.html, table.csv, pictures), and what is in the queue
#
# The same command goes on with what is not done and leaves the rest alone; with more values it adds their cells. A cell that fails stops
# no other. Words behind the options are key=value for every cell.
#
# Options:
#   --train FILE|NAME     the training's config (a name: configs/train/NAME.yaml)
#   --grid KEY=A,B,...    the values of a key; several --grid: all combinations. A value with commas: [a, b] or quotes. Also model=tiny_2,xl_2
#                         and seed=range(1,9): 1 to 8; range(0,100,20)
#   --name NAME           of the sweep: its folder below the config's `runs` (the config's name and _sweep)
#   --at-once K           at most K cells at a time
#   --sbatch "OPTIONS"    for every cell's job, quoted as in a shell; they win over the site's (slurm/sites/MICRODIT_SITE.sh)
#   --dry-run             checks, says what would be done, does nothing
#   --local               here, without Slurm, one cell after another
# Every mistake that can be known is refused with exit code 2 before anything is submitted.
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source slurm/checks.sh
source slurm/site.sh
die() { echo "sweep: $*" >&2; exit 2; }
bin=${MICRODIT_BIN:-build/bin}

# show FOLDER: the table, and the cells that are in the queue
show() {
  local index state rest names
  mapfile -t names < <(cut -f 1 "$1/cells.txt")
  ${MICRODIT_PREFIX:-} "$bin/doctor" runs "$1" || exit
  if ! ask_queue "$1"; then echo "sweep: squeue does not answer" >&2; return; fi
  while IFS='|' read -r index state rest; do
    [ -z "$index" ] || echo "in the queue: ${names[$index]:-$index}: $state $rest"
  done <<<"$queue"
}
# ask_queue FOLDER: sets `queue`, lines "INDEX|STATE|TIME OR REASON" of the sweep's cells; the comment names the sweep
ask_queue() {
  queue=""
  command -v squeue >/dev/null || return 0
  queue=$(timeout 30 squeue -h -r -o '%K|%T|%M %r|%k') || return
  queue=$(awk -F'|' -v OFS='|' -v sweep="sweep $(realpath -m "$1")" '$4 == sweep { print $1, $2, $3 }' <<<"$queue")
}

train="" name="" at_once="" dry_run=0 here=0 grids=() given=() sbatch=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=1; shift; continue ;;
    --local) here=1; shift; continue ;;
    --help | -h) sed -n '2,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --*) [ $# -ge 2 ] || die "$1: unknown option or missing value; see --help" ;;
    *=* | ~*) given+=("$1"); shift; continue ;;
    *) die "'$1' is neither an option nor key=value; see --help" ;;
  esac
  case $1 in
    --train) train=$2 ;;
    --grid) grids+=("$2") ;;
    --name) name=$2 ;;
    --at-once) at_once=$2 ;;
    --sbatch) split "$2"; sbatch+=("${pieces[@]}") ;;
    --status) [ -f "$2/cells.txt" ] || die "--status $2: no sweep's folder (it has no cells.txt)"; show "${2%/}"; exit ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift 2
done
source slurm/sweep_cells.sh

[ -n "$train" ] || die "--train is missing; see --help"
[ ${#grids[@]} -gt 0 ] || die "--grid is missing: --grid optimizer.lr=1e-4,3e-4; see --help"
[ -z "$at_once" ] || [[ $at_once =~ ^[1-9][0-9]*$ ]] || die "--at-once $at_once: expected a number of at least 1"
check_programs train doctor
check_cluster       # controller: the most tasks of an array
make_cells          # names, settings
find_folder         # folder
place_cells         # places[i]: the line of cells.txt, from 0
check_cells         # todo: the cells that are neither done nor in the queue

if [ $dry_run = 1 ]; then
  for i in "${todo[@]}"; do echo "${names[$i]}: train $(quoted "${common[@]}") $(tr '\t' ' ' <<<"${settings[$i]}")"; done
  exit 0
fi
mkdir -p "$folder" slurm/logs || exit
lock_folder
write_cells
if [ ${#todo[@]} = 0 ]; then
  echo "sweep: nothing left to do" >&2
  show "$folder"
  exit 0
fi
if [ $here = 1 ]; then
  failed=()
  for i in "${todo[@]}"; do
    echo "sweep: ${names[$i]}" >&2
    IFS=$'\t' read -ra cell <<<"${settings[$i]}"
    rc=0
    bash slurm/sweep.sbatch "${common[@]}" "${cell[@]}" || rc=$?
    [ $rc != 75 ] || { echo "sweep: stopped with its work saved; the same command continues it" >&2; exit 75; }
    [ $rc = 0 ] || failed+=("${names[$i]} (exit code $rc)")
  done
  show "$folder"
  [ ${#failed[@]} = 0 ] || { printf 'sweep: failed: %s\n' "${failed[@]}" >&2; exit 1; }
  exit 0
fi
export MICRODIT_TASKS=${#lines[@]}
id=$("${command[@]}" "${payload[@]}") || { echo "sweep: sbatch refused the array; nothing was submitted" >&2; exit 1; }
echo "$sweep ${id%%;*}"
site_options slurm/table.sbatch || exit
table=$(sbatch --parsable "${options[@]}" "--job-name=${sweep}_table" "--dependency=afterany:${id%%;*}" slurm/table.sbatch runs "$folder") ||
  { echo "sweep: sbatch refused the table's job; slurm/sweep.sh --status $folder makes it" >&2; exit 1; }
echo "${sweep}_table ${table%%;*}"
echo "sweep: ${#todo[@]} cells; slurm/sweep.sh --status $folder shows where they stand; the page will be $folder/index.html" >&2
