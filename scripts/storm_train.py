#!/usr/bin/env python3
"""Training under kill -9 and SIGUSR1: whatever happens, the same command goes on to a bit-identical end.

Usage: scripts/storm_train.py [--kills 10] [--stops 5] [--steps 150] [--seed S] [--ranks 2] [--keep] [--modes MODES]
An undisturbed run, then a disturbed one with the same settings: its ranks are killed during start-up, between steps and while
a checkpoint is being written, or asked to stop (exit 75), and the same command follows each time. The final checkpoints must
be equal in every byte and metrics.jsonl must hold each step once with the same numbers. A run with another seed must differ.
The storm's plan is a function of --seed, which is printed.
--modes all: the kills and stops are shared among none, grad_op and full, each in fp32 and bf16 (500 kills: about 100 minutes)."""
import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))
import programs  # noqa: E402
from programs import check  # noqa: E402

LIFE_LIMIT_S = 300


MODES = [f"{sharding}/{precision}" for precision in ("fp32", "bf16") for sharding in ("none", "grad_op", "full")]


def overrides(steps, mode):
    sharding, precision = mode.split("/")
    return [f"steps={steps}", "checkpoint.every_steps=7", "mask_ratio=0.5", "log_every_steps=20", f"sharding={sharding}",
            f"precision={precision}"]


