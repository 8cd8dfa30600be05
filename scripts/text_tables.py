"""Writes the tables of src/text from public lists: python3.11 scripts/text_tables.py

word_ranges.inc, digit_ranges.inc: the code points of Python 3.11's \\w and \\d (Unicode 14.0.0), from unicodedata.
html_entities.inc: the HTML5 named character references (WHATWG's list, html.entities.html5).
code_pages.inc: what bytes 80 to FF are in the code pages that mojibake comes from (Python's codecs).
"""
import html.entities
import os
import sys
import textwrap
import unicodedata

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src/text")
CODE_PAGES = ["cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso8859_2", "mac_roman", "cp437"]


def write(name, about, entries):
    lines = textwrap.wrap(" ".join(entries), 118, break_long_words=False, break_on_hyphens=False)
    with open(os.path.join(FOLDER, name), "w", encoding="ascii") as file:
        file.write(f"// {about} Written by scripts/text_tables.py.\n" + "\n".join(lines) + "\n")


def ranges(belongs):
    """{first, last} of every run of code points that belong."""
    found = []
    for point in range(0x110000):
        if belongs(chr(point)):
            if found and found[-1][1] == point - 1:
                found[-1][1] = point
            else:
                found.append([point, point])
    return [f"{{0x{first:x},0x{last:x}}}," for first, last in found]


def entity(name):
    value = "".join(f"\\{byte:03o}" for byte in html.entities.html5[name + ";"].encode())
    return f'{{"{name}","{value}",{int(name in html.entities.html5)}}},'


def page(codec):
    """An unassigned byte is the character of its number."""
    decoded = [bytes([byte]).decode(codec, "replace") for byte in range(0x80, 0x100)]
    return "{" + ",".join(f"0x{byte if c == chr(0xFFFD) else ord(c):x}" for byte, c in enumerate(decoded, 0x80)) + "},"


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; run it with Python 3.11 (Unicode 14.0.0)")
    write("word_ranges.inc", "Word characters of Unicode 14.0.0: letters, numbers and the underscore.",
          ranges(lambda c: c.isalnum() or c == "_"))
    write("digit_ranges.inc", "Decimal digits of Unicode 14.0.0.", ranges(str.isdecimal))
    names = sorted(name[:-1] for name in html.entities.html5 if name.endswith(";"))
    write("html_entities.inc", "HTML5's named references: name, UTF-8, whether the semicolon may be missing.", map(entity, names))
    write("code_pages.inc", "Characters of bytes 80 to FF: " + ", ".join(CODE_PAGES) + ".", map(page, CODE_PAGES))


if __name__ == "__main__":
    main()
