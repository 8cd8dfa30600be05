"""A hub on loopback that holds repositories of data sets and of models, some behind a token. Standard library only."""
import hashlib
import json

from hostile_server import Server

COMMIT = "c" * 40
STORED_APART = (".tar", ".safetensors", ".bin", ".model")  # the listing gives these files' SHA-256, as for Git LFS


class RepositoryHub(Server):
    """`repositories`: "datasets/org/name" or "models/org/name" -> {path: bytes}; `token`: what must be shown for those in `gated`."""

    def __init__(self, repositories, token="", gated=()):
        self.repositories, self.token, self.gated = repositories, token, gated
        super().__init__({})
        self.answers = self

    def __getitem__(self, path):
        return lambda handler, count: self.serve(handler, path)

    def serve(self, handler, path):
        for name, files in self.repositories.items():
            resolve = "/" + name.removeprefix("models/") + f"/resolve/{COMMIT}/"
            if not path.startswith((f"/api/{name}/", resolve)):
                continue
            if name in self.gated and handler.headers.get("Authorization") != f"Bearer {self.token}":
                return handler.whole(b"gated", status="401 Unauthorized")
            if path == f"/api/{name}/revision/main":
                return handler.whole(json.dumps({"id": name, "sha": COMMIT}).encode())
            if path.startswith(f"/api/{name}/tree/{COMMIT}"):
                folder = path.removeprefix(f"/api/{name}/tree/{COMMIT}").strip("/")
                return handler.whole(json.dumps([self.listed(files, p) for p in sorted(files) if self.is_in(p, folder, handler)]).encode())
            if path.removeprefix(resolve) in files:
                return handler.ranged(files[path.removeprefix(resolve)])
        return handler.whole(b"", status="404 Not Found")

    @staticmethod
    def is_in(path, folder, handler):
        inside = path.removeprefix(folder + "/") if folder else path
        return (not folder or path.startswith(folder + "/")) and ("recursive=true" in handler.path or "/" not in inside)

    @staticmethod
    def listed(files, path):
        entry = {"type": "file", "path": path, "size": len(files[path]), "oid": "1" * 40}
        if path.endswith(STORED_APART):
            entry["lfs"] = {"oid": hashlib.sha256(files[path]).hexdigest(), "size": len(files[path]), "pointerSize": 130}
        return entry

    def resolved(self):
        """The paths of the files that were asked for, in order."""
        return [path.split(f"/resolve/{COMMIT}/")[1] for path, _ in self.seen if "/resolve/" in path]


def files_of(folder, below=""):
    """A repository of a folder's files, as `below`/PATH."""
    return {below + str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
