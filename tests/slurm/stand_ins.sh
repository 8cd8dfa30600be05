# Sourced after start_cluster: build/bin with the real rules of lives and stand-ins for train and clean, which do in each life
# what the word of `plan` for that life says:
#   NUMBER      exit with it            -9         kill themselves
#   wait        publish nothing, wait for a signal, exit 75
#   hang        wait for no signal
#   load        like wait, but as a program that takes 4 s to load before it can take a signal
# A "+" behind the word: something was published. Settings as of train: name, lr, plan.
[ -x "$programs/life" ] || { echo "skipped: $programs/life is not built"; exit 77; }
cp "$programs/life" build/bin/life
cat >build/bin/train <<'E2'
#!/usr/bin/env python3
import os, pathlib, signal, sys, time
version = 1
SIGNALS = {signal.SIGUSR1, signal.SIGTERM}
words = sys.argv[1:]
if words == ["--version"]:
    print(f"train (stand-in, revision {version})")
    sys.exit(0)
settings = {"name": "", "runs": "runs", "lr": "1", "plan": "0"}
if "--config" in words and words[words.index("--config") + 1].endswith("config.yaml"):
    for line in open(words[words.index("--config") + 1]):
        key, value = line.rstrip().split(": ")
        settings[key] = value.strip('"')
settings.update(word.split("=", 1) for word in words if "=" in word and not word.startswith("--"))
run = pathlib.Path(settings["runs"]) / settings["name"]
rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("SLURM_PROCID", "0")))
if rank == 0:
    with open("calls", "a") as calls:
        print(settings["name"], os.environ.get("MARK", "-"), *words, file=calls)
if "--print-config" in words:
    print("\n".join(f'{key}: "{value}"' for key, value in settings.items()))
    sys.exit(0)
if settings["name"] == "bad":
    sys.exit("bad.yaml:1: unknown key" if "--check-settings" not in words else (print("bad.yaml:1: unknown key", file=sys.stderr), 2)[1])
before = run / "settings"
if rank == 0 and before.exists() and before.read_text() != settings["lr"]:
    print(f"{run}: the run was started with other settings: lr: {before.read_text()} -> {settings['lr']}", file=sys.stderr)
    sys.exit(2)
if "--check-settings" in words:
    sys.exit(0)

run.mkdir(parents=True, exist_ok=True)
log = run / "log"
token = f"{os.environ.get('SLURM_JOB_ID', 'alone')}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
lines = log.read_text().splitlines() if log.exists() else []
lives = next((i for i, line in enumerate(lines) if f" job {token} " in line), len(lines))  # rank 0 may have been faster
if rank == 0:
    before.write_text(settings["lr"])
    with open(log, "a") as out:
        print(f"life {lives} version {version} size {os.environ.get('SLURM_STEP_NUM_TASKS', '?')} lr {settings['lr']} "
              f"node {os.environ.get('SLURMD_NODENAME', '?')} job {token} args {' '.join(words)}", file=out)
plan = settings["plan"].split()
word = plan[lives] if lives < len(plan) else "0"
if word.endswith("+"):
    word = word[:-1]
    if rank == 0:
        pathlib.Path(os.environ["MICRODIT_PROGRESS"]).write_text("step\n")
if word == "hang":
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    (run / f"ready.{rank}").touch()
    time.sleep(300)
if word == "load":
    (run / f"loading.{rank}").touch()
    time.sleep(4)
if word in ("wait", "load"):
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    (run / f"ready.{rank}").touch()
    count = 0
    deadline = time.time() + 120
    while time.time() < deadline:
        if signal.sigtimedwait(SIGNALS, 0.1):
            count += 1
            deadline = min(deadline, time.time() + 2)  # a second one would come now
    (run / f"signals.{rank}").write_text(str(count))
    size = int(os.environ.get("OMPI_COMM_WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", "1")))
    while len(list(run.glob("signals.*"))) < size and time.time() < deadline + 10:
        time.sleep(0.1)  # the first that ends ends the others
    time.sleep(0.5)
    sys.exit(75 if count else 1)
if rank == 0:
    os.kill(os.getpid(), -int(word)) if word.startswith("-") else sys.exit(int(word))
E2
cat >build/bin/clean <<'E2'
#!/bin/bash
echo "task $SLURM_ARRAY_TASK_ID life $(ls "clean_${SLURM_ARRAY_TASK_ID}"_* 2>/dev/null | wc -l) ${MARK:--} $*" >>"log_$SLURM_ARRAY_TASK_ID"
touch "clean_${SLURM_ARRAY_TASK_ID}_$(grep -c . "log_$SLURM_ARRAY_TASK_ID")"
[ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ "$(grep -c . log_1)" = 1 ] && exit 75
exit 0
E2
chmod +x build/bin/train build/bin/clean
submit() { sbatch --parsable --nodes=1 --ntasks-per-node="${RANKS:-1}" --gpus-per-node=0 --cpus-per-task=1 --mem=100M "$@"; }
# train NAME PLAN [SBATCH OPTIONS...] [-- SETTINGS...]: submits a training job, prints its id
train() {
  local name=$1 plan=$2 options=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# = 0 ] || shift
  submit "${options[@]}" slurm/pretrain_256.sbatch --config any.yaml "name=$name" "plan=$plan" "$@"
}
job_log() { echo "slurm/logs/pretrain_256-$1.out"; }
