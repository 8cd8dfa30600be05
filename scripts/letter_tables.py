"""Letters and numbers newer than Unicode 14, as two tokenizers know them: letter_tables.py > src/encoders/newer_letters.inc

CLIP's pattern says \\p{L} and \\p{N}; open_clip asks the package regex, transformers the Oniguruma inside tokenizers. Both are asked
about every code point that Python 3.11 (Unicode 14) has not assigned."""
import unicodedata

import regex
from tokenizers import Regex, normalizers

assert unicodedata.unidata_version == "14.0.0"
NEWER = [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Cn"]


def known_to_tokenizers(pattern):
    replace = normalizers.Replace(Regex(pattern), "x")
    lines = replace.normalize_str("\n".join(map(chr, NEWER))).split("\n")
    return {c for c, line in zip(NEWER, lines) if line == "x"}


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


entries = []
for kind, pattern in (("kLetter", r"\p{L}"), ("kNumber", r"\p{N}")):
    theirs = known_to_tokenizers(pattern)
    all_ = {c for c in NEWER if regex.match(pattern, chr(c))}
    assert theirs <= all_
    entries += [(first, last, kind, "true") for first, last in ranges(theirs)] + [(first, last, kind, "false") for first, last in ranges(all_ - theirs)]
print("// {first, last, class, known to both}; made by scripts/letter_tables.py with regex 2026.11.15 and tokenizers 0.23.3.")
for first, last, kind, both in sorted(entries):
    print(f"{{0x{first:X}, 0x{last:X}, CharacterClass::{kind}, {both}}},")
