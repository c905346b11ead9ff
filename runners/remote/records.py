"""Records of runs on their way: each machine sends its own, and shows those of all others."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.run_names import LATEST, RECORD, RUNS
from foundation import disk
from foundation.process_lock import is_held
from runners.remote.leases import Leases
from runners.remote.object_store import ObjectStore, RemoteObject, in_parallel
from runners.run_record import RUNNING, RUNNING_ELSEWHERE, TEMPORARY

KNOWN = ".remote_runs.json"
"""A file in the staging root: the marks of the records that the remote root has had, by run."""


class Records:
    """The records of a remote root's runs.

    Args:
        objects: The root's objects.
        root: The staging root.
        leases: Says which runs are alive.
    """

    def __init__(self, objects: ObjectStore, root: Path, leases: Leases) -> None:
        self.objects = objects
        self.root = root
        self.leases = leases
        self._sent: dict[Path, tuple[int, int]] = {}
        self._own: set[Path] = set()
        """The folders of the runs of this process."""

    def send(self, name: str) -> None:
        """Sends what has changed in a run's folder, or the page of all runs.

        Args:
            name: The folder or the file, relative to the root.
        """
        path = self.root / name
        if path.name == RUNNING:
            self._own.add(path.parent)
            self._send_running(path)
            return
        if not path.is_dir():
            self._send_file(path)
            return
        files = [each for each in path.glob("*") if each.is_file() and _goes(each.name)]
        # The record last: whoever sees how the run ended finds its report.
        for each in sorted(files, key=lambda each: each.name == RECORD):
            self._send_file(each)
        if is_held(path / RUNNING):
            if path not in self._own:
                self._own.add(path)
                self._send_running(path / RUNNING)
        else:
            self._own.discard(path)
            self.objects.remove([f"{name}/{RUNNING}"])

    def renew(self) -> None:
        """Says again that the runs of this process are alive; called by the heartbeat."""
        for folder in list(self._own):
            if (folder / RUNNING).is_file():
                self._send_running(folder / RUNNING)

    def take(self) -> None:
        """Brings the records of all runs here that are new or have changed, and removes those that were removed."""
        there = self.objects.list(RUNS)
        runs = {each.split("/")[1] for each in there if each.count("/") == 2}
        known = self._known()
        for gone in known.keys() - runs:
            folder = self.root / RUNS / gone
            if not is_held(folder / RUNNING):
                shutil.rmtree(folder, ignore_errors=True)
        in_parallel(lambda run: self._take_one(run, there, known.get(run)), sorted(runs))
        marks = {run: there[f"{RUNS}/{run}/{RECORD}"].mark for run in runs if f"{RUNS}/{run}/{RECORD}" in there}
        with contextlib.suppress(OSError):
            (self.root / KNOWN).write_text(json.dumps(marks))
        self._point_latest()

    def take_whole(self, folder: Path) -> None:
        """Brings a run's report and whatever else is in its folder here."""
        name = folder.relative_to(self.root).as_posix()

        def fetch(each: str) -> None:
            path = self.root / each
            if _goes(path.name) and not path.is_file():
                self.objects.download(each, path)

        in_parallel(fetch, list(self.objects.list(name)))

    def _take_one(self, run: str, there: Mapping[str, RemoteObject], mark: str | None) -> None:
        folder = self.root / RUNS / run
        if is_held(folder / RUNNING):  # a run of this machine
            return
        record = there.get(f"{RUNS}/{run}/{RECORD}")
        running = there.get(f"{RUNS}/{run}/{RUNNING}")
        if record is not None and (record.mark != mark or not (folder / RECORD).is_file()):
            self._take_record(folder, f"{RUNS}/{run}/{RECORD}")
        elsewhere = folder / RUNNING_ELSEWHERE
        died_here = (folder / RUNNING).is_file()
        if running is not None and not died_here and self.leases.is_fresh(running):
            data = self.objects.read(running.name) or b""
            disk.make_directory(folder)
            elsewhere.write_bytes(b"\n".join(data.split(b"\n")[1:]))
        else:
            elsewhere.unlink(missing_ok=True)

    def _take_record(self, folder: Path, name: str) -> None:
        data = self.objects.read(name)
        if data is None or _has(folder / RECORD, data):
            return
        if _is_closed(folder / RECORD) and not _closed(data):
            # This machine's run ended when the store was out of reach.
            self.send(folder.relative_to(self.root).as_posix())
            return
        disk.make_directory(folder)
        partial = folder / f"{RECORD}.partial"
        partial.write_bytes(data)
        os.replace(partial, folder / RECORD)

    def _send_file(self, path: Path) -> None:
        try:
            status = path.stat()
            mark = (status.st_size, status.st_mtime_ns)
            if self._sent.get(path) != mark:
                self.objects.write(path.relative_to(self.root).as_posix(), path.read_bytes())
                self._sent[path] = mark
        except FileNotFoundError:  # it is going away
            return

    def _send_running(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.objects.write(path.relative_to(self.root).as_posix(), path.read_bytes())

    def _known(self) -> dict[str, str]:
        try:
            content = json.loads((self.root / KNOWN).read_bytes())
            return {str(run): str(mark) for run, mark in content.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _point_latest(self) -> None:
        """Makes `latest` name the newest run, wherever it ran."""
        folders = [path for path in (self.root / RUNS).glob("*Z-*") if (path / RECORD).is_file()]
        if not folders:
            return
        newest = max(folders, key=lambda path: path.name)
        latest, fresh = self.root / RUNS / LATEST, self.root / RUNS / f".{LATEST}-{newest.name}"
        if latest.is_dir() and not latest.is_symlink():
            return
        with contextlib.suppress(OSError):
            if not latest.is_symlink() or os.readlink(latest) < newest.name:
                fresh.unlink(missing_ok=True)
                fresh.symlink_to(newest.name)
                os.replace(fresh, latest)


def _has(path: Path, data: bytes) -> bool:
    """Whether a file has these bytes. One that is written anew would count as newer among runs of one second."""
    with contextlib.suppress(OSError):
        return path.read_bytes() == data
    return False


def _goes(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".partial") and name != TEMPORARY


def _closed(data: bytes) -> bool:
    try:
        content: Any = json.loads(data)
        return content["finished"] is not None
    except (ValueError, KeyError, TypeError):
        return False


def _is_closed(path: Path) -> bool:
    try:
        return _closed(path.read_bytes())
    except OSError:
        return False
