#!/bin/bash
# sbatch with the site's options for the script's class, from any folder:
#
#   slurm/submit.sh [SBATCH OPTIONS, each in one word] SCRIPT [ARGUMENTS OF THE JOB]
#   slurm/submit.sh --nodes=2 slurm/pretrain_256.sbatch --config configs/train/emoji.yaml
#
# The site is MICRODIT_SITE (slurm/sites/NAME.sh, default: default). Prints what sbatch prints.
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
given=()
while [ $# -gt 0 ] && [[ $1 == -* ]]; do
  case $1 in
    --help | -h) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  esac
  given+=("$1")
  shift
done
if [ $# = 0 ] || [ ! -f "$1" ]; then
  echo "submit: ${1:-}: no such job script; options of sbatch are one word each (--nodes=2). Scripts: $(echo slurm/*.sbatch)" >&2
  exit 2
fi
source slurm/site.sh
site_options "$1" || exit
mkdir -p slurm/logs || exit
exec sbatch "${options[@]}" "${given[@]}" "$@"
