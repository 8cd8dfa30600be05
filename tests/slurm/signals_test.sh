#!/bin/bash
# The signal before the time limit reaches every rank exactly once, by srun and by mpirun, also on a Slurm without PMIx;
# and without Slurm. No rank is lost to one that comes while its program is being loaded.
source "$(dirname "$0")/cluster.sh"
command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
start_cluster
source "$MICRODIT_SOURCE/tests/slurm/stand_ins.sh"
equal "every script asks for the signal that its life hands on" "$(grep -L -- '--signal=B:USR1@300' slurm/*.sbatch)" ""

# The nodes here share one host name and one loopback.
export OMPI_MCA_btl=tcp,self OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_tcp_if_include=lo
mpirun="mpirun --oversubscribe --bind-to none -n 4"
by_srun=$(train by_srun "wait 0" --nodes=2 --ntasks-per-node=2)
by_mpirun=$(MICRODIT_LAUNCHER=$mpirun train by_mpirun "wait 0" --nodes=2 --ntasks-per-node=2)
loading=$(MICRODIT_LAUNCHER=$mpirun train loading "load 0" --nodes=2 --ntasks-per-node=2)
crash=$(MICRODIT_LAUNCHER=$mpirun train crash "-9+ 0" --nodes=2 --ntasks-per-node=2)
cancelled=$(MICRODIT_LAUNCHER=$mpirun train cancelled "wait 0" --nodes=1 --ntasks-per-node=4)
all_ready() { [ "$(ls runs/"$1"/"$2".* 2>/dev/null | wc -l)" = 4 ]; }
for name in by_srun by_mpirun; do wait_until 60 all_ready $name ready; done
scancel --batch -s USR1 "$by_srun"
scancel --batch -s USR1 "$by_mpirun"
wait_until 60 all_ready loading loading
scancel --batch -s USR1 "$loading"
wait_until 60 all_ready cancelled ready
scancel "$cancelled"
for job in $by_srun $by_mpirun $loading $crash $cancelled; do wait_job "$job"; done
for name in by_srun by_mpirun loading; do
  ended "$name: stopped, requeued, done" "${!name}" COMPLETED 0:0 1
  equal "$name: every rank got one signal" "$(cat runs/$name/signals.[0-3] | tr -d '\n')" 1111
done
ended "a crash under mpirun" "$crash" COMPLETED 0:0 1
equal "a cancelled job under mpirun stays cancelled" "$(job_field "$cancelled" JobState) $(job_field "$cancelled" Restarts)" "CANCELLED 0"

# Without Slurm: two ranks by mpirun, and one by itself.
for ranks in 2 1; do
  mkdir -p runs
  MICRODIT_RANKS=$ranks bash slurm/pretrain_256.sbatch --config any.yaml name=alone_$ranks plan=wait >alone.log 2>&1 &
  script=$!
  ready() { [ "$(ls runs/alone_$ranks/ready.* 2>/dev/null | wc -l)" = "$ranks" ]; }
  wait_until 60 ready
  kill -TERM $script
  wait $script
  equal "without Slurm, $ranks ranks: exit code" $? 75
  equal "without Slurm, $ranks ranks: signals" "$(cat runs/alone_$ranks/signals.* | tr -d '\n')" "$(printf 1%.0s $(seq $ranks))"
  contains "without Slurm: what next" alone.log "the same command continues it"
done
report
