#!/usr/bin/env python3
"""Entries of kind: weights: fetched whole or not at all, in the publisher's layout; who misses them is told the command."""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

from hostile_server import Download, check
from programs import SOURCE, run
from repository_hub import COMMIT, RepositoryHub
from tiny_bert import make_bert

REPOSITORY = "models/org/net"
TREE = {"vae/config.json": b'{"a": 1}', "vae/net.safetensors": bytes(range(256)) * 400, "vae/net.bin": b"older" * 9, "config.json": b"{}",
        "README.md": b"words"}
PATTERN = "[vae/config.json, 'vae/net.safetensors|vae/net.bin', 'vae/tokens.json|']"


class Weights(Download):
    """An entry of weights in a data root of its own."""

    def __init__(self, source=None, more="", name="t"):
        super().__init__(source or f"hub: org/net\n  pattern: {PATTERN}", more, name=name)
        self.config.write_text(self.config.read_text().replace("archive: none\n", "kind: weights\n"))
        self.place = self.data / "weights" / name

    def content(self):
        return {p.name: p.read_bytes() for p in self.place.iterdir() if p.is_file() and p.name in ("config.json", "net.safetensors", "net.bin")}


def whole(hub):
    """The folder of the pattern, without it; the first alternative; what may be missing; a second run asks nobody."""
    case = Weights()
    log = case.run("--dry-run", MICRODIT_HUB=hub.url)
    check("102.4 kB to read, 102.4 kB to store" in log and "files are free at" in log and str(case.place) in log, log)
    check(not (case.data / "weights").exists(), "a dry run left something")
    log = case.run(MICRODIT_HUB=hub.url)
    check(case.content() == {name.removeprefix("vae/"): TREE[name] for name in ("vae/config.json", "vae/net.safetensors")}, case.content().keys())
    check(f"{case.place} is there, whole and checked" in log, log)
    check([p.name for p in case.place.parent.iterdir()] == ["t"], "something is left beside it")
    record = json.loads((case.place / "records/net.safetensors.json").read_text())
    check(record["details"]["inputs"] == {"file": "vae/net.safetensors", "hub": "org/net", "commit": COMMIT}, record)
    asked = len(hub.seen)
    for words in ((), ("--dry-run",)):
        log = case.run(*words, MICRODIT_HUB=hub.url)
        check("is there already: 2 files" in log and len(hub.seen) == asked, log)
    run("doctor", "verify", case.place, data=case.data)
    case.remove()


def one_of_two(hub):
    """The publisher has no safetensors: the fallback; a pattern without any is refused."""
    hub.repositories = {REPOSITORY: {name: body for name, body in TREE.items() if not name.endswith("safetensors")}}
    case = Weights()
    case.run(MICRODIT_HUB=hub.url)
    check(set(case.content()) == {"config.json", "net.bin"}, case.content().keys())
    case.remove()
    hub.repositories = {REPOSITORY: {"vae/config.json": b"{}"}}
    case = Weights()
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("'vae/net.safetensors|vae/net.bin': no such file in org/net@main" in log and not case.place.exists(), log)
    case.remove()


def never_a_part(hub):
    """A server that hangs up: nothing at the place; the next run asks for the rest alone. A file that is lost is fetched alone."""
    case, serve = Weights(more="max_attempts: 1"), RepositoryHub.serve

    def cut(handler, path):
        if path.endswith("net.safetensors"):
            return handler.ranged(TREE["vae/net.safetensors"], send=1000)
        return serve(hub, handler, path)
    hub.serve = cut
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("net.safetensors" in log and not case.place.exists(), log)
    del hub.serve
    begin = len(hub.resolved())
    case.run(MICRODIT_HUB=hub.url)
    check(hub.resolved()[begin:] == ["vae/net.safetensors"] and "range" in hub.seen[-1][1], hub.seen[-1])
    (case.place / "config.json").unlink()
    begin = len(hub.resolved())
    log = case.run(MICRODIT_HUB=hub.url)
    check(hub.resolved()[begin:] == ["vae/config.json"] and "config.json is missing" in log and len(case.content()) == 2, log)
    case.remove()


