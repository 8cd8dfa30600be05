"""Runs the originals on a small sample of the made-up captions and writes tests/text/goldens/.

MICRODIT_REFERENCE=<checkout of the original> python3.11 scripts/make_text_goldens.py
captions.jsonl: [caption, the original's clean_caption, ftfy.fix_text and white space]. markup.jsonl: [text, ftfy.fix_text,
BeautifulSoup's text, html.unescape]. null: the original raises, or gives half a surrogate pair.
Needs CPython 3.11.2 with ftfy 6.3.1 and beautifulsoup4 4.11.2 (scripts/oracles.txt)."""
import html
import json
import os
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import caption_corpus
import caption_parity
import ftfy
from bs4 import BeautifulSoup

warnings.filterwarnings("ignore")
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/text/goldens")
OF_MARKUP = ["mojibake_cp1252", "mojibake_cp1251", "mojibake_cp437", "mojibake_nested", "mojibake_lossy", "mojibake_cesu", "entities", "markup",
             "broken_markup", "surrogates", "controls", "combining", "code_points", "anything"]
LINES, MARKUP_LINES, SEED = 15, 30, "golden"


def answer(make, text):
    try:
        made = make(text)
        made.encode()
        return made
    except (AssertionError, ValueError):
        return None


def write(name, classes, count, makers):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
        for one in classes:
            for line in caption_corpus.lines_of(one, count, SEED):
                file.write(json.dumps([line] + [answer(make, line) for make in makers], ensure_ascii=False) + "\n")


def main():
    classes = [name for name in caption_corpus.classes(caption_corpus.Maker(0)) if name != "long_lines"]
    write("captions.jsonl", classes, LINES, [caption_parity.original(), caption_parity.gentle])
    write("markup.jsonl", OF_MARKUP, MARKUP_LINES,
          [ftfy.fix_text, lambda text: BeautifulSoup(text, features="html.parser").text, html.unescape])


if __name__ == "__main__":
    main()
