# A site where sbatch needs no partition and no account, and Slurm's PMIx plugin exists. Copy this file to NAME.sh for
# yours and set MICRODIT_SITE=NAME. Before submitting: source slurm/sites/NAME.sh (pipeline.sh does it), because the
# SBATCH_* variables override the #SBATCH lines of the scripts; the jobs source it again for the rest.

# --- read by sbatch ---
# export SBATCH_PARTITION=gpu SBATCH_ACCOUNT=project SBATCH_QOS=normal SBATCH_TIMELIMIT=24:00:00
# export SBATCH_GPUS_PER_NODE=8          # or SBATCH_GRES=gpu:h100:8; leave --gpu-bind alone: NCCL wants to see all peers

# --- read by the jobs ---
# module purge; module load openmpi hdf5 cuda
# MICRODIT_ARGS="device=cuda"            # put before the arguments of every stage
# MICRODIT_LAUNCHER="srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK:-1} apptainer exec --nv microdit.sif"