def refusals(hub):
    case = Weights()
    case.run(MICRODIT_HUB=hub.url)
    log = case.run("source.hub=org/other", MICRODIT_HUB=hub.url, expected=2)
    check("was fetched from" in log and "org/other" in log and "rm -r" in log, log)
    for key, words in (("archive=tar", "is of data sets"), ("subset=small", "is of data sets"), ("max_failed_items=1", "is of data sets"),
                       ("source.small=[a]", "taken whole"), ("kind=weight", "weights")):
        log = case.run(key, expected=2)
        check(words in log, log)
    for program in ("clean", "precompute"):
        for words in ((), ("--dry-run",), ("--print-config",) if program == "precompute" else ()):
            log = run(program, "--config", case.config, *words, expect=2, data=case.data)
            check(f"{program}: t is an entry of weights, not of data" in log and "download alone takes it" in log, log)
    log = case.run("task=1/4", MICRODIT_HUB=hub.url)
    check("this one has none" in log, log)
    case.remove()
    case = Weights("hub: org/net\n  pattern: [config.json, vae/config.json]")
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("are of two folders" in log and not case.place.exists(), log)
    case.remove()


def what_is_at_the_place(hub):
    """A network that is none of download's stays; anything else is refused with what to do, before a byte is fetched; an empty folder gives way."""
    case = Weights()
    case.place.mkdir(parents=True)
    case.run(MICRODIT_HUB=hub.url)
    check(len(case.content()) == 2, case.content())
    shutil.rmtree(case.place)
    case.place.mkdir()
    (case.place / "config.json").write_text("mine")
    asked = len(hub.seen)
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("holds no network" in log and f"mv {case.place} {case.place}.other" in log and case.content() == {"config.json": b"mine"}, log)
    (case.place / "net.bin").write_text("my own")
    log = case.run(MICRODIT_HUB=hub.url)
    check("download did not make it" in log and case.content() == {"config.json": b"mine", "net.bin": b"my own"}, log)
    shutil.rmtree(case.place)
    case.place.symlink_to(case.data / "nowhere")
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("is a link to" in log and len(hub.seen) == asked, log)
    case.place.unlink()
    case.run(MICRODIT_HUB=hub.url)
    log = case.run(f"source.sha256={{net.safetensors: {'0' * 64}}}", MICRODIT_HUB=hub.url, expected=2)
    check("net.safetensors has SHA-256" in log and "rm -r" in log, log)
    (case.place / "config.json").unlink()
    aside = case.place.parent / ".t.download"
    aside.mkdir()
    (aside / "something").write_text("")
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check(f"rm -r {aside}" in log, log)
    case.remove()
    case = Weights(f"folder: {SOURCE}/assets\n  pattern: [nothing]")
    log = case.run(expected=2)
    check("max_failed_items" not in log, log)
    case.remove()


def two_at_once(hub):
    """Who comes second to the same weights finds them there: both end well."""
    serve = RepositoryHub.serve

    def slow(handler, path):
        time.sleep(0.5)
        return serve(hub, handler, path)
    hub.serve = slow
    case = Weights()
    both = [case.start(MICRODIT_HUB=hub.url) for _ in range(2)]
    logs = [process.communicate(timeout=60)[0] for process in both]
    del hub.serve
    check([process.returncode for process in both] in ([0, 0], [0, 75], [75, 0]) and len(case.content()) == 2, logs)
    case.run(MICRODIT_HUB=hub.url)
    case.remove()


