"""Made-up captions in 40 classes, the same for a seed: caption_corpus.py FOLDER [--lines N] [--seed S] [--classes A,B]

Writes FOLDER/CLASS.jsonl, a JSON string per line (long_lines: one in a hundred). scripts/caption_parity.py compares on them; a small
sample is the golden of tests/text (scripts/make_text_goldens.py). Needs ftfy for its code pages."""
import argparse
import html.entities
import json
import os
import random
import urllib.parse

import ftfy.bad_codecs  # noqa: F401  the sloppy code pages

PAGES = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
         "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]
ENGLISH = """a the of in on with and photo picture stock vector illustration woman man girl boy dog cat house red blue green old new
young beautiful vintage modern sunset beach mountain river city street night light black white background isolated design art print poster
wedding dress flower garden tree forest car train kitchen table chair wood summer winter happy people family business team office water sky
watercolor pattern seamless texture logo icon set collection free high quality image portrait close-up smiling walking holding""".split()
LATIN = ("café naïve façade Zürich São Paulo garçon Ångström smörgåsbord El Niño déjà vu à la carte voilà Škoda Łódź "
         "Dvořák Gdańsk Kraków Çeşme İstanbul Iğdır Rīga Šiauliai ļoti Győr Tőkés België Größe Straße piñata über").split(" ")
GREEK = "καλημέρα Αθήνα θάλασσα ελληνικά Ψυχή όμορφη εικόνα ήλιος".split()
CYRILLIC = "привет Москва красивый закат фото девушка Київ їжак Ђорђе зимний лес Ёлка объявление".split()
RTL = "שלום ירושלים תמונה יפה مرحبا صورة جميلة القاهرة سلام دنیا اردو".split()
CJK = "日本語 写真 东京 美しい 風景 中文 图片 상하이 한국어 사진 カメラ ｶﾒﾗ ひらがな １２３ ＡＢＣ 花".split()
INDIC = "नमस्ते चित्र ภาพถ่าย สวัสดี বাংলা தமிழ் မြန်မာ ქართული հայերեն".split()
MARKS = "’ ‘ “ ” – — … • € £ ¥ © ® ™ ° ½ ¼ × ÷ ± § ¶ « » ‹ › „ ‚ † ‡ ‰ ² ³ ¹ ª º ¡ ¿ \u00a0 \u00ad".split(" ")
EMOJI = "😀 😂 👩‍🚀 👨‍👩‍👧 🇫🇷 🏳️‍🌈 ❤️ ☀️ 👍🏽 🎉 1️⃣ ♥ ★ ☆ ✔ ✓ ➜ ✿ ツ (╯°□°)╯ ¯\\_(ツ)_/¯".split(" ")
TAGS = ["<b>", "</b>", "<br>", "<br/>", "</br>", "<p>", "</p>", "<a href='x'>", "<a href=\"http://a.com/?a=1&b=2\">", "</a>", "<img src=x.jpg alt='a>b'>",
        "<script>var a = '<b>';</script>", "<style>b {}</style>", "<!-- no -->", "<!doctype html>", "<?xml version='1.0'?>", "<![CDATA[ raw <b> ]]>",
        "<template>t</template>", "<ruby>漢<rt>kan</rt></ruby>", "<pre>  \n </pre>", "<textarea> </textarea>", "<person>", "<PERSON>", "<span class=x>", "</span>", "<div><div>",
        "</div>", "<li>", "<td>", "<![if lt IE 9]>", "<![endif]>", "<input disabled>", "<hr />"]
BROKEN = ["<", ">", "</", "<b", "<a href='", "<a href=\"x", "< b>", "<3", "a<b", "</b", "</ b >", "</>", "<!-", "<!--", "-->", "<!", "<?", "<a b=c d", "<a =", "<a/", "/>", "<a'b\"c>",
          "<a b='c'd>", "<a b==c>", "<é>", "<1>", "&lt;b&gt;", "&lt;", "<script>", "</script>", "<style>", "<a\x00b>", "<b\x0bc>", "<a b= 'x>", "<br/ >", "</br x>", "<![CDATA[", "]]>", "<!x>"]
EXTENSIONS = ["png", "jpg", "jpeg", "bmp", "webp", "eps", "pdf", "apk", "mp4", "gif", "tiff", "JPG", "Png"]
DOMAINS = ["com", "co", "ru", "net", "org", "edu", "gov", "it", "de", "info", "co.uk", "io", "fr"]


