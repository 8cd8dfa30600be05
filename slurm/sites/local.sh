# The throw-away cluster of scripts/local_slurm.sh, or a Slurm on one machine: CPU only, loopback, more ranks than cores.
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_tcp_if_include=lo
MICRODIT_ARGS=${MICRODIT_ARGS-device=cpu}
