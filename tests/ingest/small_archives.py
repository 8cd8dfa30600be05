"""Small WebDataset archives, an entry that reads them, and the two stages on it. Standard library only."""
import io
import json
import pathlib
import struct
import sys
import tarfile
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import programs  # noqa: E402


def png(side, seed):
    """A grey picture; `seed` decides its bytes."""
    rows = b"".join(b"\0" + bytes((seed * 7 + x * y) % 256 for x in range(side)) for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def tar_bytes(first, count, side=8):
    """`count` records, keys from `first` on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(first, first + count):
            for ending, data in (("png", png(side, i)), ("txt", f"picture {i}".encode())):
                member = tarfile.TarInfo(f"{i:07d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class Data:
    """A data root, an entry in it, and the stages on them."""

    def __init__(self, root, urls, **keys):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.entry = self.root / "t.yaml"
        lines = ["name: t", f"source: {{urls: {json.dumps(urls)}, max_attempts: 1, backoff_s: 0}}", "archive: tar"]
        self.entry.write_text("\n".join(lines + [f"{key}: {value}" for key, value in keys.items()]) + "\n")
        self.env = programs.environment(self.root / "data")

    def command(self, stage, *overrides, ranks=1):
        return programs.command(stage, "--config", self.entry, *overrides, ranks=ranks)

    def run(self, stage, *overrides, **options):
        return programs.run(stage, "--config", self.entry, *overrides, env=self.env, **options)

    def folder(self, kind):
        return self.root / "data" / kind / "t"


def files_of(folder):
    """Relative name -> (mtime, inode, bytes) of every file, hidden ones too."""
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes())
            for p in sorted(folder.rglob("*")) if p.is_file()}
