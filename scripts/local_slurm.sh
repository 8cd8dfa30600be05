#!/bin/bash
# A throw-away Slurm cluster of several virtual nodes on this machine, for trying and testing the real job scripts.
#
#   scripts/local_slurm.sh up        starts it; the last line printed is what to evaluate:
#   eval "$(scripts/local_slurm.sh env)"   points sbatch, srun, squeue of this shell at it
#   scripts/local_slurm.sh status    nodes and jobs; exit code 3 when it is not running
#   scripts/local_slurm.sh down      cancels its jobs, stops its daemons, removes its folder
#
# Settings: NODES=2, CPUS per node (at least 32), MICRODIT_SLURM_ROOT (its folder). CPUs, memory and the 6 GPUs of a node are
# declared, not there: a job script asks for what it wants on a real node, and here its ranks share the real cores. Jobs run
# with device=cpu.
# Works as root and as an ordinary user; needs slurmctld, slurmd, munge (scripts/setup.sh installs them). Daemons listen on
# 127.0.0.1 only and have a munge key of their own.
set -u
NODES=${NODES:-2}
CPUS=${CPUS:-32}
[ "$CPUS" -ge 32 ] || CPUS=32
ROOT=${MICRODIT_SLURM_ROOT:-${TMPDIR:-/tmp}/microdit-slurm-$UID}
# Slurm wants a character device for each GPU; nothing opens them.
GPU_FILES=(/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty)
MUNGE=$ROOT/munge
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$ROOT/etc/slurm.conf

say() { echo "local_slurm: $*" >&2; }
fail() { say "$*"; exit 1; }

