"""What an unfinished step can be gone on from: sent while it runs, so that another machine goes on where this one died.

unfinished/<step>/<key>/<scratch>/<checkpoint>/...    a checkpoint, whole when its manifest is there
"""

import contextlib
import datetime
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.contract import manifest
from foundation import disk
from foundation.errors import ArtifactError, PipelineError
from runners.remote import transfer
from runners.remote.object_store import ObjectStore, RemoteObject
from runners.store import ARTIFACTS, PARTIAL

UNFINISHED = "unfinished"
MOST_DAYS = 30
"""How long the bucket keeps the checkpoints of a step that nobody goes on with; then --gc removes them."""


class Unfinished:
    """The checkpoints of steps under way.

    Args:
        objects: The root's objects.
        root: The staging root.
        every_seconds: How often this looks for new checkpoints to send.
        show: Called with a line where one can't be sent; None for no word.
    """

    def __init__(
        self, objects: ObjectStore, root: Path, every_seconds: float, show: Callable[[str], None] | None
    ) -> None:
        self.objects = objects
        self.root = root
        self.every_seconds = every_seconds
        self.show = show

    @contextlib.contextmanager
    def kept(self, name: str, scratch: str | None) -> Iterator[None]:
        """Sends the checkpoints of a step, the newest ones, as long as the context lasts.

        Args:
            name: The directory that the step writes, relative to the root.
            scratch: The name of the directory in it that has the checkpoints; None where the step has none.
        """
        if scratch is None:
            yield
            return
        ended, sent = threading.Event(), set[str]()

        def send_again_and_again() -> None:
            was_said = False
            while not ended.wait(self.every_seconds):
                try:
                    self._send(name, scratch, sent, ended)
                except (PipelineError, OSError) as error:
                    if self.show is not None and not was_said:
                        was_said = True
                        reason = error.received if isinstance(error, PipelineError) else str(error)
                        self.show(f"  {'checkpoint':<11} can't be sent now: {reason}")

        thread = threading.Thread(target=send_again_and_again, name="remote-checkpoints", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def bring(self, name: str, scratch: str) -> None:
        """Brings the checkpoints of a step here, where they are newer than those that are here.

        One that isn't what was sent is left out.

        Args:
            name: The directory that the step writes, relative to the root.
            scratch: The name of the directory in it that has the checkpoints.
        """
        place = self._place(name, scratch)
        there = _whole(self.objects.list(place), place)
        here = {path.name for path in (self.root / name / scratch).glob("*") if (path / manifest.NAME).is_file()}
        if max(map(_number, there), default=-1) <= max(map(_number, here), default=-1):
            return
        for checkpoint in sorted(there - here):
            with contextlib.suppress(ArtifactError):
                self._bring(place, f"{name}/{scratch}", checkpoint)

    def discard(self, name: str) -> None:
        """Removes the checkpoints of a step that is finished.

        Args:
            name: The directory that the step wrote, relative to the root.
        """
        self.objects.remove(self.objects.list(self._place(name, "")))

    def discard_old(self) -> None:
        """Removes the checkpoints of steps that nobody has gone on with for long."""
        steps: dict[str, list[RemoteObject]] = {}
        for name, each in self.objects.list(UNFINISHED).items():
            steps.setdefault("/".join(name.split("/")[:3]), []).append(each)
        oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=MOST_DAYS)
        for there in steps.values():
            if all(each.modified is not None and each.modified < oldest for each in there):
                self.objects.remove([each.name for each in there])

    def _send(self, name: str, scratch: str, sent: set[str], ended: threading.Event) -> None:
        place, directory = self._place(name, scratch), self.root / name / scratch
        # By name: what a checkpoint refers to, the best epoch's, comes first, and of two steps the earlier one.
        here = sorted((path for path in directory.glob("*") if _is_whole(path)), key=lambda path: _order(path.name))
        for path in here:
            if ended.is_set():
                return
            if path.name not in sent:
                digests = {each: file["sha256"] for each, file in manifest.parse(path)["files"].items()}
                try:
                    transfer.send(self.objects, path, f"{place}/{path.name}", digests, [manifest.NAME])
                except FileNotFoundError:  # a newer one has taken its place meanwhile
                    continue
                sent.add(path.name)
        gone = _whole(self.objects.list(place), place) - {path.name for path in directory.glob("*")}
        for checkpoint in gone if here else ():
            transfer.discard(self.objects, f"{place}/{checkpoint}")

    def _bring(self, place: str, target: str, checkpoint: str) -> None:
        """Brings a checkpoint to a directory beside its place, and gives it its name when it is whole."""
        written = self.objects.read(f"{place}/{checkpoint}/{manifest.NAME}")
        if written is None:
            return
        fresh = transfer.place_for(self.root)
        try:
            fresh.mkdir(parents=True)
            (fresh / manifest.NAME).write_bytes(written)
            files = manifest.parse(fresh)["files"]
            digests = {each: file["sha256"] for each, file in files.items()}
            sizes = {each: int(file["bytes"]) for each, file in files.items()}
            transfer.bring_files(self.objects, self.root, fresh, f"{place}/{checkpoint}", digests, sizes)
            disk.make_directory(self.root / target)
            fresh.rename(self.root / target / checkpoint)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _place(self, name: str, scratch: str) -> str:
        key = name.removeprefix(f"{ARTIFACTS}/").removesuffix(PARTIAL)
        return f"{UNFINISHED}/{key}/{scratch}".rstrip("/")


def _whole(there: Mapping[str, RemoteObject], place: str) -> set[str]:
    """The names of the checkpoints that have a manifest."""
    names = (each.removeprefix(f"{place}/") for each in there)
    return {each.split("/")[0] for each in names if each.count("/") == 1 and each.endswith(f"/{manifest.NAME}")}


def _is_whole(path: Path) -> bool:
    return "." not in path.name and (path / manifest.NAME).is_file()


def _number(name: str) -> int:
    """The step of a checkpoint to go on from; -1 for the best epoch's, which only goes with one."""
    prefix, _, number = name.rpartition("-")
    return int(number) if prefix == "step" and number.isdecimal() else -1


def _order(name: str) -> tuple[int, str]:
    return _number(name), name
