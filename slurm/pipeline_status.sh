#!/bin/bash
# pipeline.sh --status [FILE]: each job of a submitted pipeline, its state, and the last line of its log.
set -u -o pipefail
record=${1:-$(ls -t slurm/logs/pipeline-*.txt 2>/dev/null | head -n 1)}
if [ -z "$record" ] || [ ! -f "$record" ]; then
  echo "pipeline: ${record:-slurm/logs/pipeline-*.txt}: no record of a submitted pipeline" >&2
  exit 2
fi
# One question for all jobs, tasks of arrays one by one. Without an answer nothing is known, least of all that all is over.
queue=$(timeout 30 squeue -h -a -r -o '%F|%T|%M|%r') || { echo "pipeline: squeue does not answer" >&2; exit 1; }

# ended ID: state and exit code of a job that is not in the queue
ended() {
  local state
  state=$(timeout 20 scontrol -o show job "$1" 2>/dev/null | sed -n 's/.* JobState=\([^ ]*\) .* ExitCode=\([^ ]*\) .*/\1 \2/p')
  [ -n "$state" ] || state=$(timeout 20 sacct -n -P -X -j "$1" -o State,ExitCode 2>/dev/null | tr '|' ' ')
  counted <<<"${state:-over, and no longer known to Slurm}"
}
counted() { sort | uniq -c | sed 's/^ *1 //; s/^ *//' | paste -sd, | sed 's/,/, /g'; }

echo "$record"
grep '^#' "$record"
width=$(awk '!/^#/ { n = length($1); if (n > most) most = n } END { print (most > 14 ? most : 14) }' "$record")
while read -r stage id; do
  state=$(awk -F'|' -v id="$id" '$1 == id { print $2 ($2 == "PENDING" ? " (" $4 ")" : " " $3) }' <<<"$queue" | counted)
  [ -n "$state" ] || state=$(ended "$id")
  log=$(ls -t slurm/logs/*-"$id".out slurm/logs/*-"${id}"_*.out 2>/dev/null | head -n 1)
  printf '%-*s %-10s %s\n' "$width" "$stage" "$id" "$state"
  [ -z "$log" ] || printf '    %s: %s\n' "$log" "$(tail -n 1 "$log" | cut -c1-160)"
done < <(grep -v '^#' "$record")
