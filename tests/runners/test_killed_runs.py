"""A run that is killed at any moment leaves whole artifacts or none, and the next run's are as if nothing had happened.

A process runs a step and is killed just before one of its changes to the disk, for every one of them in turn.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.component import Component
from tests.runners.small_steps import Text, quiet

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGES = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync")
"""Functions of `os` that change what is on the disk, or wait for it."""


@dataclasses.dataclass(frozen=True)
class Atomic(Component[Text]):
    """Writes its text, which is no part of its key, to a file of its process' own that it renames at the end."""

    word: str = dataclasses.field(metadata={"key": False})
    name = "atomic"
    version = "1"
    output = Text

    def run(self, out: Path) -> None:
        own = out / f"text-{os.getpid()}"
        own.write_text(self.word)
        os.rename(own, out / "text")


def execute(root, word, anew=False):
    """Runs the step unless it is cached; whether it was, and the artifact's directory."""
    step = Atomic(word)
    store, key = quiet(root).store, step.key({})
    with store.locked(step, key):
        found = None if anew else store.find(step, key)
        return found is not None, (found or store.make(step, key, {}, anew)).directory


def be_killed_at(number, action):
    """Runs an action in a child process that is killed before its change of that number; whether it was."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(change):
            def change_or_end(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), 9)
                return change(*arguments, **options)

            return change_or_end

        os.fsync = lambda descriptor: None
        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        action()
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def kill_everywhere(base, anew):
    """Makes a root `<base>/<number>` for every moment at which a run of the step can be killed."""
    begun = base / "begun"
    begun.mkdir()
    if anew:
        execute(begun, "old")
    number, killed = 0, True
    while killed:
        root = base / str(number)
        shutil.copytree(begun, root)
        killed = be_killed_at(number, lambda root=root: execute(root, "new", anew))
        number += 1


@pytest.mark.parametrize("replaced", [False, True], ids=["first run", "replacement"])
def test_the_next_run_has_a_whole_artifact_whenever_the_last_was_killed(tmp_path, monkeypatch, replaced):
    # In a process of its own, because one that has threads must not fork.
    code = f"from tests.runners.test_killed_runs import *; kill_everywhere(Path({str(tmp_path)!r}), {replaced})"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    roots = sorted((path for path in tmp_path.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    # No power is cut here, so nothing has to wait for the disk.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    seen = []
    for root in roots:
        is_written = bool(list(root.glob("artifacts/atomic/*.partial/manifest.json")))
        stands = bool(list(root.glob("artifacts/atomic/*[0-9a-f]/manifest.json")))
        cached, directory = execute(root, "next")
        assert {path.name for path in directory.iterdir()} == {"text", "manifest.json"}, root.name
        content = manifest.read(directory)
        assert list(content["files"]) == ["text"], root.name
        manifest.verify(directory, content, {})
        seen.append((cached, (directory / "text").read_text()))
        if is_written and not stands:  # a new one, which lacks nothing but its name
            assert seen[-1] == (True, "new"), root.name
        execute(root, "forced", anew=True)
        assert (directory / "text").read_text() == "forced", root.name
        assert [path.name for path in directory.parent.iterdir() if path.is_dir()] == [directory.name], root.name
    # Where an artifact is replaced, the old one or the new one is there at every moment.
    before = (True, "old") if replaced else (False, "next")
    first = seen.index((True, "new"))
    assert seen == [before] * first + [(True, "new")] * (len(seen) - first)
    assert 5 < first < len(roots) - 1
