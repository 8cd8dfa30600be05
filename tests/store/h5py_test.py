"""Stock h5py and h5dump read a shard that C++ wrote, with the types numpy users expect."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError:
    print("skipped: h5py is not here")
    sys.exit(77)

binary = os.path.join(os.environ["MICRODIT_BIN"], "test_store")
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "shard.h5")
    subprocess.run([binary, "--gtest_filter=Shard.ForH5py"], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "MICRODIT_KEEP_SHARD": path})
    with h5py.File(path, "r") as file:
        assert file["half"].dtype == np.float16 and file["half"].shape == (3, 4, 16)
        expected = (0.25 * np.arange(192) - 8).astype(np.float16).reshape(3, 4, 16)
        assert np.array_equal(file["half"][:], expected)
        assert file["flag"].dtype == np.bool_ and file["flag"][:].tolist() == [True, False, True]
        assert file["u32"][2] == 4000000000 and file["double"][2] == -1e300
        assert file["single"].dtype == np.float32
        assert file["brain"][:].tolist() == [1.0, -2.0, 0.0]
        assert file["nothing"].shape == (0, 7)
        offsets, text = file["key_offsets"][:], file["key"][:].tobytes()
        keys = [text[a:b].decode() for a, b in zip(offsets, offsets[1:])]
        assert keys == ["first", "", "th\u00efrd"], keys
        attribute = file.attrs["microdit"]
        attribute = attribute.decode() if isinstance(attribute, bytes) else str(attribute)
        assert json.loads(attribute)["note"] == "caf\u00e9"
        assert file["half"].chunks is None and file["half"].id.get_offset() % 64 == 0
        assert file["xxh3"].dtype == np.uint64 and file["xxh3"].shape == (3,)
    if shutil.which("h5dump"):
        shown = subprocess.run(["h5dump", "-H", path], check=True, capture_output=True, text=True).stdout
        assert 'DATASET "half"' in shown
        data = subprocess.run(["h5dump", "-d", "/i16", path], check=True, capture_output=True, text=True).stdout
        assert "-300, 0, 300" in data, data

    def rejected(name, message, fill):
        foreign = os.path.join(folder, name)
        with h5py.File(foreign, "w") as file:
            fill(file)
        done = subprocess.run([binary, "--gtest_filter=Shard.ForeignFileIsRejected"], capture_output=True, text=True,
                              env={**os.environ, "MICRODIT_FOREIGN_SHARD": foreign, "MICRODIT_FOREIGN_MESSAGE": message})
        assert done.returncode == 0, done.stdout

    rejected("chunked.h5", "chunked.h5: not a readable shard (column `x`: its data are not contiguous",
             lambda f: f.create_dataset("x", data=np.arange(10), chunks=(5,)))
    rejected("late.h5", "column `x`: its 80 bytes do not lie inside the file",
             lambda f: f.create_dataset("x", shape=(10,), dtype="i8"))
    rejected("endian.h5", "column `x`: its element type is none of ours",
             lambda f: f.create_dataset("x", data=np.arange(10, dtype=">i4")))
    rejected("string.h5", "column `x`: its element type is none of ours",
             lambda f: f.create_dataset("x", data=["a", "b"], dtype=h5py.string_dtype()))
    rejected("scalar.h5", "column `x`: it has 0 dimensions", lambda f: f.create_dataset("x", data=np.int32(1)))
    rejected("group.h5", "column `g`", lambda f: f.create_group("g"))
    rejected("link.h5", "column `l`: it is a soft or external link",
             lambda f: f.__setitem__("l", h5py.ExternalLink("other.h5", "/x")))
    rejected("external.h5", "column `x`: its data lie in another file",
             lambda f: f.create_dataset("x", shape=(10,), dtype="u1", external=[(path, 0, 10)]))
print("ok")
