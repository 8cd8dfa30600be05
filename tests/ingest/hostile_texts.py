"""Captions and sidecars that are broken, hostile or merely odd: name -> Case."""
from hostile_case import Case

JSON, UTF8, SIZE = "damaged.json", "damaged.utf8", "unsupported.caption_size"
MISSING, EMPTY, SIDECAR = "damaged.no_caption", "filtered.empty_caption", "unsupported.sidecar_size"


def bad(reason, data):
    return Case(data, skipped={reason: 1})


def good(data):
    return Case(data, kept=2)


def json_cases():
    yield "NaN", good(b'{"long": "a cat", "punsafe": NaN}')
    yield "infinities", good(b'{"a": [Infinity, -Infinity], "long": "a cat"}')
    yield "a key twice", good(b'{"long": "an old cat", "long": "a cat"}')
    yield "byte order mark", good(b'\xef\xbb\xbf{"long": "a cat"}')
    yield "zero byte in a string", good(b'{"long": "a\\u0000cat"}')
    yield "100,000 digits", good(b'{"long": "a cat", "n": 0.' + b"1" * 100_000 + b"}")
    yield "nested 150 deep", good(b'{"long": "a cat", "x": ' + b"[" * 150 + b"]" * 150 + b"}")
    yield "nested 300 deep", bad(JSON, b'{"long": "a cat", "x": ' + b"[" * 300 + b"]" * 300 + b"}")
    yield "a million brackets", bad(JSON, b"[" * 1_000_000)
    yield "a million braces", bad(JSON, b'{"a":' * 200_000)
    yield "over 1 MiB", bad(SIDECAR, b'{"long": "a cat", "x": "' + b"x" * (1 << 20) + b'"}')
    yield "100,000 keys", good(b'{"long": "a cat"' + b"".join(b',"k%d":1' % i for i in range(80_000)) + b"}")
    yield "one key 100,000 times", good(b'{"long": "a cat"' + b',"k":1' * 150_000 + b"}")
    yield "cut", bad(JSON, b'{"long": "a ca')
    yield "empty", bad(JSON, b"")
    yield "a list", bad(MISSING, b'["a cat"]')
    yield "a number", bad(MISSING, b'{"long": 3}')
    yield "null", bad(MISSING, b'{"long": null}')
    yield "a list of captions", bad(MISSING, b'{"long": ["a cat", "a dog"]}')
    yield "without the key", bad(MISSING, b'{"short": "a cat"}')
    yield "not UTF-8", bad(JSON, b'{"long": "caf\xe9"}')
    yield "UTF-16", bad(JSON, '{"long": "a cat"}'.encode("utf-16"))
    yield "half a surrogate pair", good(b'{"long": "\\ud83d"}')
    yield "half a surrogate pair elsewhere", good(b'{"long": "a cat", "x": ["\\ude00\\ud83d"]}')
    yield "a number beyond doubles", good(b'{"long": "a cat", "x": [1e400, -1E+999, ' + b"9" * 400 + b"]}")
    yield "numbers of 500,000 digits", good(b'{"long": "a cat", "x": [' + b"9" * 500_000 + b",-" + b"8" * 500_000 + b"]}")
    yield "single quotes", bad(JSON, b"{'long': 'a cat'}")
    yield "a comment", bad(JSON, b'{"long": "a cat" /* x */}')
    yield "bytes behind the end", bad(JSON, b'{"long": "a cat"} x')


def caption_cases():
    yield "64 KiB", good(b"a" * 65536)
    yield "over 64 KiB", bad(SIZE, b"a" * 65537)
    yield "50 MiB", bad(SIZE, b"a" * (50 << 20))
    yield "8,000 times <person>", good(b"<person>" * 8000)
    yield "Latin-1", bad(UTF8, b"caf\xe9")
    yield "UTF-16 with a mark", bad(UTF8, "a cat".encode("utf-16"))
    yield "overlong", bad(UTF8, b"a \xc0\xaf cat")
    yield "surrogate", bad(UTF8, b"a \xed\xa0\x80 cat")
    yield "beyond Unicode", bad(UTF8, b"a \xf4\x90\x80\x80 cat")
    yield "zero bytes", good(b"a\0cat")
    yield "nothing", bad(EMPTY, b"")
    yield "blanks", bad(EMPTY, b" \n\t ")
    yield "no-break spaces", bad(EMPTY, "\u00a0\u3000\u2003".encode())
    yield "a byte order mark alone", good(b"\xef\xbb\xbf")  # no white space to Python
    yield "20,000 combining marks", good("e\u0301".encode() * 20_000)
    yield "an emoji family", good("👨‍👩‍👧‍👦".encode())
