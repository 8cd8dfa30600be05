#!/usr/bin/env python3
"""Archives without a record (as a ShardWriter leaves them) among good ones: finished with no shard, and the line goes on to training."""
import json
import pathlib
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from hostile_archives import tar  # noqa: E402
from programs import SOURCE, check, metrics, run, train_words, write_recipe  # noqa: E402
from small_archives import Data, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

GOOD, SHARDS = 8, {"a": 1, "b": 0, "c": 0, "d": 1}


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_empty_archives_") as place:
        root = pathlib.Path(place)
        (root / "a.tar").write_bytes(tar_bytes(0, GOOD, side=64))
        (root / "b.tar").write_bytes(bytes(10240))  # what tar makes of no file
        (root / "c.tar").write_bytes(tar(("x.npy", b"1"), ("y.cls", b"2"), good=False))
        (root / "d.tar").write_bytes(tar_bytes(GOOD, GOOD, side=64))
        make_bert(root / "bert", 16, 8)
        recipe = write_recipe(root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [64]},
                              text={"encoder": root / "bert", "length": 8})
        data = Data(root, [f"file://{root}/{name}.tar" for name in SHARDS], recipe=recipe)
        for stage in ("download", "clean", "precompute"):
            data.run(stage)
        lines = (data.folder("samples") / "manifest.jsonl").read_text().splitlines()
        items = {item["item"]: item for item in map(json.loads, lines[1:-1])}
        check({name: len(item["shards"]) for name, item in items.items()} == SHARDS, items)
        check(json.loads(lines[0])["failed"] == {}, lines[0])
        check([items[name]["details"]["records"] for name in "abc"] == [GOOD, 0, 0], items)
        check(items["c"]["details"]["passed_over"]["count"] == 2, items["c"])
        for folder in (data.folder("samples"), data.folder("latents") / "r"):
            for word in ("data", "verify"):
                run("doctor", word, folder, env=data.env)
        run("train", *train_words(root / "runs", "t", "data=[{dataset: t, recipe: r}]", "steps=2", "captions=[caption]"), env=data.env)
        check([step["step"] for step in metrics(root / "runs/t")][-1] == 2, "not trained")
    print("ok")


if __name__ == "__main__":
    main()
