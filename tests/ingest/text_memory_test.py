#!/usr/bin/env python3
"""precompute holds no shard's text: its memory does not grow with the captions of a shard."""
import json
import pathlib
import random
import struct
import sys
import tempfile
import unittest
from array import array

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import DONE, run_measured, write_recipe  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402

WIDTH, LENGTH = 256, 512
FEW, MANY = 40, 640  # captions in one shard: 10 and 168 MB of text
MIB = 1 << 20


def make_bert(folder):
    """A BERT of one layer with random weights."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\npicture\n")
    (folder / "config.json").write_text(json.dumps(
        {"model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
         "max_position_embeddings": LENGTH, "vocab_size": 5, "type_vocab_size": 2}))
    shapes = {f"embeddings.{name}_embeddings.weight": [rows, WIDTH]
              for name, rows in (("word", 5), ("position", LENGTH), ("token_type", 2))}
    layer = "encoder.layer.0."
    linear = {**{layer + f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")},
              layer + "attention.output.dense": (WIDTH, WIDTH), layer + "intermediate.dense": (WIDTH, 8),
              layer + "output.dense": (8, WIDTH), "pooler.dense": (WIDTH, WIDTH)}
    for name, (inner, outer) in linear.items():
        shapes |= {name + ".weight": [outer, inner], name + ".bias": [outer]}
    for name in ("embeddings.LayerNorm", layer + "attention.output.LayerNorm", layer + "output.LayerNorm"):
        shapes |= {name + ".weight": [WIDTH], name + ".bias": [WIDTH]}
    draw, header, values = random.Random(3), {}, array("f")
    for name, shape in shapes.items():
        begin, count = 4 * len(values), shape[0] * (shape[1] if len(shape) > 1 else 1)
        values.extend(draw.uniform(-0.3, 0.3) for _ in range(count))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + 4 * count]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())


class TextMemory(unittest.TestCase):
    def peak(self, captions):
        """Bytes of memory that `precompute part=text` takes for one shard, and of the text that it writes."""
        with tempfile.TemporaryDirectory(prefix="microdit_text_") as place:
            root = pathlib.Path(place)
            make_bert(root / "bert")
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
