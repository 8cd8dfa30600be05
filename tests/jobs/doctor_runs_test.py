#!/usr/bin/env python3
"""doctor runs DIR on folders as train leaves them: order, states, settings that differ, the files it writes."""
import csv
import json
import os
import pathlib
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path[:0] = [str(SOURCE / "tests")]
import programs  # noqa: E402


def validation(step, loss):
    return {"step": step, "validation": {"raw": {"loss": loss, "levels": [loss, loss]}}}


def write_run(folder, settings, losses, validations=(), saved=None, steps=4, ended=None):
    """As train leaves it: settings, a loss per step, the newest checkpoint's manifest, how its last life ended."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"name": folder.name, "runs": "runs", "steps": steps, **settings}))
    lines = [{"step": i + 1, "loss": loss, "images_per_s": 10.04} for i, loss in enumerate(losses)]
    lines += [validation(step, loss) for step, loss in validations]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "lo')  # torn
    if saved is not None:
        place = folder / f"checkpoints/step_{saved:07d}"
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps({"step": saved, "state": {"steps": steps}}))
    if ended is not None:
        (folder / "life/7_1").mkdir(parents=True)
        (folder / "life/7_1/lives.jsonl").write_text(json.dumps(ended) + "\n")


class Runs(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name) / "sweep"

    def table(self):
        log = programs.run("doctor", "runs", self.folder)
        with open(self.folder / "table.csv", newline="") as file:
            return log, {row["run"]: row for row in csv.DictReader(file)}

    def test_best_first_and_every_state(self):
        write_run(self.folder / "a", {"optimizer": {"lr": 1e-3}, "model": {"kind": "x, y"}}, [4, 3, 2, 1], [(2, 0.9), (4, 0.8)], saved=4)
        write_run(self.folder / "b", {"optimizer": {"lr": 1e-4}, "model": {"kind": "z"}}, [4, 3, 2, 2], [(2, 0.5), (4, 0.7)], saved=4)
        write_run(self.folder / "c", {"optimizer": {"lr": 1e-2}, "model": {"kind": "z"}}, [4, 9], saved=1,
                  ended={"then": "ended", "exit_code": 3})
        write_run(self.folder / "<i>d", {"optimizer": {"lr": 1e-2}, "model": {"kind": "z"}}, [5], steps=8)
        write_run(self.folder / "e", {"optimizer": {"lr": 1e-2}, "model": {"kind": "z"}}, [4, 9], saved=1, ended={"then": "ended", "exit_code": 3})
        (self.folder / "e/life/8_1").mkdir()  # another job goes on with it
        (self.folder / "e/life/8_1/about.json").write_text("{}")
        (self.folder / "cells.txt").write_text("a\tx=1\nlater\tx=2\n../out\tx=3\n")
        log, rows = self.table()
        self.assertEqual(list(rows)[:2], ["b", "a"])  # by the best held-out loss
        self.assertEqual({name: row["state"] for name, row in rows.items()},
                         {"a": "done", "b": "done", "c": "failed at step 2 (exit code 3)", "<i>d": "step 1 of 8", "e": "step 2 of 4", "later": "not begun"})
        self.assertEqual([rows["b"][key] for key in ("optimizer.lr", "model.kind", "steps", "step", "loss", "held out", "best held out", "images/s")],
                         ["0.0001", "z", "4", "4", "2.75", "0.7", "0.5", "10.0"])
        self.assertEqual(rows["a"]["model.kind"], "x, y")
        self.assertNotIn("name", rows["a"])
        self.assertIn("not begun", log)
        page = (self.folder / "index.html").read_text()
        self.assertIn("&lt;i&gt;d", page)
        self.assertNotIn("<i>d", page)
        for picture in ("curves.png", "settings.png"):
            self.assertTrue((self.folder / picture).read_bytes().startswith(b"\x89PNG"))

    def test_more_steps_than_were_done_is_not_done(self):
        write_run(self.folder / "a", {}, [1, 1], saved=2, steps=2)
        settings = json.loads((self.folder / "a/settings.json").read_text())
        self.assertEqual(self.table()[1]["a"]["state"], "done")
        (self.folder / "a/settings.json").write_text(json.dumps({**settings, "steps": 5}))
        self.assertEqual(self.table()[1]["a"]["state"], "step 2 of 5")

    def test_what_is_no_folder_of_runs(self):
        self.assertIn("no such folder", programs.run("doctor", "runs", self.folder, expect=programs.USER_MISTAKE))
        self.folder.mkdir()
        self.assertIn("holds no runs", programs.run("doctor", "runs", self.folder, expect=programs.USER_MISTAKE))
        (self.folder / "a").mkdir()
        (self.folder / "a/settings.json").write_text("{")
        self.assertIn("a/settings.json", programs.run("doctor", "runs", self.folder, expect=programs.USER_MISTAKE))


if __name__ == "__main__":
    if not (programs.BIN / "doctor").exists():
        programs.skip("the programs are not built")
    unittest.main(verbosity=2)
