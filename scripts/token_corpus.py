"""Texts that stress tokenizers, by class and by a fixed seed: token_corpus.py LINES OUT.jsonl (one ["class", "text"] per line).

Words come from CLDR's names of emoji in every language (package unicode-cldr-core) where it is installed, and from
random syllables of every script. Used by make_token_goldens.py (a small sample, committed) and tokenizers_live.py."""
import json
import pathlib
import random
import sys
import xml.etree.ElementTree

CLDR = pathlib.Path("/usr/share/unicode/cldr/common/annotations")
SUBJECTS = "photo painting sketch portrait render close-up picture illustration poster logo".split()
WORDS = ("a an the of on in with and at by for from to is cat dog horse astronaut riding street city night sunset beach "
         "mountain river woman man child holding umbrella red blue green golden old new wooden table chair vintage car "
         "bicycle flowers garden kitchen window light dark cinematic highly detailed watercolor oil style trending "
         "artstation 4k 8k hdr bokeh it's don't they're we've i'm she'll he'd o'clock rock'n'roll SALE! Free shipping "
         "worldwide $19.99 50% off 1920x1080 2nd (2021) [Editorial] \"quoted\" #tag @user &amp; &lt;b&gt; – — … ™ © ½").split()
SCRIPTS = {"latin_extended": (0xC0, 0x24F), "ipa": (0x250, 0x2AF), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x52F),
           "armenian": (0x531, 0x58F), "hebrew": (0x590, 0x5F4), "arabic": (0x600, 0x6FF), "syriac": (0x700, 0x74F),
           "devanagari": (0x900, 0x97F), "bengali": (0x980, 0x9FF), "tamil": (0xB80, 0xBFF), "thai": (0xE00, 0xE5B),
           "tibetan": (0xF00, 0xFDA), "myanmar": (0x1000, 0x109F), "georgian": (0x10A0, 0x10FF), "hangul_jamo": (0x1100, 0x11FF),
           "ethiopic": (0x1200, 0x137F), "cherokee": (0x13A0, 0x13FD), "khmer": (0x1780, 0x17F9), "mongolian": (0x1800, 0x18AA),
           "latin_additional": (0x1E00, 0x1EFF), "greek_extended": (0x1F00, 0x1FFE), "punctuation": (0x2000, 0x206F),
           "letterlike": (0x2070, 0x218B), "arrows_mathematics": (0x2190, 0x23FF), "enclosed": (0x2460, 0x24FF),
           "symbols": (0x2500, 0x27BF), "kana": (0x3000, 0x30FF), "cjk_compatibility": (0x3200, 0x33FF), "ideographs": (0x4E00, 0x9FFF),
           "yi_and_more": (0xA000, 0xABFF), "hangul": (0xAC00, 0xD7A3), "compatibility_ideographs": (0xF900, 0xFAFF),
           "presentation": (0xFB00, 0xFDFF), "half_and_full_width": (0xFE00, 0xFFFD), "ancient": (0x10000, 0x10FFF),
           "brahmic_supplementary": (0x11000, 0x12FFF), "supplementary": (0x13000, 0x1BCFF), "mathematical": (0x1D100, 0x1D7FF),
           "emoji": (0x1F000, 0x1FAFF), "ideographs_b": (0x20000, 0x323AF), "private_and_tags": (0xE0000, 0xE01EF)}
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<start_of_text>", "<end_of_text>", "</s>", "<pad>", "<unk>", "<s>", "[SEP]", "[CLS]",
            "[PAD]", "[MASK]", "[UNK]", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "<|ENDOFTEXT|>", "</S>", "＜/s＞", "<|endoftext|", "▁",
            "</w>", "<extra_id_1", "<eNd_of_text>", "<ſtart_of_text>"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2003", "\u200b", "\u2028",
          "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "▁"]