def tokens(hub):
    hub.gated, hub.token = (REPOSITORY,), "hf_secret1"
    case = Weights()
    log = case.run(MICRODIT_HUB=hub.url, expected=2)
    check("401" in log and "HF_TOKEN" in log and not case.place.exists(), log)
    log = case.run("source.gated=true", MICRODIT_HUB=hub.url, expected=2)
    check("weights t is gated" in log and "HF_TOKEN" in log, log)
    case.run(MICRODIT_HUB=hub.url, HF_TOKEN="hf_secret1")
    check(len(case.content()) == 2, case.content().keys())
    case.remove()


def cache(hub):
    """Offline, from the hub's own cache of models."""
    case = Weights()
    root = case.data / "hf/hub/models--org--net"
    for name in ("vae/config.json", "vae/net.safetensors"):
        path = root / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TREE[name])
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    asked = len(hub.seen)
    case.run(MICRODIT_HUB=hub.url, HF_HOME=str(case.data / "hf"), HF_HUB_OFFLINE="1")
    check(len(case.content()) == 2 and len(hub.seen) == asked, case.content().keys())
    case.remove()


def named_commands(_):
    """Every program that misses weights says how they are fetched, where the catalogue has them."""
    data = pathlib.Path(tempfile.mkdtemp(prefix="microdit_weights_"))
    bin = pathlib.Path(os.environ.get("MICRODIT_BIN", SOURCE / "build/bin"))
    bin = bin.relative_to(SOURCE) if bin.is_relative_to(SOURCE) else bin
    command = f"to fetch it: {bin}/download --config configs/weights/"
    weights = data / "weights"

    def says(entry, *words):
        log = run(*words, expect=2, data=data)
        check(command + entry + ".yaml" in log, f"{words}: {log}")
    cc12m = ("precompute", "--config", "configs/datasets/cc12m.yaml", "--dry-run")
    says("sdxl_vae", *cc12m)
    vae = weights / "sdxl-vae"
    vae.mkdir(parents=True)
    says("sdxl_vae", *cc12m)  # no config.json
    (vae / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "scaling_factor": 1, "block_out_channels": [32]}))
    says("sdxl_vae", *cc12m)  # no weights
    says("sdxl_vae", "probe", "encode", "--codec", vae, "--input", "none", "--output", data / "out")
    says("t5_v1_1_xxl", "probe", "tokenize", "--encoder", weights / "t5-v1_1-xxl", "--input", "configs/sample/prompts.txt", "--output", data / "out")
    bert = weights / "all-MiniLM-L6-v2"
    make_bert(bert, 8, 24)
    (bert / "vocab.txt").unlink()
    says("minilm", "probe", "encode_text", "--encoder", bert, "--input", "configs/sample/prompts.txt", "--output", data / "out", "length=8")
    (bert / "model.safetensors").rename(bert / "part.safetensors")
    (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "none.safetensors"}}))
    says("minilm", "probe", "encode_text", "--encoder", bert, "--input", "configs/sample/prompts.txt", "--output", data / "out", "length=8")
    says("flan_t5_large", "precompute", "--config", "configs/datasets/cc12m.yaml", "--dry-run", f"recipe={recipe(data)}")
    log = run("probe", "tokenize", "--encoder", weights / "unknown", "--input", "configs/sample/prompts.txt", "--output", data / "out", expect=2, data=data)
    check("to fetch it" not in log, log)
    shutil.rmtree(data)


def recipe(data):
    """SDXL's codec replaced by one that is there; FLAN-T5 missing."""
    path = data / "recipe.yaml"
    path.write_text(f"extends: {SOURCE}/configs/latents/sdxl_flan_t5.yaml\nimages: {{codec: assets/emoji_codec}}\n")
    return path


def main():
    wanted = sys.argv[1:]
    for case in (whole, one_of_two, never_a_part, refusals, what_is_at_the_place, two_at_once, tokens, cache, named_commands):
        if not wanted or case.__name__ in wanted:
            hub = RepositoryHub({REPOSITORY: dict(TREE)})
            case(hub)
            hub.shutdown()
    print("ok")


if __name__ == "__main__":
    main()
