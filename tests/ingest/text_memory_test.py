#!/usr/bin/env python3
"""precompute holds no shard's text: its memory does not grow with the captions of a shard."""
import pathlib
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import DONE, run_measured, write_recipe  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

WIDTH, LENGTH = 256, 512
FEW, MANY = 40, 640  # captions in one shard: 10 and 168 MB of text
MIB = 1 << 20


class TextMemory(unittest.TestCase):
    def peak(self, captions):
        """Bytes of memory that `precompute part=text` takes for one shard, and of the text that it writes."""
        with tempfile.TemporaryDirectory(prefix="microdit_text_") as place:
            root = pathlib.Path(place)
            make_bert(root / "bert", WIDTH, LENGTH)
            write_recipe(root / "r.yaml", name="r", text={"encoder": root / "bert", "length": LENGTH})
            (root / "a.tar").write_bytes(tar_bytes(0, captions))
            data = Data(root / "t", [f"file://{root}/a.tar"], shard_records=100000, recipe=root / "r.yaml",
                        record={"image": ["png"], "caption": {"caption": "txt"}})
            data.run("download")
            data.run("clean")
            code, log, kib, _ = run_measured(data.command("precompute", "part=text"), data=data.root / "data")
            self.assertEqual(code, DONE, log)
            files = list((data.folder("latents") / "r").glob("*.text.h5"))
            self.assertEqual(len(files), 1)
            return kib * 1024, files[0].stat().st_size

    def test_memory_does_not_grow_with_a_shard(self):
        (few, small), (many, large) = self.peak(FEW), self.peak(MANY)
        print(f"{small / MIB:.0f} MiB of text: peak {few / MIB:.0f} MiB; {large / MIB:.0f} MiB: {many / MIB:.0f} MiB")
        self.assertGreater(large - small, 140 * MIB)
        self.assertLess(many - few, 40 * MIB)


if __name__ == "__main__":
    unittest.main(verbosity=2)