CODE_PAGES = ["latin-1", "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "mac_roman", "cp437"]


class Maker:
    def __init__(self, seed=7):
        self.random = random.Random(seed)
        self.names = self.read_names()

    def read_names(self):
        names = []
        for file in sorted(CLDR.glob("*.xml")):
            texts = [a.text for a in xml.etree.ElementTree.parse(file).iter("annotation") if a.text and a.text != "↑↑↑"]
            names += self.random.sample(texts, min(len(texts), 400))
        return names or ["grinning face", "drapeau : Côte d’Ivoire", "笑脸", "улыбка"]

    def pick(self, sequence):
        return sequence[int(self.random.random() * len(sequence))]

    def char(self, low, high):
        while True:
            code = self.random.randint(low, high)
            if not 0xD800 <= code <= 0xDFFF:
                return chr(code)

    def words(self, count):
        return [self.pick(WORDS) for _ in range(count)]

    def caption(self):
        words = [self.pick(SUBJECTS)] + self.words(self.random.randint(2, 25))
        text = " ".join(words)
        return self.pick([text, text, text.capitalize(), text.title(), text.upper(), text + ".", text.replace(" ", ", ", 3)])

    def script(self, name):
        low, high = SCRIPTS[name]
        words = ["".join(self.char(low, high) for _ in range(self.random.randint(1, 9))) for _ in range(self.random.randint(1, 8))]
        return " ".join(words + self.words(self.random.randint(0, 3)))

    def mixed(self):
        return "".join(self.pick([self.char(0, 0x10FFFF), self.char(0, 0x2FFF), self.char(0x20, 0x7E), self.pick(SPACES), self.pick(WORDS)])
                       for _ in range(self.random.randint(1, 30)))

    def mojibake(self):
        text = self.pick(self.names) + " “" + self.caption()[:30] + "” é–ü"
        for _ in range(self.random.randint(1, 2)):
            try:
                text = text.encode().decode(self.pick(CODE_PAGES), "ignore")
            except UnicodeError:
                pass
        return text

    def numbers(self):
        return " ".join(self.pick(["%d" % self.random.randint(0, 10 ** self.random.randint(1, 18)), "%.3f" % self.random.random(), "１２３", "٣٤", "½",
                                   "Ⅷ", "1,234.5", "10x20", "²", "#%06x" % self.random.getrandbits(24)]) for _ in range(self.random.randint(1, 9)))

    def url(self):
        return self.caption()[:20] + " https://%s.com/%s?q=%s&amp;x=%d#%s" % (self.pick(SUBJECTS), self.pick(WORDS), self.pick(self.names), self.random.getrandbits(16), self.pick(WORDS))

    def marks(self):
        return "".join(self.pick("aeiouAEnkqſıİΣσςßﬁ한가कΑ") + "".join(self.char(0x300, 0x36F) if self.random.random() < .9 else self.pick("\u3099\u0f71\u093c\u200d\ufe0f\u05b0\u064b\u1dc0")
                                                               for _ in range(self.random.randint(0, 4))) for _ in range(self.random.randint(1, 14)))

    def emoji(self):
        base = ["😀", "👩", "👩‍🚀", "🏳️‍🌈", "👍🏽", "🇩🇪", "🇫🇷", "1️⃣", "❤️", "☺", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "😂😂😂", "\u200d", "🏽"]
        return "".join(self.pick(base) + self.pick(["", " ", " cat "]) for _ in range(self.random.randint(1, 9)))

    def controls(self):
        return "".join(self.char(0, 0x1F) if self.random.random() < .3 else self.char(0x20, 0xA0) for _ in range(self.random.randint(1, 25)))

    def specials(self):
        return "".join(self.pick(SPECIALS) + self.pick(["", " ", "  ", "x", self.pick(SPACES), self.pick(self.names)]) for _ in range(self.random.randint(1, 6)))

    def spaces(self):
        return "".join(self.pick(SPACES) + self.pick(["", self.pick(WORDS)]) for _ in range(self.random.randint(1, 12)))

    def apostrophes(self):
        return "".join(self.pick(["'s", "'S", "'ſ", "'re", "'RE", "'ll", "'lL", "'", "’s", "''d", "'x", "it", " ", "9", "!", "'M", "'vE"]) for _ in range(self.random.randint(1, 14)))

    def entities(self):
        return " ".join(self.pick(["&amp;", "&amp;amp;lt;", "&lt;p&gt;", "&eacute;", "&#233;", "&#x1F600;", "&nbsp;", "&copy", "&notit;", "<b>bold</b>", "cat"]) for _ in range(self.random.randint(1, 9)))

    def long_word(self):
        return self.pick([self.pick(WORDS), self.pick(self.names)[:6], self.char(0x21, 0x24F), self.char(0x3040, 0x9FFF)]) * self.random.randint(20, 400)

    def long_text(self):
        return " ".join(self.caption() for _ in range(self.random.randint(20, 120)))

    def lines(self, count):
        """`count` pairs (class, text): half of them over all scripts, the rest over the other classes."""
        plain = {"caption": self.caption, "names": lambda: " ".join(self.pick(self.names) for _ in range(self.random.randint(1, 4))), "mixed": self.mixed,
                 "mojibake": self.mojibake, "numbers": self.numbers, "url": self.url, "marks": self.marks, "emoji": self.emoji, "controls": self.controls,
                 "specials": self.specials, "spaces": self.spaces, "apostrophes": self.apostrophes, "entities": self.entities}
        rare = {"long_word": self.long_word, "long_text": self.long_text, "empty": lambda: self.pick(["", " ", "\n", "\u200b", "\ufeff", "\u00ad"])}
        out = [(name, rare[name]()) for name in rare for _ in range(max(1, count // 200))]
        while len(out) < count * 4 // 10:
            name = self.pick(list(SCRIPTS))
            out.append((name, self.script(name)))
        while len(out) < count:
            name = self.pick(list(plain))
            out.append((name, plain[name]()))
        self.random.shuffle(out)
        return out


def main():
    count, path = int(sys.argv[1]), sys.argv[2]
    with open(path, "w", encoding="utf-8") as file:
        for pair in Maker().lines(count):
            file.write(json.dumps(pair) + "\n")


if __name__ == "__main__":
    main()
