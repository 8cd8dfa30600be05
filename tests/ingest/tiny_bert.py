"""The smallest text encoder. Standard library only."""
import json
import random
import struct
from array import array


def make_bert(folder, width, length):
    """A BERT of one layer with random weights."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\npicture\n")
    (folder / "config.json").write_text(json.dumps(
        {"model_type": "bert", "hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
         "max_position_embeddings": length, "vocab_size": 5, "type_vocab_size": 2}))
    shapes = {f"embeddings.{name}_embeddings.weight": [rows, width]
              for name, rows in (("word", 5), ("position", length), ("token_type", 2))}
    layer = "encoder.layer.0."
    linear = {**{layer + f"attention.self.{name}": (width, width) for name in ("query", "key", "value")},
              layer + "attention.output.dense": (width, width), layer + "intermediate.dense": (width, 8),
              layer + "output.dense": (8, width), "pooler.dense": (width, width)}
    for name, (inner, outer) in linear.items():
        shapes |= {name + ".weight": [outer, inner], name + ".bias": [outer]}
    for name in ("embeddings.LayerNorm", layer + "attention.output.LayerNorm", layer + "output.LayerNorm"):
        shapes |= {name + ".weight": [width], name + ".bias": [width]}
    draw, header, values = random.Random(3), {}, array("f")
    for name, shape in shapes.items():
        begin, count = 4 * len(values), shape[0] * (shape[1] if len(shape) > 1 else 1)
        values.extend(draw.uniform(-0.3, 0.3) for _ in range(count))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + 4 * count]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())