class Life:
    """One start of the training program under mpirun."""

    def __init__(self, run_folder, words, ranks, log):
        self.run = run_folder
        self.metrics_before = self.metrics_id()
        self.process = subprocess.Popen(programs.command("train", *words, ranks=ranks), env=programs.environment(),
                                        cwd=programs.SOURCE, stdout=log, stderr=subprocess.STDOUT)
        self.deadline = time.monotonic() + LIFE_LIMIT_S

    def metrics_id(self):
        try:
            return os.stat(self.run / "metrics.jsonl").st_ino
        except FileNotFoundError:
            return None

    def alive(self):
        check(time.monotonic() < self.deadline, f"a life of more than {LIFE_LIMIT_S} s")
        return self.process.poll() is None

    def ranks(self):
        """Process ids of the ranks: the children of this mpirun."""
        pid = self.process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [int(c) for c in children if pathlib.Path(f"/proc/{c}/comm").read_text().strip() == "train"]
        except FileNotFoundError:
            return []

    def step(self):
        """The last step of this life; None before it has begun its metrics."""
        if self.metrics_id() in (None, self.metrics_before):
            return None
        lines = (self.run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        return int(whole[-1].split(b'"step":')[1].split(b",")[0].rstrip(b"}\n")) if whole else 0

    def wait_for_ranks(self):
        while self.alive() and not self.ranks():
            time.sleep(0.002)

    def wait_for_step(self, target):
        while self.alive() and (self.step() is None or self.step() < target):
            time.sleep(0.002)

    def wait_for_writing(self):
        """Until a checkpoint's hidden folder of this life is there."""
        while self.alive() and self.step() is None:
            time.sleep(0.002)
        while self.alive() and not any(n.startswith(".step_") for n in os.listdir(self.run / "checkpoints")):
            time.sleep(0.0005)

    def send(self, which, number):
        """To rank `which` of those that live; False when there is none left."""
        alive = self.ranks()
        if not alive:
            return False
        try:
            os.kill(alive[which % len(alive)], number)
            return True
        except ProcessLookupError:
            return False


def make_plan(kills, stops, rng, ranks):
    """Events (kind, steps to let pass, delay, rank): kills at all kinds of moments among the stops. A delay is in seconds;
    of kind "start" in start-ups: 1 is when an undisturbed life has done its first step."""
    kinds = [["start", "writing", "step"][i % 3] for i in range(kills)] + ["stop"] * stops
    rng.shuffle(kinds)
    return [(kind, rng.randint(1, 10), rng.uniform(0, 1 if kind == "start" else 0.02), rng.randrange(ranks)) for kind in kinds]


def newest_checkpoint(run):
    steps = [int(p.name[5:]) for p in (run / "checkpoints").glob("step_*")]
    return max(steps, default=0)


def undisturbed(run, words, ranks, log):
    """The run to compare with; returns the seconds from the ranks' start to their first step."""
    life = Life(run, words, ranks, log)
    life.wait_for_ranks()
    began = time.monotonic()
    life.wait_for_step(1)
    startup = time.monotonic() - began
    code = life.process.wait(timeout=LIFE_LIMIT_S)
    check(code == 0, f"the undisturbed run: exit {code}")
    return startup


def disturb(life, event, run, startup):
    """Waits for the event's moment and does it; True when it hit a living rank."""
    kind, steps, delay, rank = event
    if kind == "start":
        life.wait_for_ranks()
        delay *= startup
    elif kind == "writing":
        life.wait_for_writing()
    else:
        life.wait_for_step(newest_checkpoint(run) + steps)
    time.sleep(delay)
    return life.alive() and life.send(rank, signal.SIGUSR1 if kind == "stop" else signal.SIGKILL)


def storm(run, words, plan, ranks, startup, log):
    for event in plan:
        life = Life(run, words, ranks, log)
        hit = disturb(life, event, run, startup)
        code = life.process.wait(timeout=LIFE_LIMIT_S)
        step = newest_checkpoint(run)
        print(f"  {event[0]:8} rank {event[3]}  +{event[1]} steps  delay {event[2]:.3f}  -> exit {code}, checkpoint {step}", flush=True)
        check(hit, f"the life was over before {event}: more steps are needed (--steps)")
        check(code == programs.REQUEUE if event[0] == "stop" else code not in (0, programs.REQUEUE), f"{event}: exit {code}")
    life = Life(run, words, ranks, log)
    check(life.process.wait(timeout=LIFE_LIMIT_S) == 0, f"the last life: exit {life.process.returncode}")


def compare(calm, stormy, steps):
    """Faults of the disturbed run, one line each."""
    faults = []
    a, b = (programs.files_below(programs.checkpoint(run, steps)) for run in (calm, stormy))
    for name in sorted(set(a) | set(b)):
        if a.get(name) != b.get(name):
            faults.append(f"final checkpoint: {name} differs")
    if not any(name.endswith(".safetensors") for name in a):
        faults.append("no checkpoint")
    lines = [programs.metrics(run) for run in (calm, stormy)]
    for name, of_run in zip(("calm", "stormy"), lines):
        if [m["step"] for m in of_run] != list(range(1, steps + 1)):
            faults.append(f"metrics.jsonl of the {name} run does not hold each step once")
    for m, n in zip(*lines):
        if any(m.get(key) != n.get(key) for key in ("step", "loss", "grad_norm", "lr", "loss_levels")):
            faults.append(f"metrics of step {m['step']}: {m} and {n}")
            break
    return faults


def weather(args, mode, kills, stops):
    """One storm of the size that is asked for; its number of faults."""
    steps = args.steps or 20 + 12 * (kills + stops)
    print(f"storm: seed {args.seed}, {mode}, {kills} kills, {stops} stops, {args.ranks} ranks, {steps} steps", flush=True)
    plan = make_plan(kills, stops, random.Random(f"{args.seed} {mode}"), args.ranks)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="microdit_storm_"))
    keep = args.keep
    try:
        name = "storm"
        runs = {kind: folder / kind / name for kind in ("calm", "stormy", "other")}
        words_of = {kind: programs.train_words(runs[kind].parent, name, *overrides(steps, mode)) for kind in runs}
        with open(folder / "log", "w") as log:
            try:
                startup = undisturbed(runs["calm"], words_of["calm"], args.ranks, log)
                storm(runs["stormy"], words_of["stormy"], plan, args.ranks, startup, log)
            except (AssertionError, subprocess.TimeoutExpired):
                keep = True
                print("\n".join((folder / "log").read_text(errors="replace").splitlines()[-60:]))
                raise
        faults = compare(runs["calm"], runs["stormy"], steps)
        hidden = [p.name for p in (runs["stormy"] / "checkpoints").iterdir() if not p.name.startswith("step_")]
        if hidden:
            faults.append(f"left behind: {hidden}")
        keep = keep or bool(faults)
        programs.run("train", *words_of["other"], "seed=19", ranks=args.ranks)  # the control: a comparison that must fail
        check(compare(runs["calm"], runs["other"], steps), "the comparison does not see another seed")
        print("\n".join(faults) or f"ok: {mode} is bit-identical after {kills} kills and {stops} stops (seed {args.seed})", flush=True)
        return len(faults)
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="0 = enough for all events")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the storm's plan")
    parser.add_argument("--keep", action="store_true", help="leave the runs and the log")
    parser.add_argument("--modes", default="grad_op/fp32", help=f"all, or some of {' '.join(MODES)}, with commas between")
    args = parser.parse_args(words)
    modes = MODES if args.modes == "all" else args.modes.split(",")
    if any(mode not in MODES for mode in modes):
        parser.error(f"--modes {args.modes}: all, or some of {' '.join(MODES)}")
    programs.need_data()
    programs.need_mpi()
    faults = 0
    for i, mode in enumerate(modes):
        share = [number * (i + 1) // len(modes) - number * i // len(modes) for number in (args.kills, args.stops)]
        if sum(share) > 0:
            faults += weather(args, mode, *share)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
