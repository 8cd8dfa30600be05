"""Small tokenizers and what the originals make of some texts, to tests/encoders/goldens/.

.venv-oracles/bin/python scripts/make_token_goldens.py
CLIP: 700 merges trained here, as bpe_simple_vocab_16e6.txt.gz, vocab.json + merges.txt and tokenizer.json. T5: 1,500 pieces in
spiece.model. lines.jsonl: per line the text and the ids of every tokenizer."""
import gzip
import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/encoders"))
import token_oracles as oracles
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FOLDER = ROOT / "tests/encoders/goldens"
TEXTS = ["", " ", "a photograph of an astronaut riding a horse", "it's 3 o'clock, don't panic!!! &amp; 42nd", "café naïve", "日本 の猫",
         "x </s> y<pad>z <unk> <extra_id_0><extra_id_99> <extra_id_100>", "a <|endoftext|> b <|ENDOFTEXT|>!! c<|startoftext|>d !",
         "a <start_of_text> b<END_of_text>! <ſtart_of_text> 'ſ 'S", "＜/s＞ ﬁ\u0301 \x85 \u110b\u1163 a\u0345b ▁▁a▁b", "İSTANBUL ΣΑΣ ẞ \u1c89 \ua7cb",
         "â€œquotedâ€\x9d Ã©tÃ© &amp;eacute; &lt;b&gt;", "tab\tnew\nline\r\nend \u2028 \u3000 \ufeff \x1c", "trol" * 40, "\u0e33" * 30]


def train_merges(lines):
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=256 + 256 + 700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator([word.lower() for line in lines for word in line.split()], trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [" ".join(merge) if isinstance(merge, list) else merge for merge in merges][:700]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    module, maker = oracles.open_clip_module(), oracles.token_corpus.Maker(3)
    merges = train_merges([maker.caption() for _ in range(3000)] + maker.names[:20000])
    gz = FOLDER / "open_clip/bpe_simple_vocab_16e6.txt.gz"
    gz.parent.mkdir(parents=True)
    gz.write_bytes(gzip.compress(("a heading\n" + "\n".join(merges)).encode(), mtime=0))
    oracles.write_clip_folder(FOLDER / "clip", merges, module)
    oracles.write_clip_folder(FOLDER / "clip_other_pad", merges, module, pad="!")
    oracles.save_as_json(oracles.CLIP, FOLDER / "clip_other_pad", FOLDER / "clip_json")
    oracles.train_t5(FOLDER / "t5", 1500, 3000, coverage=0.98)
    texts = TEXTS + [text for _, text in maker.lines(2000) if len(text) < 120][:220]
    ids = {"open_clip": oracles.open_clip_ids(module.SimpleTokenizer(str(gz)), texts)}
    for name in ("clip", "clip_other_pad", "clip_json"):
        ids[name] = oracles.transformers_ids(oracles.CLIP, FOLDER / name, texts)
    ids["t5"] = oracles.transformers_ids(oracles.T5, FOLDER / "t5", texts)
    assert ids["clip_json"] == ids["clip_other_pad"]
    with open(FOLDER / "lines.jsonl", "w") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"text": text, **{name: of[i] for name, of in ids.items()}}, separators=(",", ":")) + "\n")
    for path in sorted(FOLDER.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if path.is_file():
            print(path.relative_to(FOLDER), path.stat().st_size)


main()