class Maker:
    """One class's lines."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *lists):
        return self.r.choice(self.r.choice(lists))

    def some(self, low, high, make):
        return [make() for _ in range(self.r.randint(low, high))]

    def words(self, low=2, high=8, *more):
        text = " ".join(self.some(low, high, lambda: self.pick(ENGLISH, *more)))
        return text.capitalize() if self.r.random() < 0.4 else text

    def among(self, make, low=1, high=3, joins=(" ", " ", " ", "", ", ", "\n", "  ", ". ")):
        """Plain words with a few of what `make` makes between them."""
        parts = self.some(1, 3, lambda: self.words(1, 4)) + self.some(low, high, make)
        self.r.shuffle(parts)
        text = parts[0]
        for part in parts[1:]:
            text += self.r.choice(joins) + part
        return text

    def number(self, low=1, high=12):
        digits = "0123456789" if self.r.random() < 0.95 else "٠١٢٣४५६"
        return "".join(self.r.choice(digits) for _ in range(self.r.randint(low, high)))

    def letters(self, low=1, high=5):
        return "".join(self.r.choice("abcdefghijklmnopqrstuvwxyzABCXYZ") for _ in range(self.r.randint(low, high)))

    # Mojibake
    def foreign(self):
        text = " ".join(self.some(1, 4, lambda: self.pick(LATIN, LATIN, MARKS, GREEK, CYRILLIC, CJK, RTL, INDIC, EMOJI)))
        return self.r.choice(["“%s”", "%s – %s", "%s’s", "%s…", "%s"]).replace("%s", text)

    def spoilt(self, page, text=None):
        data = (text or self.foreign()).encode("utf-8", "surrogatepass")
        return data.decode(page, "replace")

    def mojibake(self, page):
        return lambda: self.among(lambda: self.spoilt(page))

    def nested(self):
        def piece():
            text, pages = self.pick(LATIN, MARKS) + self.pick(MARKS), [self.r.choice(PAGES[:7])] * 2
            for page in pages + [self.r.choice(PAGES)] * self.r.randint(0, 1):
                text = self.spoilt(page, text)
            return text
        return self.among(piece, 1, 2)

    def lossy(self):
        text = list(self.spoilt(self.r.choice(PAGES[1:7])))
        for _ in range(self.r.randint(1, 3)):
            at = self.r.randrange(len(text))
            text[at] = self.r.choice(["\ufffd", "\ufffd", "?", " ", "\x1a", "", "\xa0"])
        return self.words(1, 3) + " " + "".join(text).replace("\xa0", self.r.choice(["\xa0", " "])) + " " + self.words(1, 3)

    def mixed(self):
        return self.among(lambda: self.r.choice([self.foreign, lambda: self.spoilt(self.r.choice(PAGES))])(), 2, 4)

    def cesu(self):
        def piece():
            wide = "".join(chr(0x10000 + self.r.randrange(0x20000)) if self.r.random() < 0.3 else self.r.choice("😀🎉🚀𝒥𝄞")
                           for _ in range(self.r.randint(1, 2)))
            pairs = wide.encode("utf-16-be", "surrogatepass")
            halves = "".join(chr(int.from_bytes(pairs[i:i + 2], "big")) for i in range(0, len(pairs), 2))
            return halves.encode("utf-8", "surrogatepass").decode(self.r.choice(PAGES[:3])) + self.r.choice(["", "À\x80", " "])
        return self.among(piece)

    # Markup
    def entity(self):
        name = self.r.choice(ENTITIES)
        kind = self.r.random()
        if kind < 0.5:
            return "&" + self.r.choice([name, name, name.upper(), name.lower(), name[:-1]]) + self.r.choice([";", ";", "", " ", "x"])
        if kind < 0.6:
            return "&" + self.letters(1, 30) + ";"
        if kind < 0.7:
            return self.r.choice(["&amp;amp;amp;", "&amp;lt;b&amp;gt;", "&quot;", "&quot", "&AMP", "&", "&&", "&;", "&#;", "&#x;", "&amp;#39;"])
        point = self.r.choice([self.r.randrange(0x100), self.r.randrange(0x3000), self.r.randrange(0x120000), 0x2019, 0x1F600])
        return self.r.choice([f"&#{point}", f"&#x{point:x}", f"&#X{point:X}", f"&#0{point}"]) + self.r.choice([";", ";", ";", "", " ", "g"])

    def surrogates(self):
        high, low = 0xD800 + self.r.randrange(0x400), 0xDC00 + self.r.randrange(0x400)
        piece = self.r.choice([f"&#{high};&#{low};", f"&#x{high:x};", f"&#{low};&#{high};", "%ED%A0%80", "%ed%a0%bd%ed%b8%80", f"&#x{high:x};&#x{low:x};", "&#55357"])
        return self.words(1, 3) + " " + piece + self.r.choice(["", " ", "’", "<b>"]) + self.words(1, 2)

    # Addresses, numbers, names
    def url(self):
        host = ".".join(self.some(1, 3, lambda: self.letters(1, 8))) + "." + self.r.choice(DOMAINS)
        path = self.r.choice(["", "/", "/a/b-c_d", "/é/x", "?q=1&x=2", "#top", ":80/", "/a@b", "@x", "-/", "/index.html", "...", ","])
        return self.r.choice(["http://", "https://", "HTTP:/", "www.", "www:", "www:/", "", "", "ftp://", "https:", "://"]) + host + path

    def code(self):
        kinds = [lambda: self.letters(1, 4) + self.number(1, 16), lambda: self.letters() + self.number(1, 4) + self.letters(),
                 lambda: self.number(1, 5) + self.letters() + self.number(1, 4), lambda: self.number(1, 10), lambda: "#" + self.number(1, 7),
                 lambda: "".join(self.some(4, 7, lambda: self.letters(1, 2) + self.number(1, 2))), lambda: self.number(1, 3) + "é" + self.number(1, 3),
                 lambda: self.letters(1, 3) + "_" + self.number(3, 5)]
        return self.r.choice(kinds)()

    def size(self):
        x = self.r.choice(["x", "x", "X", "х", "×", " x ", "*"])
        n = [self.number(1, 4) + self.r.choice(["", "", ".", ".5", ".25"]) for _ in range(self.r.randint(2, 3))]
        return x.join(n) + self.r.choice(["", "", "cm", " inch", "px", ".", "’"])

    def ip_or_time(self):
        return self.r.choice([".".join(self.some(3, 5, lambda: self.number(1, 4))), f"{self.number(1, 2)}:{self.number(2, 2)}" + self.r.choice(["", " ", "\n", "  "]),
                              f"page {self.number(1, 3)}", f"{self.number(1, 2)}.{self.number(1, 2)}.{self.number(4, 4)}", f"v{self.number(1, 2)}.{self.number(1, 2)}"])

    def price(self):
        return self.r.choice(["$", "€", "£", "USD ", "₹", "¥", "₽", ""]) + self.number(1, 4) + self.r.choice(["", ",", ".", ",00", ".99", "/100", "-", "%"]) + self.r.choice(["", " EUR", "€", " 2019", "/12/31", "-01-02"])

    def file_name(self):
        return self.r.choice(["", "IMG_", "DSC", "photo-", "C:\\a\\", "/home/é/", "(", "."]) + self.r.choice([self.letters(), self.number(), "日本", ""]) + "." + self.r.choice(EXTENSIONS) + self.r.choice(["", "", ")", ".zip", "s", " image", " images"])

    def quotes(self):
        mark = self.r.choice(["'", '"', "“", "”", "‘", "’", "`", "´", "«", "»", "''", '""', "„", "(", ")", "[", "]", "{", "}", "|", "*", "**", "~", "\\", "¨"])
        return mark + self.r.choice([self.words(1, 2), ""]) + self.r.choice([mark, "", "'", '"', "”"])

    def dash(self):
        return self.r.choice("- -- — – ‐ ‑ ‒ ― ~ 〜 － ﹘ ﹣ ᐀ ־ ⸺ _ __ ---".split()).join(self.some(2, 6, lambda: self.letters(1, 6)))

    def handle(self):
        return self.r.choice(["@", "#", "@ ", "#@", "a@", "@@", "#1", "@é"]) + self.r.choice([self.letters(1, 8), self.number(1, 6), "日本", "a.b", "_x"])

    def shop(self):
        return self.r.choice(["free shipping", "worldwide free shipping", "Worldwide  Shipping", "shippings", "download", "free download free", "Download Free", "click for more", "click on this",
                              "click for  x", "clicks on it", "page 12", "page  3rd", "png images", "jpg image", "pngs", "mp4", "webp imagery", "epsilon", "free  download", "freeshipping"])

    def control(self):
        return self.letters(1, 3) + chr(self.r.choice([*range(32), *range(0x7F, 0xA1), 0x200B, 0x200E, 0x2028, 0x2029, 0x206A, 0xFEFF, 0xFFF9, 0xFFFC, 0x180E, 0x2003, 0x3000])) + self.r.choice(
            ["", "[31m", "[0;1mx", "\r\n", "\x1b[0m"]) + self.letters(1, 3)

    def percent(self):
        text = self.r.choice([self.words(1, 3), self.foreign()])
        done = self.r.choice([urllib.parse.quote, urllib.parse.quote_plus])(text)
        return self.r.choice([done, done[:-1], done.lower(), "100% " + done, "%zz" + done, done + "%", "+" + done + "é%C3"])

    def punctuation(self):
        return "".join(self.some(1, 6, lambda: self.r.choice(list(".,:;!?/\\&+=^$%'\"-_()") + ["...", " . ", " : ", ",a", "b.c", "d/e", "\\n", " :", ": ", "é.", "1,", ".a"])))

    def any_point(self):
        return "".join(chr(point) for point in self.some(1, 5, lambda: self.r.choice([self.r.randrange(0x250), self.r.randrange(0x3000), self.r.randrange(0xD800), 0xE000 + self.r.randrange(0x2000),
                                                                                   0x10000 + self.r.randrange(0x20000)])))

    def combining(self):
        return "".join(self.r.choice("aeo각가ㄱअのΩ") + "".join(self.some(0, 4, lambda: self.r.choice("\u0301\u0308\u0327\u0316\u3099\u1161\u11a8\u093c\u0345\u05b0\u20d0")))
                       for _ in range(self.r.randint(1, 4)))

    def anything(self):
        return self.among(lambda: self.r.choice(self.pieces())(), 2, 6, (" ", " ", "", "", ",", "\n", "-", "&", "<"))

    def pieces(self):
        return [self.foreign, self.entity, self.url, self.code, self.size, self.ip_or_time, self.price, self.file_name, self.quotes, self.dash, self.handle, self.shop, self.control, self.percent,
                self.punctuation, lambda: self.r.choice(TAGS), lambda: self.r.choice(BROKEN), lambda: self.r.choice(EMOJI), lambda: self.spoilt(self.r.choice(PAGES)), self.any_point, self.combining]

    def long_line(self):
        make = self.r.choice([self.anything, self.mixed, lambda: self.words(5, 9), lambda: self.r.choice(self.pieces())()])
        parts, size = [], 0
        while size < 65000:
            parts.append(make())
            size += len(parts[-1].encode("utf-8", "surrogatepass")) + 1
        return " ".join(parts)


ENTITIES = sorted({name.rstrip(";") for name in html.entities.html5})


def classes(m):
    """name -> a function that makes a line."""
    made = {"mojibake_" + page.replace("sloppy-windows-", "cp").replace("-", "").replace("iso88592", "latin2"): m.mojibake(page) for page in PAGES}
    made |= {"mojibake_nested": m.nested, "mojibake_lossy": m.lossy, "mojibake_mixed": m.mixed, "mojibake_cesu": m.cesu,
             "entities": lambda: m.among(m.entity), "markup": lambda: m.among(lambda: m.r.choice(TAGS), 1, 6), "broken_markup": lambda: m.among(lambda: m.r.choice(BROKEN + TAGS[:6]), 1, 5),
             "surrogates": m.surrogates, "urls": lambda: m.among(m.url), "emoji": lambda: m.among(lambda: m.r.choice(EMOJI)), "rtl": lambda: m.words(2, 6, RTL, RTL),
             "cjk": lambda: "".join(m.some(2, 8, lambda: m.pick(CJK, ENGLISH, MARKS) + m.r.choice(["", " ", "、", "　"]))), "scripts": lambda: m.words(2, 8, LATIN, GREEK, CYRILLIC, INDIC),
             "controls": lambda: m.among(m.control), "codes": lambda: m.among(m.code), "sizes": lambda: m.among(m.size), "addresses_times": lambda: m.among(m.ip_or_time),
             "prices_dates": lambda: m.among(m.price), "file_names": lambda: m.among(m.file_name), "quotes_brackets": lambda: m.among(m.quotes), "dashes": lambda: m.among(m.dash),
             "handles_tags": lambda: m.among(m.handle), "shop_phrases": lambda: m.among(m.shop), "percent": lambda: m.among(m.percent), "punctuation": lambda: m.among(m.punctuation),
             "combining": lambda: m.among(m.combining), "code_points": lambda: m.among(m.any_point), "plain_english": lambda: m.words(4, 25) + m.r.choice(["", ".", "!", ", " + m.words(2, 5)]),
             "anything": m.anything, "long_lines": m.long_line}
    return made


def lines_of(name, count, seed):
    """`count` captions of a class; of long lines a hundredth."""
    maker = Maker(f"{seed} {name}")
    make = classes(maker)[name]
    return [make().encode("utf-8", "replace").decode() for _ in range(max(1, count // 100) if name == "long_lines" else count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--classes", default="")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    for name in args.classes.split(",") if args.classes else classes(Maker(0)):
        with open(os.path.join(args.folder, name + ".jsonl"), "w", encoding="ascii") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines_of(name, args.lines, args.seed))


if __name__ == "__main__":
    main()
