"""probe tokenize beside open_clip and transformers on generated texts of all scripts, whole and cut: tokenizers_oracle_test.py [LINES].

The real CLIP vocabulary comes with open_clip's package; T5's is trained here: 32,000 pieces with its normaliser and specials."""
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
try:
    import ftfy  # open_clip needs it
    import token_oracles as oracles
    PACKAGE = oracles.open_clip_package()
except (ImportError, AttributeError) as missing:
    print(f"skipped: {missing}; scripts/setup.sh --oracles")
    sys.exit(77)

PROBE = pathlib.Path(os.environ.get("MICRODIT_BIN", "build/bin")) / "probe"


def probe_ids(folder, lines, length):
    out = lines.with_suffix(".ids")
    subprocess.run([PROBE, "tokenize", "--encoder", folder, "--input", lines, "--output", out, f"max_length={length}"], check=True,
                   stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in out.read_text().splitlines()]


def cut(ids, length):
    return ids if len(ids) <= length else ids[:length - 1] + ids[-1:]


def compare(name, folder, pairs, lines, expected, length):
    whole, short = probe_ids(folder, lines, 0), probe_ids(folder, lines, length)
    wrong = collections.Counter(kind for (kind, _), a, b in zip(pairs, whole, expected) if a != b)
    wrong_cut = sum(a != cut(b, length) for a, b in zip(short, expected))
    print(f"{name:22} {len(expected)} texts, {sum(map(len, expected))} ids: {sum(wrong.values())} texts differ {dict(wrong)}, cut to {length}: {wrong_cut}", flush=True)
    assert len(whole) == len(short) == len(expected)
    return sum(wrong.values()) + wrong_cut


def check_truncation(kind, folder, texts, length):
    """transformers cuts as `cut` does."""
    tokenizer = kind.from_pretrained(folder)
    whole, short = tokenizer(texts)["input_ids"], tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    assert [cut(ids, length) for ids in whole] == short


def main():
    pairs = oracles.token_corpus.Maker().lines(int(sys.argv[1]) if len(sys.argv) > 1 else 20000)
    texts = [text for _, text in pairs]
    module, wrong = oracles.open_clip_module(), 0
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        lines = place / "lines.jsonl"
        lines.write_text("".join(json.dumps(text) + "\n" for text in texts))
        (place / "open_clip").mkdir()
        gz = shutil.copy(PACKAGE / "bpe_simple_vocab_16e6.txt.gz", place / "open_clip")
        expected = oracles.open_clip_ids(module.SimpleTokenizer(gz), texts)
        wrong += compare("open_clip, .txt.gz", place / "open_clip", pairs, lines, expected, 77)
        merges = oracles.read_merges(gz)
        for folder, pad in (("clip", oracles.END), ("clip_other_pad", "!")):
            oracles.write_clip_folder(place / folder, merges, module, pad)
            expected = oracles.transformers_ids(oracles.CLIP, place / folder, texts)
            wrong += compare(f"{folder}, merges.txt", place / folder, pairs, lines, expected, 77)
            oracles.save_as_json(oracles.CLIP, place / folder, place / (folder + "_json"))
            wrong += compare(f"{folder}, json", place / (folder + "_json"), pairs, lines, expected, 77)
        check_truncation(oracles.CLIP, place / "clip", texts[:1000], 77)
        oracles.train_t5(place / "t5", 32000, 150000)
        expected = oracles.transformers_ids(oracles.T5, place / "t5", texts)
        wrong += compare("T5, spiece.model", place / "t5", pairs, lines, expected, 120)
        oracles.save_as_json(oracles.T5, place / "t5", place / "t5_json")
        assert expected == oracles.transformers_ids(oracles.T5, place / "t5_json", texts)
        wrong += compare("T5, tokenizer.json", place / "t5_json", pairs, lines, expected, 120)
        check_truncation(oracles.T5, place / "t5", texts[:1000], 120)
    assert wrong == 0


if __name__ == "__main__":
    main()
