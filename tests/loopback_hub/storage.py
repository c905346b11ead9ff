"""The test hub's repositories: bare git repositories, with large files aside, as the Hub keeps them."""

import fnmatch
import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

LARGE_BYTES = 10 * 1024 * 1024
ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.bin", "*.h5", "*.npz", "*.pb", "*.safetensors", "*tfevents*", "saved_model/**/*")
)
"""`.gitattributes` of a new repository, as the Hub writes it."""
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")


class MissingRevision(Exception):
    """A branch or commit that a repository doesn't have."""


class Repository:
    """One repository: its git, and whether it is private.

    Args:
        directory: The bare git repository; made if missing.
        large: Where files of LFS lie by SHA-256, shared by all repositories.
        private: Whether only its owners see it.
    """

    def __init__(self, directory: Path, large: Path, private: bool) -> None:
        self.directory, self.large, self.private = directory, large, private
        self.lock = threading.Lock()
        self._listings: dict[str, dict[str, dict[str, Any]]] = {}
        self._blobs: dict[str, bytes] = {}
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main")
        self.commit("initial commit", {".gitattributes": ATTRIBUTES.encode()}, [])

    def git(self, *arguments: str, stdin: bytes = b"", index: str | None = None) -> bytes:
        """Runs git on the repository; its output."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "hub", f"GIT_{role}_EMAIL": "hub@localhost"}
        if index is not None:
            environment["GIT_INDEX_FILE"] = index
        command = ["git", "--git-dir", str(self.directory), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True, env=environment).stdout

    def resolve(self, revision: str) -> str:
        """The commit of a branch or commit.

        Raises:
            MissingRevision: If there is none.
        """
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
        except subprocess.CalledProcessError as error:
            raise MissingRevision(revision) from error

    def commit(self, message: str, files: dict[str, bytes], deleted: list[str]) -> str:
        """Puts a commit with changed and deleted files on main; its id."""
        with self.lock, tempfile.TemporaryDirectory() as scratch:
            index = os.path.join(scratch, "index")
            try:
                parents = [self.resolve("main")]
                self.git("read-tree", parents[0], index=index)
            except MissingRevision:
                parents = []
            lines = []
            for path, content in files.items():
                blob = self.git("hash-object", "-w", "--stdin", stdin=content).decode().strip()
                lines.append(f"100644 {blob}\t{path}")
            for path in deleted:
                lines.append(f"0 {'0' * 40}\t{path}")
            self.git("update-index", "--index-info", stdin=("\n".join(lines) + "\n").encode(), index=index)
            tree = self.git("write-tree", index=index).decode().strip()
            arguments = [argument for parent in parents for argument in ("-p", parent)]
            commit = self.git("commit-tree", tree, *arguments, "-m", message).decode().strip()
            self.git("update-ref", "refs/heads/main", commit)
            return commit

    def log(self) -> list[tuple[str, str]]:
        """Id and subject of main's commits, the newest first."""
        lines = self.git("log", "--format=%H %s", "main").decode().splitlines()
        return [(line[:40], line[41:]) for line in lines]

    def files(self, revision: str = "main") -> dict[str, dict[str, Any]]:
        """What the Hub's tree listing says of every file: path, size, oid and, for a large one, lfs."""
        commit = self.resolve(revision)
        if commit not in self._listings:
            self._listings[commit] = self._list(commit)
        return self._listings[commit]

    def _list(self, commit: str) -> dict[str, dict[str, Any]]:
        listed = {}
        for line in self.git("ls-tree", "-r", "-z", "--long", commit).split(b"\0")[:-1]:
            facts, path = line.decode().split("\t", 1)
            oid, size = facts.split()[2:4]
            item: dict[str, Any] = {"type": "file", "path": path, "oid": oid, "size": int(size)}
            if int(size) < 200 and (pointer := POINTER.match(self._blob(oid))):
                large, large_size = pointer[1].decode(), int(pointer[2])
                item |= {"size": large_size, "lfs": {"oid": large, "size": large_size, "pointerSize": int(size)}}
            listed[path] = item
        return listed

    def read(self, path: str, revision: str = "main") -> bytes:
        """The content of a file, a large one's too.

        Raises:
            KeyError: If there is no such file.
        """
        item = self.files(revision)[path]
        if "lfs" in item:
            return (self.large / item["lfs"]["oid"]).read_bytes()
        return self._blob(item["oid"])

    def _blob(self, oid: str) -> bytes:
        if oid not in self._blobs:
            self._blobs[oid] = self.git("cat-file", "blob", oid)
        return self._blobs[oid]

    def digests(self, revision: str = "main") -> dict[str, str]:
        """SHA-256 of every file's content, by path."""
        return {path: hashlib.sha256(self.read(path, revision)).hexdigest() for path in self.files(revision)}

    def is_large(self, path: str, size: int, sample: bytes) -> bool:
        """Whether a file goes to LFS: by its pattern, its size, or bytes that are no text."""
        patterns = [
            line.split()[0] for line in self.read(".gitattributes").decode().splitlines() if "filter=lfs" in line
        ]
        if size > LARGE_BYTES or any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(Path(path).name, p) for p in patterns):
            return True
        return b"\0" in sample


def pointer_of(oid: str, size: int) -> bytes:
    """The text that stands in git for a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def as_json(value: Any) -> bytes:
    """A value as an answer's body."""
    return json.dumps(value).encode()
