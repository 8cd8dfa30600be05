# Example: a site that takes --gpus-per-node. 8 GPUs, 96 cores and 1 TB in a node; one partition for GPUs, one for the rest;
# compute nodes without internet; programs from modules. Copy to NAME.sh, change, and set MICRODIT_SITE=NAME.

# --- sbatch's options, used by slurm/submit.sh and slurm/pipeline.sh; they win over the #SBATCH lines ---
MICRODIT_SBATCH=(--account=project)                                    # every job
MICRODIT_SBATCH_CPU=(--partition=cpu)                                  # download, clean
MICRODIT_SBATCH_GPU=(--partition=gpu)                                  # precompute, train_codec, generate, evaluate
MICRODIT_SBATCH_LONG=(--qos=long --time=3-00:00:00                     # the training phases; GPU's options come before
  --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=12 --mem=0)    # one rank per GPU, whole nodes

MICRODIT_INTERNET=login        # pipeline.sh downloads in the shell that starts it, before it submits anything

# --- inside the jobs ---
if [ -n "${SLURM_JOB_ID:-}" ]; then
  module purge
  module load gcc/13 openmpi/4.1 hdf5/1.14 cuda/13.0
fi
MICRODIT_ARGS="device=cuda"    # put before the arguments of every stage