# ---- processes: a pid counts as ours only with the start time that was recorded with it -------------------------------
start_time() { local stat; stat=$(cat "/proc/$1/stat" 2>/dev/null) && set -- ${stat##*) } && echo "${20}"; }
record() { echo "$2 $(start_time "$2")" >"$ROOT/run/$1"; }
recorded_pid() { # the live process that was recorded under this name
  local pid time
  read -r pid time 2>/dev/null <"$ROOT/run/$1" && [ -n "$time" ] && [ "$(start_time "$pid")" = "$time" ] &&
    ! grep -qs '^State:.Z' "/proc/$pid/status" && echo "$pid"
}
daemon() { # NAME COMMAND...: in the background, in a session of its own
  local name=$1; shift
  setsid "$@" >>"$ROOT/log/$name.out" 2>&1 </dev/null &
  record "$name" $!
}
descendants() { local child; echo "$1"; for child in $(pgrep -P "$1"); do descendants "$child"; done; }
stop() {
  local pid try
  pid=$(recorded_pid "$1") || return 0
  kill "$pid" 2>/dev/null
  for try in $(seq 250); do recorded_pid "$1" >/dev/null || return 0; sleep 0.02; done
  kill -9 "$pid" 2>/dev/null
}
# A job step outlives its slurmd; it is known by the log file of our node that it keeps open.
stop_steps() {
  local pid
  for pid in $(find /proc/[0-9]*/fd -lname "$ROOT/log/slurmd-n*.log" 2>/dev/null | cut -d/ -f3 | sort -u); do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = slurmstepd ] && kill -9 $(descendants "$pid") 2>/dev/null
  done
}

# ---- configuration ----------------------------------------------------------------------------------------------------
is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
choose_port() { # a run of free ports below the range that the kernel gives to clients
  local try base i
  for try in $(seq 50); do
    base=$((20000 + RANDOM % 12000))
    for ((i = 0; i <= NODES; i++)); do is_free $((base + i)) || continue 2; done
    echo "$base"; return
  done
  fail "found no $((NODES + 1)) free ports in a row"
}
write_conf() {
  local port=$1 host user i shm=/dev/shm
  host=$(hostname -s); user=$(id -un)
  [ -w $shm ] || shm=$ROOT/tmp
  mkdir -p "$ROOT"/{etc,state,log,run,munge,spool,tmp} || fail "cannot write $ROOT"
  chmod 711 "$MUNGE"
  : >"$ROOT/etc/made_by_local_slurm"
  echo "$shm/$(basename "$ROOT").$port" >"$ROOT/etc/shared_memory"
  for ((i = 1; i <= NODES; i++)); do
    mkdir -p "$ROOT"/{spool,tmp}/n$i "$(cat "$ROOT/etc/shared_memory")/n$i"
    chmod 1777 "$ROOT/tmp/n$i" "$(cat "$ROOT/etc/shared_memory")/n$i"
  done
  # cred_expire: a requeued job waits that long (default 120 s). No RequeueExit: the job scripts requeue themselves.
  cat >"$SLURM_CONF" <<C
ClusterName=microdit
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthInfo=socket=$MUNGE/munge.socket,cred_expire=5
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/spool/%n
TmpFS=$ROOT/tmp/%n
SlurmctldPidFile=$ROOT/run/slurmctld.own
SlurmdPidFile=$ROOT/run/slurmd-%n.own
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskProlog=$ROOT/etc/task_prolog.sh
JobCompType=jobcomp/filetxt
JobCompLoc=$ROOT/log/jobcomp.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
GresTypes=gpu
MpiDefault=pmix
ReturnToService=1
SlurmdTimeout=30
KillWait=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
C
  for ((i = 1; i <= NODES; i++)); do
    echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$CPUS RealMemory=1000000 Gres=gpu:${#GPU_FILES[@]} State=UNKNOWN" >>"$SLURM_CONF"
  done
  printf 'Name=gpu File=%s\n' "${GPU_FILES[@]}" >"$ROOT/etc/gres.conf"
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$SLURM_CONF"
  # The virtual nodes share one host name, which Open MPI takes for its shared memory's, and more ranks than cores.
  cat >"$ROOT/etc/task_prolog.sh" <<C
#!/bin/sh
echo "export OMPI_MCA_btl_vader_backing_directory=$(cat "$ROOT/etc/shared_memory")/\$SLURMD_NODENAME"
echo "export OMPI_MCA_btl_tcp_if_include=lo"
echo "export OMPI_MCA_mpi_yield_when_idle=1"
C
  chmod 755 "$ROOT/etc/task_prolog.sh"
  # No cgroups are used; without this line slurmd looks for a mounted hierarchy, which a container or chroot may lack.
  echo "CgroupPlugin=cgroup/v1" >"$ROOT/etc/cgroup.conf"
}

# ---- commands ---------------------------------------------------------------------------------------------------------
print_env() { echo "export SLURM_CONF=$SLURM_CONF"; }
is_up() { recorded_pid slurmctld >/dev/null && timeout 5 scontrol ping 2>/dev/null | grep -q UP; }
idle_nodes() { sinfo -h -N -o %N -t idle 2>/dev/null | sort -u | wc -l; }

# Without any address but 127.0.0.1 the resolver refuses even "localhost".
allow_loopback_only() {
  [ "$(id -u)" = 0 ] && command -v ip >/dev/null || return 0
  [ -z "$(ip -o -4 addr show scope global 2>/dev/null)" ] && ! ip -o -4 addr show dev lo | grep -q 127.0.0.2 || return 0
  ip addr add 127.0.0.2/8 dev lo 2>/dev/null
}

up() {
  local program try i
  for program in slurmctld slurmd munged mungekey sbatch; do
    command -v $program >/dev/null || fail "$program is not installed: scripts/setup.sh installs what is missing (Debian: slurmctld slurmd slurm-client munge)"
  done
  if is_up; then say "already running in $ROOT"; print_env; return; fi
  [ ! -e "$ROOT" ] || down
  allow_loopback_only
  write_conf "$(choose_port)"
  mungekey --create --keyfile="$MUNGE/munge.key" || fail "mungekey failed"
  munged --key-file="$MUNGE/munge.key" --socket="$MUNGE/munge.socket" --pid-file="$MUNGE/munged.pid" \
    --log-file="$MUNGE/munged.log" --seed-file="$MUNGE/seed" || fail "munged failed, see $MUNGE/munged.log"
  for try in $(seq 100); do [ -s "$MUNGE/munged.pid" ] && break; sleep 0.02; done
  record munged "$(cat "$MUNGE/munged.pid")"
  daemon slurmctld slurmctld -D
  for try in $(seq 200); do is_up && break; sleep 0.05; done
  for ((i = 1; i <= NODES; i++)); do daemon slurmd-n$i slurmd -D -N n$i; done
  for try in $(seq 200); do [ "$(idle_nodes)" = "$NODES" ] && break; sleep 0.05; done
  if [ "$(idle_nodes)" != "$NODES" ]; then
    sinfo -R >&2; tail -n 5 "$ROOT"/log/* >&2
    KEEP=1 down
    fail "the nodes did not become idle; the logs are in $ROOT/log"
  fi
  say "$NODES nodes of $CPUS CPUs and ${#GPU_FILES[@]} GPUs (declared, not there) in $ROOT; for this shell: eval \"\$($0 env)\"; to end it: $0 down"
  print_env
}

down() {
  local try name shm
  if [ ! -e "$ROOT/etc/made_by_local_slurm" ]; then
    [ ! -e "$ROOT" ] || fail "$ROOT is not a folder of this script; left alone"
    say "not running"; return
  fi
  if is_up; then
    squeue -h -o %A 2>/dev/null | sort -u | xargs -r scancel 2>/dev/null
    for try in $(seq 150); do [ -z "$(squeue -h -t running,completing -o %A 2>/dev/null)" ] && break; sleep 0.1; done
  fi
  stop slurmctld
  for name in "$ROOT"/run/slurmd-n*; do [[ $name == *.own ]] || stop "$(basename "$name")"; done
  stop_steps
  stop munged
  shm=$(cat "$ROOT/etc/shared_memory" 2>/dev/null) && [ -n "$shm" ] && rm -rf "$shm"
  [ "${KEEP:-0}" = 1 ] || rm -rf "$ROOT"
  say "down"
}

status() {
  if ! is_up; then say "not running ($ROOT)"; exit 3; fi
  say "running in $ROOT"
  sinfo -N -o '%N %t %c' | sort -u
  squeue -o '%.10i %.16j %.10T %.10M %.20R'
}

case ${1:-} in
  up) up ;;
  down) down ;;
  status) status ;;
  env) is_up || fail "not running; start it with: $0 up"; print_env ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
