# Example: a site that takes --gres only. 4 GPUs in a node; a transfer partition with internet; programs from a container.
# Copy to NAME.sh, change, and set MICRODIT_SITE=NAME.

# --- sbatch's options, used by slurm/submit.sh and slurm/pipeline.sh; they win over the #SBATCH lines ---
# The scripts say --gpus-per-node, so that is set to 0 wherever --gres stands in for it.
MICRODIT_SBATCH=(--account=project)
MICRODIT_SBATCH_CPU=(--partition=batch)
MICRODIT_SBATCH_TRANSFER=(--partition=transfer --array=0-1)            # download, instead of CPU's partition
MICRODIT_SBATCH_GPU=(--partition=gpu --gpus-per-node=0 --gres=gpu:a100:1)
MICRODIT_SBATCH_LONG=(--gres=gpu:a100:4 --ntasks-per-node=4 --cpus-per-task=16 --mem=0)

MICRODIT_INTERNET=transfer     # downloads run in MICRODIT_SBATCH_TRANSFER's partition

# --- inside the jobs ---
unset SLURM_GPUS_PER_NODE      # else srun hands that 0 on to its ranks
MICRODIT_ARGS="device=cuda"
MICRODIT_PREFIX="apptainer exec --nv $HOME/microdit.sif"               # put before every program
MICRODIT_BIN=/opt/microdit/bin                                         # where the programs are in the image
MICRODIT_LIFE=$HOME/life       # but this one speaks to Slurm: apptainer exec microdit.sif cp /opt/microdit/bin/life $HOME/
