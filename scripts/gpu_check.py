"""gpu_check.py check|reference: the work of gpu_check.sh and of a bundle's run.sh. Every path of the programs that runs on a GPU, each
row with a bar that was fixed before; prints a table and ends with 1 when any row misses its bar, is missing or could not be had.
Without a GPU it does the CPU half, and says so."""
import argparse
import concurrent.futures
import datetime
import os
import pathlib
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "bundle")]

import machine
import networks
import original
import speed
import training
import verdict
from runner import Programs

SET_UP = verdict.Bar("set-up: a training step, convert, inputs", least=0, unit="s")
A_GPU = verdict.Bar("GPUs here", least=1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", nargs="?", default="check", choices=["check", "reference"])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the programs")
    parser.add_argument("--loader-bench", type=pathlib.Path, help="makes the random latents of phase 1; default: the one in --bin")
    parser.add_argument("--configs", type=pathlib.Path, required=True)
    parser.add_argument("--latents", type=pathlib.Path, required=True, help="a small folder of 64 px latents")
    parser.add_argument("--codec", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the table goes (Markdown and JSON)")
    parser.add_argument("--proof", type=pathlib.Path, help="file that says this build passed on this card")
    parser.add_argument("--limit-s", type=float, default=240)
    parser.add_argument("--need-gpu", action="store_true", help="fail on a machine without a GPU instead of doing the CPU half")
    parser.add_argument("--rows", type=re.compile, default=re.compile(""),
                        help="regular expression: only rows whose name has it; such a pass is no proof")
    return parser.parse_args()


class Check:
    """One run of either mode on this machine."""

    def __init__(self, args, folder):
        self.args, self.gpus = args, machine.num_gpus()
        self.device = "cuda" if self.gpus else "cpu"
        self.report, self.notes = verdict.Report(), []
        self.facts = machine.facts(self.gpus)
        cores = len(os.sched_getaffinity(0))
        self.workers = 4 if cores >= 8 else 1
        self.programs = Programs(args.bin, args.limit_s, args.loader_bench)
        self.folder = folder
        self.training = training.Training(self.programs, folder, args.configs.resolve(), args.latents.resolve(), 2 if cores >= 8 else 1)
        self.parts = None

    def everything(self):
        """Weights and inputs first: when they cannot be made, that is every row's reason."""
        begun = time.monotonic()
        shapes = self.training.first_weights()
        inputs = networks.Inputs(self.folder, self.args.configs, shapes)
        self.training.weights = inputs.weights
        self.parts = networks.Parts(self.programs, inputs, self.args.codec.resolve())
        self.report.add(SET_UP.name, time.monotonic() - begun)
        getattr(self, self.args.mode)()

    def wanted(self, names):
        return [name for name in names if self.args.rows.search(name)]

    def run_all(self, closures):
        """(names, work) pairs, some at a time where there are cores for it."""
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
            for done in [pool.submit(self.report.attempt, names, work) for names, work in closures if self.wanted(names)]:
                done.result()

    def expected(self):
        """Every row that this machine must give, before anything runs; and what is left out, in words."""
        on_gpu, more_gpus = self.gpus > 0, self.gpus > 1
        bars = [SET_UP] + ([A_GPU] if self.args.need_gpu else [])
        if self.args.mode == "reference":
            return bars + (original.EQUAL + original.SPEED if on_gpu else original.EQUAL_CPU + original.SPEED_CPU)
        bars += networks.PRECISION + training.PRECISION + training.KERNELS + training.HOST_RANKS
        for_gpu = networks.PARTS_ON_CUDA + training.ON_CUDA + training.STAGED + speed.PHASE_1
        if not on_gpu:
            self.notes.append("not run, for want of a GPU: " + "; ".join(bar.name for bar in for_gpu + training.NCCL))
            return bars + training.KILLED_CPU
        if not more_gpus:
            self.notes.append("not run, for want of a second GPU: " + "; ".join(bar.name for bar in training.NCCL))
        return bars + training.KILLED_CUDA + for_gpu + (training.NCCL if more_gpus else [])

    def check(self):
        on_gpu = self.gpus > 0
        closures = self.parts.precision_rows(self.report, self.device) + self.training.precision_rows(self.report, self.device)
        closures += self.training.kernel_rows(self.report, self.device) + self.training.host_rank_rows(self.report)
        closures += self.training.killed_rows(self.report, self.device)
        if on_gpu:
            closures += self.parts.cuda_rows(self.report) + self.training.cuda_rows(self.report, self.gpus)
        self.run_all(closures)
        names = [bar.name for bar in speed.PHASE_1]
        if on_gpu and self.wanted(names):
            self.report.attempt(names, speed.phase_1, self.report, self.notes, self.programs,
                                self.args.configs.resolve(), self.folder, self.facts["card"])

    def reference(self):
        on_gpu = self.gpus > 0
        equal, timed = (original.EQUAL, original.SPEED) if on_gpu else (original.EQUAL_CPU, original.SPEED_CPU)
        self.report.attempt([bar.name for bar in equal], original.equal_rows, self.report, equal, self.parts, self.device)
        configs, names = self.args.configs.resolve(), [bar.name for bar in timed]
        if on_gpu:
            self.report.attempt(names, original.speed_rows, self.report, self.notes, self.programs, configs, self.folder,
                                self.facts["card"])
        else:
            self.report.attempt(names, original.speed_rows_cpu, self.report, self.notes, self.programs, configs, self.training)

    def revision(self):
        try:
            return re.search(r"revision (\S+?)[,)]", self.programs.run("probe", "--version", folder=self.folder)).group(1)
        except (verdict.Failure, AttributeError) as error:
            return f"unknown ({error})"

    def run(self):
        begun = time.monotonic()
        self.facts = {"half": "GPU" if self.gpus else "CPU half only: no GPU here", "gpus": self.gpus, **self.facts,
                      "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "revision": self.revision()}
        bars = [bar for bar in self.expected() if bar in (SET_UP, A_GPU) or self.args.rows.search(bar.name)]
        if not [bar for bar in bars if bar not in (SET_UP, A_GPU)]:
            names = "; ".join(bar.name for bar in self.expected())
            print(f"gpu_check: --rows '{self.args.rows.pattern}' fits none of: {names}", file=sys.stderr)
            sys.exit(2)
        if self.args.need_gpu:
            self.report.add(A_GPU.name, self.gpus)
        self.report.attempt([bar.name for bar in bars], self.everything)
        self.facts["seconds"] = round(time.monotonic() - begun)
        self.report.keep(lambda name: name in (SET_UP.name, A_GPU.name) or self.args.rows.search(name))
        return verdict.judge(bars, self.report)


def write(args, check, rows):
    """The table to files and to stdout; a red line per failure."""
    good = verdict.passed(rows)
    num_good = sum(row["verdict"] == "ok" for row in rows)
    result = f"{'PASS' if good else 'FAIL'}: {num_good} of {len(rows)} rows are good ({check.facts['half']})"
    table = verdict.markdown(f"gpu_check {args.mode}", {**check.facts, "verdict": result}, rows, check.notes)
    # `passed` is what programs go by: a whole check, on a card.
    passed = good and args.mode == "check" and check.gpus > 0 and not args.rows.pattern
    document = {**check.facts, "mode": args.mode, "verdict": "pass" if good else "fail", "passed": passed, "rows": rows,
                "notes": check.notes}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"gpu_{args.mode}.md").write_text(table)
    verdict.write_json(args.out / f"gpu_{args.mode}.json", document)
    print(table)
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for row in rows:
        if row["verdict"] != "ok":
            print(f"{red}FAIL{plain} {row['name']}: {row['reason']}")
    print(f"{'' if good else red}{result}{plain}", flush=True)
    prove(args, check, good, document)
    return good


def prove(args, check, good, document):
    """The file beside the build that turns GPU code on: there exactly when the newest whole check with a GPU passed."""
    if args.proof is None or args.mode != "check" or check.gpus == 0:
        return
    if document["passed"]:
        verdict.write_json(args.proof, document)
    elif not good:
        args.proof.unlink(missing_ok=True)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="gpu_check.") as folder:
        check = Check(args, pathlib.Path(folder))
        rows = check.run()
    sys.exit(0 if write(args, check, rows) else 1)


if __name__ == "__main__":
    main()
