"""The originals of the tokenizers, and folders for them: open_clip's SimpleTokenizer, transformers' CLIPTokenizer and T5Tokenizer."""
import gzip
import importlib.util
import json
import pathlib
import random
import sys
import types
import xml.etree.ElementTree

import sentencepiece
from transformers import CLIPTokenizer, T5Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import token_corpus

START, END = "<|startoftext|>", "<|endoftext|>"


def open_clip_package():
    return pathlib.Path(importlib.util.find_spec("open_clip").origin).parent


def open_clip_module():
    """open_clip/tokenizer.py alone: the package's own __init__ wants torchvision and timm."""
    if importlib.util.find_spec("torch") is None:
        sys.modules["torch"] = types.SimpleNamespace(LongTensor=object, Tensor=object)
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", open_clip_package() / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_clip_ids(tokenizer, texts):
    return [[tokenizer.sot_token_id] + tokenizer.encode(text) + [tokenizer.eot_token_id] for text in texts]


def read_merges(gz):
    return gzip.open(gz).read().decode("utf-8").split("\n")[1:49152 - 256 - 2 + 1]


def write_clip_folder(folder, merges, module, pad=END):
    """vocab.json, merges.txt and settings as openai/clip-vit-large-patch14 (pad <|endoftext|>) and SD 2 (pad "!") have them."""
    folder.mkdir(parents=True)
    characters = list(module.bytes_to_unicode().values())
    pieces = characters + [c + "</w>" for c in characters] + [merge.replace(" ", "") for merge in merges] + [START, END]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    token = lambda text: {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    names = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END), "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    names = {key: value if isinstance(value, str) else {"__type": "AddedToken", **value} for key, value in names.items()}
    settings = {"add_prefix_space": False, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **names, "pad_token": END}))


def train_t5(folder, num_pieces, num_lines, coverage=0.9995, seed=99):
    """A unigram model with T5's normaliser and specials, of names of emoji in all languages and made-up captions."""
    folder.mkdir(parents=True)
    maker, lines = token_corpus.Maker(seed), []
    for file in sorted(token_corpus.CLDR.glob("*.xml")):
        if "_" not in file.stem:
            lines += [a.text.replace(" | ", " ") for a in xml.etree.ElementTree.parse(file).iter("annotation") if a.text and a.text != "↑↑↑"]
    random.Random(1).shuffle(lines)
    lines = lines[:num_lines] + [maker.caption() for _ in range(num_lines // 8)]
    (folder / "lines.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines.txt"), model_prefix=str(folder / "spiece"), vocab_size=num_pieces, model_type="unigram",
        normalization_rule_name="nmt_nfkc", character_coverage=coverage, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1,
        minloglevel=2, seed_sentencepiece_size=200000, num_sub_iterations=1)
    for name in ("lines.txt", "spiece.vocab"):
        (folder / name).unlink()


def transformers_ids(kind, folder, texts):
    tokenizer = kind.from_pretrained(folder)
    ids = []
    for begin in range(0, len(texts), 1000):
        ids += tokenizer(texts[begin:begin + 1000])["input_ids"]
    return ids


def save_as_json(kind, folder, to):
    """tokenizer.json and its settings, as transformers converts the folder."""
    kind.from_pretrained(folder).save_pretrained(to)


CLIP, T5 = CLIPTokenizer, T5Tokenizer
