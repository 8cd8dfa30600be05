# Sourced by submit.sh and pipeline.sh, in the repository's folder: the site's file, and its sbatch options for a script.
# A script names its class in a line "#MICRODIT --class=cpu|transfer|gpu|long".

site_file=slurm/sites/${MICRODIT_SITE:-default}.sh
if [ ! -f "$site_file" ]; then
  echo "MICRODIT_SITE=${MICRODIT_SITE:-}: no file $site_file; sites there are: $(cd slurm/sites && echo *.sh)" >&2
  exit 2
fi
MICRODIT_SBATCH=() MICRODIT_SBATCH_CPU=() MICRODIT_SBATCH_TRANSFER=() MICRODIT_SBATCH_GPU=() MICRODIT_SBATCH_LONG=()
source "$site_file"
MICRODIT_INTERNET=${MICRODIT_INTERNET:-compute}
case $MICRODIT_INTERNET in
  login | compute) ;;
  transfer)
    [ ${#MICRODIT_SBATCH_TRANSFER[@]} -gt 0 ] || {
      echo "$site_file: MICRODIT_INTERNET=transfer needs MICRODIT_SBATCH_TRANSFER=(--partition=...)" >&2
      exit 2
    } ;;
  *) echo "$site_file: MICRODIT_INTERNET=$MICRODIT_INTERNET: expected login, transfer or compute" >&2; exit 2 ;;
esac
# sbatch takes these for every job, a download's too.
for name in SBATCH_GPUS SBATCH_GPUS_PER_NODE SBATCH_GPUS_PER_TASK SBATCH_GRES; do
  [ -z "${!name:-}" ] || {
    echo "$name=${!name} would give GPUs to every job, downloads too: unset it, and put that into MICRODIT_SBATCH_GPU and MICRODIT_SBATCH_LONG of $site_file" >&2
    exit 2
  }
done

# site_options SCRIPT: sets the array `options`: what the site wants for the script's class. Later options win in sbatch.
site_options() {
  local class
  class=$(sed -n 's/^#MICRODIT --class=//p' "$1" | head -n 1)
  options=("${MICRODIT_SBATCH[@]}")
  case $class in
    cpu) options+=("${MICRODIT_SBATCH_CPU[@]}") ;;
    transfer) options+=("${MICRODIT_SBATCH_CPU[@]}" "${MICRODIT_SBATCH_TRANSFER[@]}") ;;
    gpu) options+=("${MICRODIT_SBATCH_GPU[@]}") ;;
    long) options+=("${MICRODIT_SBATCH_GPU[@]}" "${MICRODIT_SBATCH_LONG[@]}") ;;
    *) echo "$1: expected a line #MICRODIT --class=cpu, transfer, gpu or long; found '$class'" >&2; return 2 ;;
  esac
}
