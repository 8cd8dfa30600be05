"""PyTorch files that no honest program writes, made with the standard library alone: name -> (bytes, a word of the refusal)."""
import io
import os
import pickle
import struct
import zipfile
import zlib

PROTO, MARK, STOP, TUPLE, REDUCE = b"\x80\x02", b"(", b".", b"t", b"R"
FOUR = struct.pack("<4f", 1, 2, 3, 4)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(value)) + value


def number(value):
    if isinstance(value, bytes):
        return value
    size = max(1, (value.bit_length() + 8) // 8)
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(module, what):
    return f"c{module}\n{what}\n".encode()


def tuple_of(*items):
    return MARK + b"".join(items) + TUPLE


def storage(key="0", count=4, kind=name("torch", "FloatStorage"), word="storage"):
    return tuple_of(text(word), kind, text(key), text("cpu"), number(count)) + b"Q"


def tensor(shape=(4,), strides=(1,), offset=0, held=None, function=name("torch._utils", "_rebuild_tensor_v2")):
    sizes = [tuple_of(*map(number, values)) if isinstance(values, tuple) else values for values in (shape, strides)]
    return function + tuple_of(held or storage(), number(offset), *sizes, b"\x89", name("collections", "OrderedDict") + b")R") + REDUCE


def dict_of(**items):
    return b"}" + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(body):
    return PROTO + body + STOP


def zipped(body, records=None, **options):
    """A file with this pickle and the one storage of four floats (or other records)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", options.get("compression", zipfile.ZIP_STORED)) as made:
        made.writestr(f"{options.get('stem', 'archive')}/data.pkl", body)
        for key, value in (records or {"data/0": FOUR, "version": b"3\n"}).items():
            made.writestr(f"archive/{key}", value)
    return out.getvalue()


def sound():
    return zipped(pickled(dict_of(w=tensor())))


def legacy(body, keys=b"]" + text("0") + b"a", storages=struct.pack("<q", 4) + FOUR, magic=None, system=None, protocol=1001):
    magic = magic or number(0x1950a86a20f9469cfc6c)
    system = system or pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    return pickled(magic) + pickled(number(protocol)) + system + pickled(body) + pickled(keys) + storages


def changed(data, old, new, last=False):
    at = data.rindex(old) if last else data.index(old)
    return data[:at] + new + data[at + len(old):]


def nested(open_, close, depth):
    return open_ * depth + close * depth


def in_place(data, signature, offset, size, value, which=0):
    """The zip with a field of its `which`-th header of this signature changed."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[:at + offset] + value.to_bytes(size, "little") + data[at + offset + size:]


def call(module, what, *args):
    return name(module, what) + tuple_of(*args) + REDUCE


def executing(marker):
    """Pickles whose loading would run something."""
    touch = f"touch {marker}"
    good = dict_of(w=tensor())

    def beside(value):
        return zipped(pickled(b"}" + MARK + text("w") + tensor() + text("x") + value + b"u"))
    cases = {
        "os.system": (beside(call("os", "system", text(touch))), None),
        "posix.system": (beside(call("posix", "system", text(touch))), None),
        "builtins.eval": (beside(call("builtins", "eval", text(f"__import__('os').system('{touch}')"))), None),
        "builtins.exec": (beside(call("builtins", "exec", text(f"import os; os.system('{touch}')"))), None),
        "subprocess": (beside(call("subprocess", "Popen", text(touch))), None),
        "webbrowser": (beside(call("webbrowser", "open", text("http://localhost"))), None),
        "_load_from_bytes": (beside(call("torch.storage", "_load_from_bytes", b"C\4abcd")), None),
        "torch.load": (beside(call("torch.serialization", "load", text("/etc/passwd"))), None),
        "hub": (beside(call("torch.hub", "load", text("a"), text("b"))), None),
        "getattr": (beside(call("builtins", "getattr", name("os", "sep"), text("join"))), None),
        "instance": (beside(MARK + text(touch) + b"ios\nsystem\n"), None),
        "obj": (beside(MARK + name("os", "system") + text(touch) + b"o"), None),
        "newobj": (beside(name("os", "system") + tuple_of(text(touch)) + b"\x81"), None),
        "stack_global": (beside(text("os") + text("system") + b"\x93" + tuple_of(text(touch)) + REDUCE), None),
        "a setstate": (beside(call("os", "system") + dict_of(a=text(touch)) + b"b"), None),
        "the root": (zipped(pickled(call("os", "system", text(touch)))), "no tensor"),
        "a tensor's storage": (zipped(pickled(dict_of(w=tensor(held=call("os", "system", text(touch)))))), "tensor 'w'"),
        "a tensor inside": (zipped(pickled(dict_of(w=call("os", "system", tensor())))), "'w': it is inside an object of os system"),
        "in a shape": (zipped(pickled(dict_of(w=tensor(shape=call("os", "system", text(touch)))))), "tensor 'w'"),
        "legacy": (legacy(call("os", "system", text(touch)), b"]", b""), "no tensor"),
    }
    return {f"executes: {case}": value for case, value in cases.items()} | {"executes: extension": (zipped(pickled(good + b"0\x82\1")), "opcode")}


def pickles():
    bomb = b"]q\0" + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    wide = b"X" + struct.pack("<I", 0xffffffff) + b"abc"
    cases = {
        "empty": (b"", "ends at byte 0"), "no end": (PROTO + b"}", "ends at byte"), "nothing left": (PROTO + b".", "stack is empty"),
        "deep lists": (pickled(nested(b"](", b"e", 50_000)), "deep"), "deep dicts": (pickled(b"}" + b"(X\1\0\0\0a}" * 3000 + b"u" * 3000), "deep"),
        "very deep": (pickled(nested(b"](", b"e", 5_000_000)), "refused"), "deep tuples": (pickled(b")" + b"\x85" * 1_900_000), "deep"),
        "many opcodes": (pickled(b"N0" * 9_000_000), "refused"), "many values": (pickled(b"]" + b"(" + b"]" * 3_000_000 + b"e"), "more than"),
        "many puts": (pickled(b"]" + b"".join(b"r" + struct.pack("<I", i * 977) for i in range(1_000_000))), None),
        "memo bomb": (pickled(bomb), "unfold"), "itself": (pickled(b"]q\0h\0a"), "holds itself"),
        "itself in a dict": (pickled(b"}q\0X\1\0\0\0ah\0s"), "holds itself"), "no such memo": (pickled(b"h\7"), "memo"),
        "4 GiB text": (pickled(wide), "ends at byte"), "2^63 text": (pickled(b"\x8d" + b"\xff" * 8), "ends at byte"),
        "long integer": (pickled(b"\x8b" + struct.pack("<I", 100_000) + bytes(100_000)), "integer of 100000 bytes"),
        "2 GiB integer": (pickled(b"\x8b" + struct.pack("<I", 0x7fffffff)), "ends at byte"), "digits": (pickled(b"L" + b"9" * 5000 + b"L\n"), "too long"),
        "long name": (pickled(b"c" + b"a" * 1_000_000 + b"\nb\n"), "too long"), "build on a dict": (pickled(b"}}b"), "a state"),
        "build on a tensor's name": (pickled(name("os", "system") + b"}b"), "a state"), "calls a text": (pickled(text("os.system") + b")R"), "no name"),
        "arguments": (pickled(name("os", "system") + b"]R"), "no tuple"), "persistent text": (pickled(b"Psomething\n"), "not taken"),
        "odd items": (pickled(b"}(NNNu"), "without a value"), "adds to a text": (pickled(text("a") + b"Na"), "no such container"),
        "no mark": (pickled(b"]e"), "no mark"), "protocol 9": (b"\x80\x09}.", "protocol"), "buffer": (pickled(b"\x97"), "not taken"),
        "trailing": (pickled(dict_of(w=tensor())) + b"more", "follow"), "name not UTF-8": (pickled(b"}X\1\0\0\0\xff" + tensor() + b"s"), "no name"),
        "long key": (pickled(b"}" + text("k" * 5000) + tensor() + b"s"), "no name"), "two of a name": (pickled(b"}" + (text("w") + tensor() + b"s") * 2), "two tensors"),
        "same name by two ways": (pickled(b"}" + text("a.b") + tensor() + b"s" + text("a") + dict_of(b=tensor()) + b"s"), "two tensors"),
    }
    return {f"pickle: {case}": (zipped(data), word or "no tensor") for case, (data, word) in cases.items()}


def tensors():
    many = b"}(" + b"".join(text(f"t{i}") + tensor(shape=(2,), strides=(1 + i % 2,), offset=i % 2) for i in range(300_000)) + b"u"
    cases = {
        "beyond the storage": tensor(shape=(5,)), "offset": tensor(offset=1), "far offset": tensor(offset=2 ** 62), "negative offset": tensor(offset=-1),
        "negative size": tensor(shape=(-4,)), "negative stride": tensor(strides=(-1,)), "huge integer": tensor(shape=(2 ** 70,)),
        "numel overflow": tensor(shape=(2 ** 32, 2 ** 32), strides=(0, 0)), "zero and huge": tensor(shape=(0, 2 ** 40, 2 ** 40), strides=(1, 1, 1)),
        "reach overflow": tensor(shape=(3, 3), strides=(2 ** 62, 2 ** 62)), "expanded": tensor(shape=(2 ** 40,), strides=(0,)),
        "axes": tensor(shape=(1,) * 60, strides=(1,) * 60), "strides": tensor(shape=(2, 2), strides=(1,)), "no shape": tensor(shape=text("4")),
        "few arguments": name("torch._utils", "_rebuild_tensor_v2") + tuple_of(storage()) + REDUCE, "no storage": tensor(held=text("0")),
        "storage count": tensor(held=storage(count=5)), "storage overflow": tensor(held=storage(count=2 ** 62)), "negative storage": tensor(held=storage(count=-4)),
        "no such storage": tensor(held=storage(key="7")), "up": tensor(held=storage(key="../../etc/passwd")), "class": tensor(held=storage(kind=name("os", "system"))),
        "word": tensor(held=storage(word="module")), "not a tuple": tensor(held=text("a") + b"Q"),
    }
    cases = {case: (zipped(pickled(dict_of(w=value))), "hostile.pt: ") for case, value in cases.items()}
    two = dict_of(a=tensor(), b=tensor(held=storage(kind=name("torch", "DoubleStorage"))))
    cases["two sizes"] = zipped(pickled(two)), "in another"
    cases["many views"] = zipped(pickled(many)), "more than"
    views = dict_of(**{f"v{i}": tensor(shape=(100, 1000), strides=(i, 0), held=storage(count=100_000)) for i in range(1, 900)})
    cases["views of views"] = zipped(pickled(views), {"data/0": bytes(400_000)}), "far more bytes"
    return {f"tensor: {case}": value for case, value in cases.items()}


def zips():
    good, body = sound(), pickled(dict_of(w=tensor()))
    with_names = {f"name {bad!r}": (changed(changed(good, b"archive/version", bad), b"archive/version", bad, last=True), "no writer gives")
                  for bad in (b"../../version..", b"/rchive/version", b"archive\\version", b"archive//ersion", b"archive/versi\xff\xfe", b"archive\0version")}
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("readme.txt", "no weights")
    crc = struct.pack("<I", zlib.crc32(body))
    cases = {
        "cut": (good[:-30], "cut short"), "cut early": (good[:100], "cut short"), "without a pickle": (other.getvalue(), "without a data.pkl"),
        "no records": (b"PK\5\6" + bytes(18), "without a data.pkl"), "compressed": (zipped(body, compression=zipfile.ZIP_DEFLATED), "compressed"),
        "bomb": (zipped(pickled(dict_of(w=tensor(held=storage(count=250_000_000)))), {"data/0": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED), "compressed"),
        "two pickles": (_two_pickles(body), "two pickles"), "one name twice": (_renamed(body), "two records 'archive/data/0'"), "encrypted": (in_place(good, b"PK\1\2", 8, 2, 1), "encrypted"),
        "pickle's checksum": (good.replace(crc, b"\1\2\3\4"), "checksum"), "storage's checksum": (good.replace(struct.pack("<I", zlib.crc32(FOUR)), b"\1\2\3\4"), "damaged"),
        "another local name": (changed(good, b"archive/data/0", b"archive/data/1"), "another at its place"),
        "local size": (in_place(good, b"PK\3\4", 22, 4, 15, 1), "by its own header"), "size": (in_place(good, b"PK\1\2", 24, 4, 2 ** 31, 1), "bytes"),
        "both sizes": (in_place(in_place(good, b"PK\1\2", 24, 4, 2 ** 31, 1), b"PK\1\2", 20, 4, 2 ** 31, 1), "beyond"),
        "zip64 without a field": (in_place(good, b"PK\1\2", 24, 4, 0xffffffff, 1), "ZIP64"),
        "overlap": (in_place(good, b"PK\1\2", 42, 4, good.index(b"PK\3\4"), 1), "another at its place"), "overlapping records": (_overlapping(body), "overlap"),
        "header outside": (in_place(good, b"PK\1\2", 42, 4, 0x7fffffff, 1), "outside"), "number of records": (in_place(good, b"PK\5\6", 10, 2, 60000), "split"),
        "many records": (in_place(in_place(good, b"PK\5\6", 10, 2, 60000), b"PK\5\6", 8, 2, 60000), "directory is damaged"),
        "directory's place": (in_place(good, b"PK\5\6", 16, 4, 5), "does not reach"), "directory's size": (in_place(good, b"PK\5\6", 12, 4, 0x7fffffff), "zip"),
        "something before": (b"PK\3\4" + bytes(60) + good, "does not reach"), "split": (in_place(good, b"PK\5\6", 4, 2, 1), "split"),
        "zip64 end": (_zip64_locator(good, 2 ** 60), "outside"), "zip64 end that lies": (_zip64_locator(good, 10), "ZIP64 end"),
        "big endian": (zipped(body, {"data/0": FOUR, "byteorder": b"big"}), "byte order"), "version": (zipped(body, {"data/0": FOUR, "version": b"99"}), "version"),
        "long version": (zipped(body, {"data/0": FOUR, "version": b"1" * 9999}), "bytes"), "short storage": (zipped(body, {"data/0": FOUR[:-1]}), "15 bytes"),
        "long storage": (zipped(body, {"data/0": FOUR * 2}), "32 bytes"), "no storage": (zipped(body, {"data/1": FOUR}), "not in the zip"),
        "another folder": (zipped(body, stem="other"), "not in the zip"), "big pickle": (_big_pickle, "at most"),
    }
    return {f"zip: {case}": value for case, value in (cases | with_names).items()}


def _two_pickles(body):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a/data.pkl", body)
        made.writestr("b/data.pkl", body)
    return out.getvalue()


def _renamed(body):
    """Another record that takes the name of the first storage, in its own header and in the directory."""
    data = zipped(body, {"data/0": FOUR, "data/1": FOUR, "version": b"3\n"})
    return data.replace(b"archive/data/1", b"archive/data/0")


def _overlapping(body):
    """Two records of the same bytes: a second local header lies in the data of the first."""
    inner = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, zlib.crc32(FOUR), 16, 16, 14, 0) + b"archive/data/0" + FOUR
    data = zipped(body, {"x": inner + bytes(8), "data/0": FOUR, "version": b"3\n"})
    return in_place(data, b"PK\1\2", 42, 4, data.index(inner), 2)


def _zip64_locator(good, place):
    at = good.index(b"PK\5\6")
    return good[:at] + b"PK\6\7" + struct.pack("<IQI", 0, place, 1) + good[at:]


def _big_pickle(path):
    """A pickle of 8 GiB, a hole in the file."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", b"")
    data, size = path.read_bytes(), 8 << 30
    directory = data.index(b"PK\1\2")
    local = in_place(in_place(data[:directory], b"PK\3\4", 22, 4, 0), b"PK\3\4", 6, 2, 8)
    entry = in_place(in_place(data[directory:], b"PK\1\2", 24, 4, 0xffffffff), b"PK\1\2", 20, 4, 0xffffffff)
    entry = in_place(entry, b"PK\1\2", 8, 2, 8)
    cut = entry.index(b"PK\5\6")
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    entry, end = in_place(entry[:cut], b"PK\1\2", 30, 2, len(extra)) + extra, entry[cut:]
    place = len(local) + size
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, len(entry), place)
    end = in_place(in_place(end, b"PK\5\6", 12, 4, len(entry)), b"PK\5\6", 16, 4, 0xffffffff)
    with open(path, "wb") as out:
        out.write(local)
        out.seek(place)
        out.write(entry + end64 + b"PK\6\7" + struct.pack("<IQI", 0, place + len(entry), 1) + end)


def legacies():
    good = dict_of(w=tensor())
    cases = {
        "sound": (legacy(good), None), "another pickle": (pickled(good), "none of torch.save"), "magic": (legacy(good, magic=number(2 ** 75)), "none of torch.save"),
        "protocol": (legacy(good, protocol=1002), "another than"), "big endian": (legacy(good, system=pickle.dumps({"little_endian": False}, 2)), "big-endian"),
        "no keys": (legacy(good, keys=b"]"), "not in the file"), "key twice": (legacy(good, keys=b"](" + text("0") * 2 + b"e"), "twice"),
        "another key": (legacy(good, keys=b"]" + text("9") + b"a"), "without a tensor"), "cut": (legacy(good)[:-1], "cut short"),
        "cut at a storage": (legacy(good, storages=b""), "cut short"), "count": (legacy(good, storages=struct.pack("<q", 5) + FOUR), "by its pickle"),
        "negative count": (legacy(good, storages=struct.pack("<q", -4) + FOUR), "by its pickle"), "more": (legacy(good) + b"more", "follow"),
        "an old view": (legacy(dict_of(w=tensor(held=tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(4),
                                                              tuple_of(text("1"), number(0), number(4))) + b"Q"))), "torch 0.x"),
        "long and unfinished": (pickled(number(0x1950a86a20f9469cfc6c)) + pickled(number(1001)) + pickled(b"}") + b"\x80\x02]" + b"N0" * 30_000_000, "refused"),
        "of Python 2": (_python_2(), None),
    }
    return {f"legacy: {case}": value for case, value in cases.items()}


def _python_2():
    """Names as byte strings, an OrderedDict as a list of pairs."""
    short = b"U\1w"
    return legacy(name("collections", "OrderedDict") + tuple_of(b"](](" + short + tensor() + b"ee") + REDUCE)


def cases(marker):
    return executing(marker) | pickles() | tensors() | zips() | legacies()


def other_kinds():
    return {
        "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        "page.bin": (b"\n<!DOCTYPE html><html>sign in</html>", "web page"), "model.ckpt": (b"GGUF" + bytes(100), "GGUF"), "nothing.pt": (b"", "empty"),
        "cut.pt": (sound()[:200], "cut short"), "packed.pt": (b"\x1f\x8b" + bytes(100), "gzip"), "index.bin": (b'{"weight_map": {}}', "index"),
        "random.pt": (os.urandom(8)[:7] + b"\xff" + bytes(100), "Header"), "array.bin": (b"\x93NUMPY" + bytes(100), "NumPy"),
    }
