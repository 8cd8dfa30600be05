#!/usr/bin/env python3
"""A folder made by a microdit with other rules (`algorithms` of its facts) is refused and left as it is; so are samples whose pictures were judged otherwise."""
import json
import pathlib
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
from programs import SOURCE, USER_MISTAKE, check, write_recipe  # noqa: E402
from small_archives import Data, files_of, tar_bytes  # noqa: E402
from tiny_bert import make_bert  # noqa: E402

RULES = {"clean": ["records", "captions", "row_order", "decode"],
         "precompute": ["images.decode", "images.resize", "images.posterior", "images.rows", "text.text", "text.rows"]}


def main():
    with tempfile.TemporaryDirectory(prefix="microdit_other_rules_") as place:
        root = pathlib.Path(place)
        (root / "a.tar").write_bytes(tar_bytes(0, 3, side=16))
        make_bert(root / "bert", 16, 8)
        recipe = write_recipe(root / "r.yaml", name="r", images={"codec": f"{SOURCE}/assets/emoji_codec", "sizes": [16]},
                              text={"encoder": root / "bert", "length": 8})
        data = Data(root, [f"file://{root}/a.tar"], recipe=recipe)
        for stage in ("download", "clean", "precompute"):
            data.run(stage)
        for stage, folder in (("clean", data.folder("samples")), ("precompute", data.folder("latents") / "r")):
            facts = folder / "facts.json"
            now = facts.read_text()
            for rule in RULES[stage]:
                older = json.loads(now)
                *path, name = rule.split(".")
                at = older["algorithms"]
                for key in path:
                    at = at[key]
                at[name] -= 1
                facts.write_text(json.dumps(older))
                before = files_of(folder)
                log = data.run(stage, expect=USER_MISTAKE)
                said = f"`algorithms.{rule}` is {at[name]} there and {at[name] + 1} now; choose another folder, or remove this one"
                check(f"{folder} was made with other settings or another microdit's rules: {said}" in log, log)
                check(log.count("error:") == 1, log)
                check(files_of(folder) == before, f"{stage} changed a folder of other rules")
            facts.write_text(now)
            data.run(stage)  # the control
        for key in ("exif=apply", "frames=skip", "alpha=drop"):  # pictures are judged once, by clean
            before = files_of(data.folder("latents"))
            log = data.run("precompute", f"pictures.{key}", expect=USER_MISTAKE)
            check("its pictures were judged with" in log and "run clean again" in log, log)
            check(files_of(data.folder("latents")) == before, "precompute changed a folder of other pictures")
    print("ok")


if __name__ == "__main__":
    main()
