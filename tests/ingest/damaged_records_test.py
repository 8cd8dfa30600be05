#!/usr/bin/env python3
"""A record whose details are not what the stage writes: exit 2 with its name and the way out, which works."""
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import SOURCE, USER_MISTAKE, write_recipe  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402


class DamagedRecords(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="microdit_records_")
        self.addCleanup(place.cleanup)
        self.root = pathlib.Path(place.name)
        for i, name in enumerate("abc"):
            (self.root / f"{name}.tar").write_bytes(tar_bytes(10 * i, 2, side=16))
        make_bert(self.root / "bert", 16, 8)
        recipe = write_recipe(self.root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                              text={"encoder": self.root / "bert", "length": 8})
        self.data = Data(self.root / "d", [f"file://{self.root}/{letter}.tar" for letter in "abc"], recipe=recipe)

    def damage(self, stage, file, *changes):
        self.data.run(stage)
        for pattern, instead in changes:
            with self.subTest(stage=stage, instead=instead):
                good = file.read_text()
                changed, times = re.subn(pattern, instead, good)
                self.assertEqual(times, 1, good)
                file.write_text(changed)
                log = self.data.run(stage, expect=USER_MISTAKE)
                self.assertIn(f"{file}: its details", log)
                way = re.search(rf"(rm -f \S+) - then run {stage} again", log)
                self.assertTrue(way, log)
                subprocess.run(shlex.split(way[1]), check=True)
                self.data.run(stage)
                self.assertEqual(file.read_text(), good)

    def test_each_stage(self):
        self.data.run("download")
        self.damage("clean", self.data.folder("samples") / "records/b.json", ('"records":2', '"records":2.5'), ('"kept":2', '"kept":"2"'),
                    ('"kept":2', '"kept":-2'), (r'"passed_over":{[^}]*}', '"passed_over":3'), ('"skipped":{}', '"skipped":{"damaged.x":3}'),
                    ('"lost_captions":{}', '"lost_captions":[1]'))
        latents = self.data.folder("latents") / "r/records"
        self.damage("precompute", latents / "b-00000.text.json", ('"captions":2', '"captions":true'), ('"cut":0', '"cut":[]'))
        self.damage("precompute", latents / "b-00000.images.json", (r'"latents":{[^}]*}', '"latents":7'),
                    (r'"latents":{[^}]*}', '"latents":{"16":"2"}'), ('"failed_pictures":{}', '"failed_pictures":2'))


if __name__ == "__main__":
    unittest.main()
