# A site where sbatch needs no partition and no account, and Slurm's PMIx plugin exists. For yours: copy gpus_per_node.sh or
# gres.sh to NAME.sh and set MICRODIT_SITE=NAME. All variables: slurm/README.md.
