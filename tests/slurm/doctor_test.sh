#!/bin/bash
# doctor env on all nodes of a cluster: one line for each, what to do once, and an exit code that knows of a bad node.
source "$(dirname "$0")/cluster.sh"
[ -x "$programs/doctor" ] || { echo "skipped: $programs/doctor is not built"; exit 77; }
NODES=3 start_cluster
all=(-N "$(sinfo -h -o %D)" --ntasks-per-node=1 --mpi=pmix)
srun "${all[@]}" "$programs/doctor" env >said 2>log
equal "all nodes are fit" "$? $(grep -c '^n[1-3] .*processor: .*gpu: ' said) $(tail -n 1 said)" "0 3 3 of 3 nodes fit"
equal "in order" "$(grep -o '^n[1-3]' said | paste -sd' ')" "n1 n2 n3"

# Two tasks on a node are one line; one node that lets a process open few files is bad, and so is the whole.
cat >doctor_of_n2.sh <<'E2'
[ "$SLURMD_NODENAME" != n2 ] || ulimit -n 256
exec "$0" env
E2
srun -N 3 --ntasks-per-node=2 --mpi=pmix bash -c "$(cat doctor_of_n2.sh)" "$programs/doctor" >said 2>log
equal "a bad node: exit code" $? 1
equal "a bad node: lines" "$(grep -c '^n[1-3] ' said) $(grep -c '^n2 .*BAD files: 256' said) $(grep -c BAD said) $(tail -n 1 said)" "3 1 1 2 of 3 nodes fit"
equal "a remedy is said once" "$(grep -c 'ulimit -n 4096' said)" 1
report
