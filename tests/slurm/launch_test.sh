#!/bin/bash
# How programs start under a real Slurm: 2 virtual nodes x 2 ranks, arrays, missing MPI plugin, exit codes through srun.
source "$(dirname "$0")/cluster.sh"
program=$programs/test_comm
for file in "$program" "$programs/life"; do
  [ -x "$file" ] || { echo "skipped: $file is not built"; exit 77; }
done
start_cluster
matrix="-N2 --ntasks-per-node=2"

# run_code WANTED WHAT COMMAND...: exit code of an srun, output in ./out
run_code() {
  local wanted=$1 what=$2 rc
  shift 2
  timeout 100 "$@" >out 2>&1
  rc=$?
  equal "$what: exit code" "$rc" "$wanted"
  [ "$rc" = "$wanted" ] || tail -n 30 out
}
srun="srun --mpi=pmix --kill-on-bad-exit=1"
MICRODIT_TEST_SIZE=4 run_code 0 "collectives on 2 nodes x 2 ranks" $srun $matrix "$program" --gtest_filter='*Cluster*'
MICRODIT_TEST_SIZE=1 run_code 0 "one task" srun -n1 "$program" --gtest_filter='Cluster.*'
run_code 2 "no MPI plugin" srun --mpi=none $matrix "$program" --gtest_filter='Cluster.Has*'
contains "no MPI plugin: remedy" out "srun --mpi=pmix"
MICRODIT_TEST_END=1 run_code 2 "abort" $srun $matrix "$program" --gtest_filter=ClusterEnd.Abort
MICRODIT_TEST_END=1 MICRODIT_TEST_WATCHDOG_S=1 run_code 76 "hung peer" $srun $matrix "$program" --gtest_filter=ClusterEnd.HungPeer
contains "hung peer: what" out "barrier of 0 bytes"
MICRODIT_TEST_EXIT=75 run_code 75 "requeue me" $srun $matrix "$program" --gtest_filter='Cluster.AllReduce*'

# A plain program in a batch script of four tasks is one process; the scripts' launcher makes four.
cat >job.sbatch <<'E2'
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=2 --cpus-per-task=1 --output=%x.out
MICRODIT_TEST_SIZE=1 "$PROGRAM" --gtest_filter='Cluster.Has*' || exit 1
source slurm/env.sh
export MICRODIT_TEST_SIZE=4
launch test_comm --config unused -- --gtest_filter='Cluster.Has*'
E2
ln -s "$program" build/bin/test_comm
cp "$programs/life" build/bin/life
job=$(PROGRAM=$program sbatch --parsable --job-name=by_srun job.sbatch)
# Where Slurm has no PMIx, mpirun starts them. The nodes here share one host name.
export OMPI_MCA_btl=tcp,self OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_tcp_if_include=lo
by_mpirun=$(PROGRAM=$program MICRODIT_LAUNCHER=mpirun sbatch --parsable --job-name=by_mpirun job.sbatch)
unset OMPI_MCA_btl
cat >array.sbatch <<'E2'
#!/bin/bash
#SBATCH --ntasks=1 --output=array-%a.out
"$PROGRAM" --gtest_filter=ShareOf.OfThisTask
E2
array=$(PROGRAM=$program sbatch --parsable --array=0-4:2 array.sbatch)
wait_job "$job"; wait_job "$by_mpirun"; wait_job "$array"
ended "batch script" "$job" COMPLETED 0:0 0
ended "batch script, by mpirun" "$by_mpirun" COMPLETED 0:0 0
equal "shares of an array" "$(grep -h '^share' array-0.out array-2.out array-4.out | paste -sd,)" "share 0 of 3,share 1 of 3,share 2 of 3"
equal "OpenMP's binding by a site" "$(cd "$MICRODIT_SOURCE" && OMP_PROC_BIND=true OMP_PLACES=cores bash -c 'source slurm/env.sh; echo $OMP_PROC_BIND ${OMP_PLACES-unset}')" "false unset"
report
